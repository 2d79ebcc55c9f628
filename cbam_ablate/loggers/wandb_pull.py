"""Runs of a W&B project, ours or anybody's, as a store of their own that tables are made from."""

import hashlib
import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from cbam_ablate.config.canonical import OFF_THE_SHELF, is_run_key
from cbam_ablate.config.errors import ConfigError
from cbam_ablate.config.overrides import ALIASES
from cbam_ablate.loggers.wandb_run import clean, client
from cbam_ablate.loggers.wandb_study import JOB
from cbam_ablate.runs import Run, RunStore
from cbam_ablate.runs.files import write_json, write_text
from cbam_ablate.runs.provenance import FOREIGN_RULE

PAGE = 50
"""Runs a request."""
WAITS = (1, 2, 4, 8, 16, 32)
"""Seconds before each further try of a request that failed."""
COSTS = ("params", "macs", "train_seconds", "images_per_second", "peak_memory_mib")
FINAL = (400, 401, 403, 404)
"""HTTP statuses that trying again doesn't help."""

T = TypeVar("T")


@dataclass
class Pulled:
    """A run as W&B has it: `config` by dotted name, `rows` the whole history."""

    key: str
    state: str
    ours: bool
    address: str
    config: dict[str, Any]
    summary: dict[str, Any]
    rows: list[dict[str, Any]]


def pull(path: str, tag: str | None, progress: Callable[[int, int], None]) -> list[Pulled]:
    """Every run of `entity/project`, those with a tag only where one is given, with its full history.

    `progress` is told (runs read, runs there are). Raises `ConfigError` with W&B's words where it can't.
    """
    wandb = client()

    def tried(what: Callable[[], T]) -> T:
        waits = list(WAITS)
        while True:
            try:
                return what()
            except Exception as error:  # W&B's client raises errors of many libraries
                status = getattr(getattr(error, "response", None), "http_status", None)
                hopeless = isinstance(error, ValueError | wandb.errors.UsageError) or status in FINAL
                if hopeless or not waits:
                    raise ConfigError(f"wandb pull {path}: {clean(str(error))}") from None
                time.sleep(waits.pop(0))

    api = tried(lambda: wandb.Api(timeout=30))
    runs = tried(lambda: api.runs(path, filters={"tags": tag} if tag else {}, per_page=PAGE, lazy=False))
    total = tried(lambda: len(runs))
    found = []
    for number in range(total):
        run = tried(partial(_at, runs, number))
        if run is None:
            break
        if run.job_type != JOB:
            rows = tried(partial(_history, run))
            found.append(_pulled(run, path, rows))
        progress(number + 1, total)
    return found


def _at(runs: Any, number: int) -> Any:
    """By index, which loads pages as needed and, unlike iterating, can be tried again."""
    try:
        return runs[number]
    except IndexError:
        return None


def _history(run: Any) -> list[dict[str, Any]]:
    """All of it: `history()` would sample 500 rows."""
    return list(run.scan_history(use_cache=False))


def _pulled(run: Any, path: str, rows: list[dict[str, Any]]) -> Pulled:
    config = {name: _plain(value) for name, value in _flat(run.config)}
    ours = is_run_key(run.id) and "model.backbone" in config
    if ours:
        config = {name: value for name, value in config.items() if name not in ALIASES}
        key = run.id
    else:
        key = hashlib.sha256(f"{path}/{run.id}".encode()).hexdigest()[:16]
    return Pulled(key, run.state, ours, f"{path}/{run.id}", config, run.summary_metrics, rows)


def _flat(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, dict) and not name.startswith("_"):
            yield from _flat(value, f"{prefix}{name}.")
        elif not name.startswith("_"):
            yield f"{prefix}{name}", value


