"""From the store to records: what each run of a study measured, or why it didn't; nothing goes silently."""

import sys
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from typing import Any

from cbam_ablate.aggregate.metrics import complete
from cbam_ablate.config.canonical import is_run_key
from cbam_ablate.errors import ConfigError
from cbam_ablate.runs import RunStore, State
from cbam_ablate.runs.lines import read_results
from cbam_ablate.runs.provenance import is_foreign
from cbam_ablate.runs.results import FORMAT, SECTIONS, problem_of, read_object, stored_result

SEED = "seed"
NUMBERS = (int, float)
LEAST, LARGEST = -sys.float_info.max, sys.float_info.max
THEN = ", then "
"""Between what the processes of one run differ in, where several trained it."""
OUTCOMES = {
    "out_of_memory": "out of memory",
    "timeout": "timed out",
    "service": "no download",
    "data": "no usable data",
    "bug": "failed",
    "new": "not run",
}


@dataclass(slots=True)
class Record:
    """One run as the store has it.

    `state` is finished, failed, interrupted, running, new, or refused where its files can't be used; `why`
    is that in a word or two (diverged, out of memory, unreadable). A finished run has `values` by metric
    name (accuracies in percent), and `facts`: what else may differ between the runs of a table.
    """

    key: str
    state: str
    _: KW_ONLY
    why: str = ""
    error: str = ""
    values: dict[str, float] = field(default_factory=dict)
    facts: dict[str, str] = field(default_factory=dict)

    @property
    def finished(self) -> bool:
        return self.state == "finished"


@dataclass(slots=True)
class Point:
    """A cell of the manifest: axis values (None where an axis has no effect) and the run that serves it."""

    axes: dict[str, Any]
    key: str


@dataclass(kw_only=True)
class Study:
    """A study's manifest with the records of its runs. `warnings` are sentences about what was odd.

    `root` is the store of its runs, None for what others trained; with `keep` metrics that are worked out are
    written there. `other_networks` are the runs that the study's own published numbers aren't of.
    """

    name: str
    command: list[str]
    axes: dict[str, list[Any]]
    constants: dict[str, Any]
    runs: dict[str, dict[str, Any]]
    places: list[Point]
    table: dict[str, Any]
    costs: dict[str, dict[str, float]]
    records: dict[str, Record] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    root: Path | None = None
    keep: bool = True
    other_networks: frozenset[str] = frozenset()

    def config(self, key: str) -> dict[str, Any]:
        """A run's options by dotted name."""
        return {**self.constants, **self.runs.get(key, {})}


def load_study(store: Path | str, study: str) -> Study:
    """Reads a study's manifest and the record of each of its runs.

    Raises `ConfigError` where the manifest is missing or can't be used; what is odd about a run becomes a
    warning, and the run a record that is not finished.
    """
    found = read_manifest(store, study)
    root = RunStore(store)
    found.root = root.root
    return _with_records(found, root, read_results(root.study(study)))


def study_of(manifest: dict[str, Any], results: Mapping[str, dict[str, Any]]) -> Study:
    """The study of a manifest and results, by run key, that are in no store."""
    return _with_records(_declared(manifest["study"], manifest, Path("manifest.json")), None, results)


def unwritten_study(store: Path | str, manifest: dict[str, Any]) -> Study:
    """The study of a manifest that isn't in the store, with the records of the store's runs."""
    root = RunStore(store)
    found = _declared(manifest["study"], manifest, Path("manifest.json"))
    found.root = root.root
    return _with_records(found, root, {})


def planned_study(manifest: dict[str, Any], values: Mapping[str, dict[str, float]]) -> Study:
    """The study of a manifest none of whose runs is trained, with what is known of them by run key."""
    found = _declared(manifest["study"], manifest, Path("manifest.json"))
    for key, known in values.items():
        found.records[key] = Record(key, "finished", values=known, facts={"rule": "none"})
    return found


def _with_records(found: Study, root: RunStore | None, lines: Mapping[str, dict[str, Any]]) -> Study:
    for key in dict.fromkeys(place.key for place in found.places):
        if key in lines or root is None:
            record, odd = line_record(key, lines[key])
        else:
            record, odd = read_record(root, key)
        found.records[key] = record
        found.warnings += odd
    return found


def check_name(study: str) -> str:
    """The study's name, or `ConfigError` where it is a path."""
    if not study or Path(study).name != study or study in (".", ".."):
        raise ConfigError(f"study={study}: not a study's name (it can't hold a path)")
    return study


def read_manifest(store: Path | str, study: str) -> Study:
    """The study as declared, without records. Raises `ConfigError` where it can't be read."""
    path = RunStore(store).study(check_name(study)) / "manifest.json"
    manifest, problem = read_object(path)
    if manifest is None:
        raise ConfigError(f"study={study}: {path} {problem or 'is not there'}")
    return _declared(study, manifest, path)


