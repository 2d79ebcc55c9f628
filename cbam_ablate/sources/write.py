"""Writes runs that others trained as a study: a manifest, and for each run a folder or a line."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from cbam_ablate.runs import Run, RunStore
from cbam_ablate.runs.files import write_json, write_text
from cbam_ablate.runs.lines import write_results
from cbam_ablate.sources.axes import SEED, level
from cbam_ablate.sources.found import Found, finite, flat, plain
from cbam_ablate.sources.measures import COSTS

OTHER_SEED = "seed (not the one averaged over)"


def manifest_of(
    runs: Sequence[Found],
    study: str,
    axes: Sequence[str],
    seed: str,
    command: list[str],
    table: Mapping[str, Any] | None = None,
    notes: Iterable[str] = (),
) -> dict[str, Any]:
    """The manifest of a study of these runs; the option called `seed` becomes the seed."""
    called = {seed: SEED, **({SEED: OTHER_SEED} if seed not in ("", SEED) else {})}
    configs = {run.key: {called.get(name, name): plain(v) for name, v in run.config.items()} for run in runs}
    names = [*(called.get(name, name) for name in axes), *([SEED] if seed else [])]
    levels = [
        {called.get(n, n): plain(level(run, n)) for n in [*axes, *([seed] if seed else [])]} for run in runs
    ]
    constants = _constants(configs, names)
    return {
        "schema": 1,
        "study": study,
        "command": command,
        "axes": {name: _values(levels, name) for name in names},
        "constants": constants,
        "runs": {
            key: {name: value for name, value in config.items() if name not in constants}
            for key, config in configs.items()
        },
        "costs": {},
        "cells": [{"axes": cell, "key": run.key} for run, cell in zip(runs, levels, strict=True)],
        "sweep": {},
        "table": dict(table or {}),
        "notes": list(notes),
    }


def _constants(configs: Mapping[str, dict[str, Any]], axes: Sequence[str]) -> dict[str, Any]:
    first = next(iter(configs.values()))
    return {
        name: value
        for name, value in first.items()
        if name not in axes and all(name in config and config[name] == value for config in configs.values())
    }


def _values(levels: list[dict[str, Any]], name: str) -> list[Any]:
    """An axis's values: numbers by size, others as they come."""
    seen: dict[str, Any] = {}
    for cell in levels:
        if cell[name] is not None:
            seen.setdefault(repr(cell[name]), cell[name])
    found = list(seen.values())
    plain_numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in found)
    return sorted(found) if plain_numbers else found


def write_study(root: Path, runs: Sequence[Found], manifest: dict[str, Any]) -> list[str]:
    """Writes the runs and their manifest to the store at `root`; returns the names of what they measured.

    A run with a history gets a folder, one without is a line beside the manifest.
    """
    store = RunStore(root)
    home = store.study(manifest["study"])
    home.mkdir(parents=True, exist_ok=True)
    (root / "runs").mkdir(exist_ok=True)
    write_results(home, (outcome(run) for run in runs if not run.history))
    for run in runs:
        if run.history:
            _write_run(store.run(run.key), run)
    # Without indents, which json writes in Python: a large manifest takes a second with them.
    write_text(home / "manifest.json", json.dumps(manifest, allow_nan=False) + "\n")
    return sorted({name for run in runs for name, value in measured(run).items() if finite(value)})


def measured(run: Found) -> dict[str, Any]:
    return dict(flat(run.values)) if run.state == "finished" else {}


def outcome(run: Found) -> dict[str, Any]:
    """What result.json holds, or for an unfinished run its key and status."""
    if run.state != "finished":
        known = {"class": run.failure} if run.failure else {}
        return {"key": run.key, "state": run.state, **known, "error": run.error}
    numbers = {name: value for name, value in measured(run).items() if finite(value)}
    return {
        "schema": 1,
        "key": run.key,
        "metrics": {name: value for name, value in numbers.items() if name not in COSTS},
        "selection": {"rule": run.rule, "epoch": None, "epochs": None, **run.selection},
        "cost": {name: numbers[name] for name in COSTS if name in numbers},
        "parent": None,
        "provenance": {**run.provenance, "source": run.address},
    }


def _write_run(run: Run, found: Found) -> None:
    run.path.mkdir(parents=True, exist_ok=True)
    write_text(run.path / "history.jsonl", "".join(json.dumps(row) + "\n" for row in found.history))
    result = outcome(found)
    if found.state == "finished":
        write_json(run.path / "result.json", result)
        write_json(run.path / "status.json", {"state": "finished"})
    else:
        (run.path / "result.json").unlink(missing_ok=True)
        write_json(run.path / "status.json", {name: value for name, value in result.items() if name != "key"})
