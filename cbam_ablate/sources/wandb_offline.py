"""Folders of offline W&B runs, read from their .wandb files by W&B's own program."""

import json
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cbam_ablate.errors import ConfigError, DataError
from cbam_ablate.runs.provenance import FOREIGN_RULE
from cbam_ablate.sources.folders import natural
from cbam_ablate.sources.found import Found, Wanted, count, flat, listed, plain
from cbam_ablate.sources.lightning import take
from cbam_ablate.sources.series import Series, from_rows, go_on, once, rows_of, rule_of

SPECIAL = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}


def read(root: Path, wanted: Wanted) -> tuple[list[Found], list[str]]:
    """The runs of a .wandb file or below a folder, and sentences about them. Raises `UserError`.

    Files of one run id, which a resumed run leaves, are one run.
    """
    files = (
        [root]
        if root.is_file()
        else sorted(root.rglob("*.wandb"), key=lambda path: natural(path.parent.name))
    )
    files = [path for path in files if not path.parent.is_symlink()]  # latest-run is one of the others
    inspect = _program()
    found: dict[str, dict[str, Any]] = {}
    again: Counter[str] = Counter()
    unreadable = []
    for path in files:
        try:
            part = _part(_records(inspect, path))
        except DataError as error:
            unreadable.append(f"{path.name} ({error})")
            continue
        run = found.setdefault(part["id"], {"config": {}, "summary": {}, "series": {}, "exit": None})
        again[part["id"]] += go_on(run["series"], part["series"])
        run |= {
            "config": {**run["config"], **part["config"]},
            "summary": {**run["summary"], **part["summary"]},
        }
        run |= {"exit": part["exit"], "name": part["name"]}
    notes = []
    if unreadable:
        notes.append(f"{count(len(unreadable), 'file')} can't be read and left out: {listed(unreadable, 3)}.")
    resumed = [name for name, points in again.items() if points]
    if resumed:
        notes.append(
            f"{listed(resumed, 3)}: {count(sum(again.values()), 'value')} logged again by a run that went on "
            "from an earlier step; the later ones count."
        )
    return [_run(name, parts, wanted.step) for name, parts in found.items()], notes


def _program() -> list[str]:
    """The program that `wandb leet` runs; asking it at once spares a Python process a file."""
    from wandb.errors import WandbCoreNotAvailableError
    from wandb.util import get_core_path

    try:
        return [get_core_path(), "leet", "inspect", "--json", "--no-observability", "--run-file"]
    except WandbCoreNotAvailableError as error:
        raise ConfigError(f"offline W&B runs need wandb's own program, which isn't there: {error}") from None


def _records(inspect: list[str], path: Path) -> Iterator[dict[str, Any]]:
    done = subprocess.run([*inspect, str(path), str(path.parent.parent)], capture_output=True, text=True)
    lines = done.stdout.splitlines()
    if done.returncode != 0 or not lines:
        words = (done.stderr.strip() or "is empty").splitlines()[-1]
        raise DataError(words.removeprefix("Error: ")[:120])
    return (json.loads(line) for line in lines)


def _part(records: Iterator[dict[str, Any]]) -> dict[str, Any]:
    """What one file holds: run id, name, config, summary, series by step, and the exit code if it ended."""
    part: dict[str, Any] = {"id": "", "name": "", "config": {}, "summary": {}, "exit": None}
    rows = []
    for record in records:
        kind = str(record.get("type"))
        content = record.get(kind) or {}
        if kind == "run":
            part["id"], part["name"] = content.get("run_id", ""), content.get("display_name", "")
            content = content.get("config") or {}
        if kind in ("run", "config"):
            part["config"] |= dict(flat(content.get("update") or {}))
        elif kind == "summary":
            part["summary"] |= content.get("update") or {}
        elif kind == "history":
            rows.append({name: _value(value) for name, value in (content.get("item") or {}).items()})
        elif kind == "exit":
            part["exit"] = content.get("exit_code", 0)
    if not part["id"]:
        raise DataError("names no run")
    series, _ = from_rows(
        [{n: v for n, v in row.items() if n == "_step" or not _own(n, row)} for row in rows], "_step"
    )
    once(series)
    return {**part, "series": series}


def _value(value: Any) -> Any:
    return SPECIAL.get(value, value) if isinstance(value, str) else value


def _own(name: str, there: dict[str, Any]) -> bool:
    """Whether a name is W&B's own, or belongs to a table, an image or another object."""
    if any(part.startswith("_") for part in name.split(".")):
        return True
    return any(f"{name[:end]}._type" in there for end, sign in enumerate(name) if sign == ".")


def _run(name: str, parts: dict[str, Any], step: str) -> Found:
    config = {option: plain(value) for option, value in parts["config"].items()}
    run = Found(name, parts["name"] or name, config)
    series: Series = parts["series"]
    if step == "last":
        summary = parts["summary"]
        run.rule = FOREIGN_RULE
        run.history = rows_of(series)
        run.values = {n: _value(v) for n, v in summary.items() if not _own(n, summary)}
    else:
        run.rule = rule_of(step)
        take(run, series, step)
    if parts["exit"] is None:
        run.state, run.failure, run.error = "failed", "killed", "its file has no end"
    elif parts["exit"]:
        run.state, run.failure, run.error = "failed", "bug", f"exit code {parts['exit']}"
    return run
