"""The frozen plan, `studies/<study>/manifest.json`: what jobs run from and tables are made from."""

import dataclasses
import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cbam_ablate.config.canonical import flatten, run_key
from cbam_ablate.config.flat import from_flat
from cbam_ablate.config.schema import RunConfig, SweepConfig
from cbam_ablate.errors import ConfigError, StoreError, UserError
from cbam_ablate.runs.files import read_json, write_json
from cbam_ablate.sweep.other_code import whatever_code

if TYPE_CHECKING:
    from cbam_ablate.sweep.plan import Plan

FORMAT = 1


def freeze(plan: "Plan", command: list[str]) -> Path:
    """Writes the manifest and returns its path.

    Raises `ConfigError` showing the difference where the study had other runs before, unless `sweep.extend`
    accepts them, or a sweep that the command named keeps them all.
    """
    path = (plan.store.study(plan.study) / "manifest.json").absolute()
    content = content_of(plan, command)
    old = read_json(path)
    grows = old is not None and plan.named and set(old.get("runs", {})) <= set(plan.runs)
    if old is not None and not plan.base.sweep.extend and not grows:
        difference = _difference(old, content)
        if difference:
            raise ConfigError(
                f"study {plan.study} has changed since it was last run:\n{difference}\n"
                "sweep.extend=true accepts this; runs that no longer belong stay in the store"
            )
    _refuse_loss(plan, (old or {}).get("runs", {}))
    plan.store.make_writable()
    path.parent.mkdir(parents=True, exist_ok=True)
    if old != content:
        write_json(path, content)
    return path


def _refuse_loss(plan: "Plan", before: Mapping[str, Any]) -> None:
    """A command that is at work takes its runs from the manifest: they have to stay in it."""
    gone = set(before) - set(plan.runs)
    runs = [plan.store.run(key) for key in before] if gone else []
    held = [
        run.key for run in runs if run.state().name == "running" and run.status().get("study") == plan.study
    ]
    if held:
        raise ConfigError(
            f"study {plan.study}: another command trains it ({', '.join(held[:3])}), and {len(gone)} of its "
            "runs would no longer belong; keep their values in the sweep, or wait"
        )


def read(path: Path) -> dict[str, Any]:
    """A manifest, not to be changed. Raises `StoreError` where there is none or it is of another format.

    Its runs' store is where the manifest lies, from whichever folder the command was started.
    A process that trains many runs of a study reads its manifest, which grows with them, once.
    """
    try:
        stat = path.stat()
        found = _read(path, stat.st_mtime_ns, stat.st_size)
    except OSError:
        found = _read(path, 0, 0)
    constants, here = found["constants"], path.absolute().parents[2]
    if "store" in constants and Path(constants["store"]).resolve() == here.resolve():
        return found
    return {**found, "constants": {**constants, "store": str(here)}}


@lru_cache(maxsize=4)
def _read(path: Path, changed: int, size: int) -> dict[str, Any]:
    found = read_json(path)
    if found is None:
        raise StoreError(f"{path}: no manifest of a study")
    if found.get("schema") != FORMAT:
        raise StoreError(f"{path}: format {found.get('schema')}, this version reads {FORMAT}")
    return found


def run_config(manifest: dict[str, Any], key: str) -> RunConfig:
    """The frozen config of one run, with the sweep's own options."""
    if key not in manifest["runs"]:
        raise StoreError(f"{key}: not a run of study {manifest['study']}")
    sweep = {f"sweep.{name}": value for name, value in manifest["sweep"].items()}
    return from_flat({**sweep, **manifest["constants"], **manifest["runs"][key]})


def content_of(plan: "Plan", command: list[str]) -> dict[str, Any]:
    """What the manifest of a plan holds."""
    flat = {key: _frozen(cfg) for key, cfg in plan.runs.items()}
    first = next(iter(flat.values()))
    constants = {
        name: value for name, value in first.items() if all(other[name] == value for other in flat.values())
    }
    axes: dict[str, list[Any]] = {name: [] for name in plan.axes}
    for cell in plan.cells:
        for name, value in cell.axes.items():
            if value is not None and value not in axes[name]:
                axes[name].append(value)
    cells = {json.dumps([cell.axes, cell.key]): cell for cell in plan.cells}
    return {
        "schema": FORMAT,
        "study": plan.study,
        "command": command,
        "axes": axes,
        "constants": constants,
        "runs": {
            key: {name: value for name, value in values.items() if name not in constants}
            for key, values in flat.items()
        },
        "costs": {key: cost._asdict() for key, cost in plan.costs.items()},
        "cells": [{"axes": cell.axes, "key": cell.key} for cell in cells.values()],
        "sweep": dataclasses.asdict(
            dataclasses.replace(plan.base.sweep, mode=SweepConfig().mode, extend=False, detach=False)
        ),
        "table": dataclasses.asdict(plan.base.table),
        **({"callbacks": plan.callbacks} if plan.callbacks else {}),
        **({"other_networks": plan.departed.networks} if plan.departed.networks else {}),
        **({"notes": plan.departed.notes} if plan.departed.notes else {}),
    }


def _frozen(cfg: RunConfig) -> dict[str, Any]:
    flat = flatten(cfg)
    return {
        name: value
        for name, value in flat.items()
        if name.partition(".")[0] not in ("sweep", "table", "figure")
    }


def _whatever_code(manifest: dict[str, Any]) -> Any:
    """The keys that a manifest's runs had, were it not for the source of their own parts."""
    own = "code" in manifest["constants"] or any("code" in run for run in manifest["runs"].values())
    keys = manifest["runs"]
    try:
        return {run_key(whatever_code(run_config(manifest, key))) if own else key for key in keys}
    except (UserError, ValueError, KeyError, TypeError):  # of another version, or its parts are gone
        return None


def _difference(old: dict[str, Any], new: dict[str, Any]) -> str:
    """How the cells differ, a line each; empty where the runs are the same."""
    if set(old.get("runs", {})) == set(new["runs"]):
        return ""
    before = _whatever_code(old)
    if before and before == _whatever_code(new):
        return ""
    lines = []
    for name, values in new["axes"].items():
        before = old["axes"].get(name)
        if before is None:
            lines.append(f"  {name}: swept over {values}, a new axis")
        elif before != values:
            lines.append(f"  {name}: {before} -> {values}")
    lines += [f"  {name}: no longer swept" for name in old["axes"] if name not in new["axes"]]
    for name in sorted(set(old["constants"]) & set(new["constants"])):
        if old["constants"][name] != new["constants"][name]:
            lines.append(f"  {name}: {old['constants'][name]} -> {new['constants'][name]}")
    gone, added = set(old["runs"]) - set(new["runs"]), set(new["runs"]) - set(old["runs"])
    lines.append(f"  runs new to the study: {len(added)}, no longer in it: {len(gone)}")
    return "\n".join(lines)