def _plain(value: Any) -> Any:
    """A setting as JSON has it: NaN and infinities as words."""
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def choose_axes(runs: list[Pulled], named: list[str], seed: str) -> list[str]:
    """The options that tell the runs apart, or those `named`; `seed` last. Raises `ConfigError`.

    In our own runs an option that isn't there has no effect; in others', having none is a value too.
    """
    ours = all(run.ours for run in runs)
    values: dict[str, set[str]] = {name: set() for run in runs for name in run.config}
    for name, seen in values.items():
        found = (_level(ours, run.config, name) for run in runs)
        seen.update(json.dumps(value, default=str) for value in found if value is not None)
    unknown = [name for name in named if name not in values]
    if unknown:
        raise ConfigError(f"axes={unknown[0]}: no run has it; there are {', '.join(sorted(values))}")
    axes = named or sorted(name for name, seen in values.items() if len(seen) > 1)
    return [*(name for name in axes if name != seed), *([seed] if seed in values else [])]


def write(runs: list[Pulled], root: Path, study: str, axes: list[str], seed: str, source: str) -> list[str]:
    """Writes the runs and a manifest to the store at `root`; returns the names of what they measured."""
    store = RunStore(root)
    called = {seed: "seed"}
    flat = {run.key: {called.get(name, name): v for name, v in run.config.items()} for run in runs}
    axes = [called.get(name, name) for name in axes]
    first = next(iter(flat.values()))
    constants = {
        n: first[n]
        for n in first
        if n not in axes and all(n in v and v[n] == first[n] for v in flat.values())
    }
    cells = [{n: _level(run.ours, flat[run.key], n) for n in axes} for run in runs]
    measured: dict[str, None] = {}
    for run in runs:
        measured |= dict.fromkeys(_write_run(store.run(run.key), run))
    manifest = {
        "schema": 1,
        "study": study,
        "command": ["cbam-ablate", "wandb", "pull", source],
        "axes": {name: _levels(cells, name) for name in axes},
        "constants": constants,
        "runs": {
            key: {n: v for n, v in values.items() if n not in constants} for key, values in flat.items()
        },
        "costs": {},
        "cells": [{"axes": cell, "key": run.key} for run, cell in zip(runs, cells, strict=True)],
        "sweep": {},
        "table": {},
    }
    store.study(study).mkdir(parents=True, exist_ok=True)
    write_json(store.study(study) / "manifest.json", manifest)
    return sorted(measured)


def _level(ours: bool, values: dict[str, Any], name: str) -> Any:
    """An axis value as manifests have it: None where the axis has no effect, and a null as text."""
    value = values.get(name)
    if value is None:
        return None if ours and (name not in values or name in OFF_THE_SHELF) else "null"
    return value


def _levels(cells: list[dict[str, Any]], name: str) -> list[Any]:
    found: list[Any] = []
    for cell in cells:
        if cell[name] is not None and cell[name] not in found:
            found.append(cell[name])
    return found


def _write_run(run: Run, pulled: Pulled) -> list[str]:
    run.path.mkdir(parents=True, exist_ok=True)
    rows = [{"epoch": row.get("epoch", row.get("_step")), **_public(row)} for row in pulled.rows]
    write_text(run.path / "history.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    if pulled.state != "finished":
        (run.path / "result.json").unlink(missing_ok=True)
        ended = pulled.state in ("crashed", "failed", "killed")
        status = {"state": "failed", "class": "killed"} if ended else {"state": "interrupted"}
        write_json(run.path / "status.json", {**status, "error": f"W&B has it as {pulled.state}"})
        return []
    numbers = {
        name: value
        for name, value in _flat(pulled.summary)
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        and not name.startswith(("selection.", "provenance."))
    }  # fmt: skip
    selection = dict(pulled.summary.get("selection") or {}) if pulled.ours else {}
    provenance = dict(pulled.summary.get("provenance") or {}) if pulled.ours else {}
    result = {
        "schema": 1,
        "key": run.key,
        "metrics": {name: value for name, value in numbers.items() if name not in COSTS},
        "selection": {"rule": FOREIGN_RULE, "epoch": None, "epochs": len(rows), **selection},
        "cost": {name: numbers[name] for name in COSTS if name in numbers},
        "parent": None,
        "provenance": {**provenance, "source": pulled.address},
    }
    write_json(run.path / "result.json", result)
    write_json(run.path / "status.json", {"state": "finished"})
    return list(numbers)


def _public(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if not name.startswith("_")}