def _declared(study: str, manifest: dict[str, Any], path: Path) -> Study:
    if manifest.get("schema") != FORMAT:
        raise ConfigError(f"{path}: format {manifest.get('schema')}, this version reads {FORMAT}")
    sections = {"axes": dict, "constants": dict, "runs": dict, "cells": list}
    wrong = [name for name, kind in sections.items() if not isinstance(manifest.get(name), kind)]
    kinds = {"axes": list, "runs": dict}
    wrong += [
        name
        for name, kind in kinds.items()
        if name not in wrong and not all(isinstance(value, kind) for value in manifest[name].values())
    ]
    if wrong:
        raise ConfigError(f"{path}: has no usable {', '.join(wrong)}; plan the study again")
    found = Study(
        name=study,
        command=[str(token) for token in manifest.get("command") or []],
        axes={str(name): list(values) for name, values in manifest["axes"].items()},
        constants=manifest["constants"],
        runs=manifest["runs"],
        places=[],
        table=manifest.get("table") or {},
        costs=manifest.get("costs") or {},
        warnings=[str(note) for note in manifest.get("notes") or []],
        other_networks=frozenset(map(str, manifest.get("other_networks") or [])),
    )
    for cell in manifest["cells"]:
        axes, key = (cell.get("axes"), cell.get("key")) if isinstance(cell, dict) else (None, None)
        if isinstance(axes, dict) and isinstance(key, str) and is_run_key(key):
            found.places.append(Point(axes, key))
        else:
            found.warnings.append(f"{path.name} has a cell without axes and a run key: {str(cell)[:80]}.")
    for place in found.places:
        for name in place.axes.keys() - found.axes.keys():
            values = {repr(one.axes[name]): one.axes[name] for one in found.places if name in one.axes}
            found.axes[name] = [value for value in values.values() if value is not None]
            found.warnings.append(f"A cell of the manifest has an axis {name} that its axes don't list.")
    return found


def read_record(store: RunStore, key: str) -> tuple[Record, list[str]]:
    """A run's record, and sentences about what is odd in its folder."""
    record, odd, _ = look(store, key)
    return record, odd


def look(store: RunStore, key: str) -> tuple[Record, list[str], dict[str, Any] | None]:
    """A run's record, sentences about what is odd in its folder, and its result where it has finished."""
    folder = f"{store.root}/runs/{key}"
    result, problem = stored_result(folder)
    if problem:
        return *_refused(key, *problem), None
    if result is not None:
        record, odd = parse_result(key, result)
        return record, odd, result if record.finished else None
    state = store.run(key).state()
    _, wrong = read_object(f"{folder}/status.json")
    odd = [f"Run {key}: status.json {wrong}."] if wrong else []
    return _unfinished(key, state), odd, None


def line_record(key: str, line: dict[str, Any]) -> tuple[Record, list[str]]:
    """The record of a run that is a line beside the manifest, and sentences about what is odd in it."""
    if "metrics" in line:
        return parse_result(key, line)
    return _unfinished(
        key, State(str(line.get("state")), line.get("class"), str(line.get("error") or ""))
    ), []


def _unfinished(key: str, state: State) -> Record:
    if state.name == "failed":
        why = OUTCOMES.get(state.failure or "bug", state.failure or "failed")
        return Record(key, "failed", why=why, error=state.error)
    return Record(key, state.name, why=OUTCOMES.get(state.name, state.name), error=state.error)


def parse_result(key: str, result: dict[str, Any]) -> tuple[Record, list[str]]:
    """The record of a result.json, and sentences about what is odd in it."""
    problem = problem_of(key, result)
    if problem:
        return _refused(key, *problem)
    parts = {name: result[name] for name in SECTIONS}
    rule = str(parts["selection"].get("rule"))
    values: dict[str, float] = {}
    odd = []
    for name, value in [*parts["metrics"].items(), *parts["cost"].items()]:
        if type(value) in NUMBERS and LEAST <= value <= LARGEST:
            values[name] = value
        elif value is not None:
            odd.append(f"Run {key}: {name} is {value!r:.40}, not a number; it is left out.")
    facts = {"rule": rule, "epochs": str(parts["selection"].get("epochs")), **_facts_of_all(result)}
    if not is_foreign(rule):  # whose accuracies may be fractions
        values = complete(values)
    return Record(key, "finished", values=values, facts=facts), odd


def _facts_of_all(result: dict[str, Any]) -> dict[str, str]:
    """The facts of every process that trained the run, in turn; of one that left none there is no word."""
    history = result.get("provenance_history")
    processes = [one for one in history if isinstance(one, dict)] if isinstance(history, list) else []
    if len(processes) < 2:
        return _facts(result["provenance"])
    each = [_facts(one) for one in processes]
    return {fact: THEN.join(dict.fromkeys(one[fact] for one in each if fact in one)) for fact in each[-1]}


def _facts(provenance: dict[str, Any]) -> dict[str, str]:
    versions = provenance.get("versions")
    device = str(provenance.get("device") or "unknown")
    found = {
        "code": _code(provenance),
        "torch": str(versions.get("torch")) if isinstance(versions, dict) else "unknown",
        "device": device,
        "precision": str(provenance.get("precision") or "unknown"),
        "data": str(provenance.get("dataset_sha256") or "unknown")[:12],
        "accelerators": _accelerators(provenance.get("accelerators")),
        "training": "fused" if provenance.get("fused") else "separate",
    }
    if device.startswith("cpu"):
        found["threads"] = str(provenance.get("threads") or "unknown")
    return found


def _accelerators(names: Any) -> str:
    if names is None:
        return "unknown"
    listed = names if isinstance(names, list | tuple) else [names]
    return " and ".join(map(str, listed)) or "none"


def _code(provenance: dict[str, Any]) -> str:
    """The source's own hash tells versions apart; commits of the same source are the same code."""
    source = provenance.get("code_sha256")
    if source:
        return str(source)[:10]
    commit = str(provenance.get("git_commit") or "unknown")[:10]
    return f"{commit} with changes" if provenance.get("git_dirty") else commit


def _refused(key: str, why: str, error: str) -> tuple[Record, list[str]]:
    return Record(key, "refused", why=why, error=error), [f"Run {key} is not used: {error}."]
