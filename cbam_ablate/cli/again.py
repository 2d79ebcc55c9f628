"""The command that trains one stored run again, and what is another than when it was trained."""

import dataclasses
from collections.abc import Iterator
from typing import Any

from cbam_ablate.config import load_config
from cbam_ablate.config.canonical import from_dict, is_run_key, run_key
from cbam_ablate.config.command_line import literal, words_of
from cbam_ablate.config.schema import RunConfig
from cbam_ablate.errors import ConfigError, StoreError, UserError
from cbam_ablate.runs import Run, RunStore
from cbam_ablate.runs.provenance import is_foreign, provenance


def again(store: RunStore, run: Run) -> list[str]:
    """The command's words. Raises `StoreError` where the run was not trained by a command.

    The kind of device and the threads of a CPU are as the run had them.
    """
    result = run.result()
    if result is not None and is_foreign(str(result["selection"].get("rule"))):
        raise StoreError(f"run={run.key}: was trained by another program, so there is no command for it")
    config = run.config()
    if config is None:
        raise StoreError(f"run={run.key}: there is no usable config.json in {run.path}")
    before = (result or {}).get("provenance") or {}
    try:
        cfg = from_dict(config)
    except ConfigError as error:
        raise StoreError(f"run={run.key}: {error}") from error
    kind = str(before.get("device") or "auto").partition(":")[0]
    train = dataclasses.replace(
        cfg.train,
        device=kind,
        threads=before.get("threads") if kind == "cpu" else None,
    )
    parent = train.resume_from
    if parent is not None and is_run_key(parent):
        train = dataclasses.replace(train, resume_from=str(store.run(parent).last))
    return [
        *words_of(dataclasses.replace(cfg, train=train)),
        f"store={literal(str(store.root / 'reproduced'))}",
    ]


def differences(run: Run, words: list[str]) -> Iterator[str]:
    """What of this machine and this program is another than what trained the run, in sentences."""
    try:
        cfg = load_config(words)
        if run_key(cfg) != run.key:
            yield f"the command makes another run, {run_key(cfg)}: what it refers to has changed since"
    except UserError as error:
        cfg = None
        yield f"the command can't run here as it is: {error}"
    result = run.result()
    if result is None:
        yield f"run {run.key} has not finished, so what trained it isn't known"
        return
    history = [one for one in result.get("provenance_history") or [] if isinstance(one, dict)]
    if len(history) > 1:
        yield f"{len(history)} processes trained it, one after another; this compares with the last"
    before, now = result["provenance"], provenance()
    if before.get("code_sha256") != now["code_sha256"]:
        commit = before.get("git_commit")
        dirty = " with changes that were not committed" if before.get("git_dirty") else ""
        at = f"; it was trained at commit {commit}{dirty}" if commit else "; its commit isn't known"
        yield f"code: this is another version of cbam_ablate{at}"
    for name, version in (before.get("versions") or {}).items():
        if version != now["versions"].get(name):
            yield f"{name}: {version} then, {now['versions'].get(name)} here"
    yield from _other_device(cfg, before)


def _other_device(cfg: RunConfig | None, before: dict[str, Any]) -> Iterator[str]:
    from cbam_ablate.training.device import device_name, pick_device, pick_precision

    then = str(before.get("device"))
    try:
        device = pick_device(then.partition(":")[0])
    except ConfigError:
        yield f"device: {then} then, none of that kind here"
        return
    if device_name(device) != then:
        yield f"device: {then} then, {device_name(device)} here"
    here = "" if cfg is None else pick_precision(cfg.train.precision, device)
    if here and here != before.get("precision"):
        yield f"precision: {before.get('precision')} then, {here} here"
