"""Packs a study into one small folder, a store without checkpoints, to be kept and tabulated elsewhere."""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cbam_ablate.aggregate.records import Study, line_record, look, read_manifest, read_record
from cbam_ablate.errors import ConfigError
from cbam_ablate.report import plots, table_json
from cbam_ablate.report.forked import beside
from cbam_ablate.report.page import drawn_of
from cbam_ablate.report.write import ENDINGS, table_of, write_made
from cbam_ablate.runs import RunStore
from cbam_ablate.runs.files import make_aside, write_json
from cbam_ablate.runs.lines import NAME as LINES
from cbam_ablate.runs.lines import read_results
from cbam_ablate.runs.together import HISTORIES, RESULTS, history_for_many, result_for_many

RUN_FILES = ("config.json", "history.jsonl", "status.json")
MOST_FOLDERS = 1000
"""Runs up to which each has its folder; of more, the results are in one file and the histories in another."""
BUFFER = 2**20
TABLES = tuple(f"table.{ending}" for ending in ENDINGS)
FOLDERS = ("figures", "runs", "studies")
"""What an export makes anew; other folders in it are kept."""
SHOWN = tuple(name for name in TABLES if not name.endswith(".html"))
"""The tables that are at an export's top too."""


def export_study(store: Path | str, study: str, target: Path | str | None = None) -> Path:
    """Copies the study's manifest, table, and its runs' configs, histories and results to `target`.

    The folder, `results/<study>` unless given, is laid out like a store, so that `store=<folder>` works;
    table and figures are at its top too. Names of machines are left out. It is put in place at once; an
    earlier export of the same study is replaced, but for what else is at its top, such as a README.md.
    Raises `ConfigError` where a run is at work, or something else is in the way.
    """
    found, declared = RunStore(store), read_manifest(store, study)
    folder = Path(target) if target is not None else Path("results") / study
    if folder.exists() and any(folder.iterdir()) and not _is_export(folder, study):
        raise ConfigError(f"to={folder}: holds something else than an export of study {study}")
    if folder.resolve() == found.root.resolve():
        raise ConfigError(f"to={folder}: is the store itself")
    home, options = found.study(study), _options(found.study(study) / "table.json")
    folder.parent.mkdir(parents=True, exist_ok=True)
    aside = make_aside(folder)
    packed = RunStore(aside)
    try:
        _copy(home, packed.study(study), ("manifest.json", LINES))
        _copy(folder, aside, [path.name for path in folder.glob("*") if path.name not in TABLES])
        for path in folder.glob("*"):
            if path.is_dir() and path.is_symlink():
                (aside / path.name).symlink_to(path.readlink())
            elif path.is_dir() and path.name not in FOLDERS:
                shutil.copytree(path, aside / path.name, symlinks=True)
        in_few_files = _copy_runs(declared, found, packed)
        _tabulate(declared, found, packed, options, in_few_files)
        if folder.exists():
            shutil.rmtree(folder)
        aside.rename(folder)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
    return folder


def _tabulate(
    study: Study, store: RunStore, packed: RunStore, options: dict[str, Any], in_few_files: Sequence[str]
) -> None:
    """Makes table and figures of what was packed, with the predictions of the store's runs at hand for it.

    The histories of the runs `in_few_files` are packed with the table's files.
    """
    lent = [key for key in study.records if os.access(f"{store.root}/runs/{key}/predictions.npz", os.F_OK)]
    borrowed = [packed.run(key).predictions for key in lent]
    for path in borrowed:
        path.parent.mkdir(exist_ok=True)
        path.symlink_to(store.run(path.parent.name).predictions.absolute())
    table, runs, home = table_of(study, options), packed.root / "runs", packed.study(study.name)

    def write() -> None:
        write_made(table, home, os.path.relpath(runs, home))
        _pack_histories(store, runs / HISTORIES, in_few_files)

    with beside(write):
        for plot in drawn_of(study, table, options, store)[2]:
            plots.save(plot, packed.root / "figures", ["png"])
    for path in borrowed:
        path.unlink()
        if not any(path.parent.iterdir()):
            path.parent.rmdir()
    _copy(home, packed.root, SHOWN)


def _options(table: Path) -> dict[str, Any]:
    """The options by which the study's table was last made; empty where there is none yet."""
    if not table.exists():
        return {}
    found = table_json.read(table.read_text(encoding="utf-8"))
    return {**(found.get("told") or {}), **found["options"]}


def _is_export(folder: Path, study: str) -> bool:
    """Whether a folder holds this study alone, and no checkpoints: then an export may replace it."""
    studies = [path.name for path in folder.glob("studies/*")]
    return studies == [study] and not any(folder.glob("runs/*/checkpoints"))


def _copy_runs(study: Study, store: RunStore, target: RunStore) -> list[str]:
    """Reads each run once, and gives the study the records of what is at the target.

    Returns the keys of those whose results are in the file of many, where their histories belong too. Raises
    `ConfigError` where some are at work.
    """
    runs = target.root / "runs"
    runs.mkdir()
    study.root, lines = target.root, read_results(store.study(study.name))
    keys = list(dict.fromkeys(place.key for place in study.places))
    running, in_few_files = [], []
    with (runs / RESULTS).open("wb", BUFFER) as results:
        for key in keys:
            folder, own, result = f"{store.root}/runs/{key}", f"{runs}/{key}", None
            if key in lines:
                record, odd = line_record(key, lines[key])
            else:
                record, odd, result = look(store, key)
            if result is not None:
                _without_hosts(result)
            if record.state == "running":
                running.append(key)
            elif record.finished and (len(keys) > MOST_FOLDERS or not os.path.isdir(folder)):
                results.write(result_for_many(key, result) if result is not None else b"")
                in_few_files.append(key)
                _copy_metrics(folder, own)
            else:
                _copy_run(folder, own, result)
                if not record.finished and key not in lines:
                    record, odd = read_record(target, key)
            study.records[key] = record
            study.warnings += odd
    _remove_empty(runs / RESULTS)
    if running:
        raise ConfigError(
            f"study={study.name}: {', '.join(running[:3])} are at work; export it when they have ended"
        )
    return in_few_files


def _pack_histories(store: RunStore, path: Path, keys: Sequence[str]) -> None:
    with path.open("wb", BUFFER) as histories:
        for key in keys:
            histories.write(history_for_many(f"{store.root}/runs/{key}", key))
    _remove_empty(path)


def _remove_empty(path: Path) -> None:
    if not path.stat().st_size:
        path.unlink()


def _copy_run(folder: str, target: str, result: dict[str, Any] | None) -> None:
    _copy(Path(folder), Path(target), RUN_FILES)
    _copy_metrics(folder, target)
    if result is not None:
        write_json(Path(target, "result.json"), result)


def _copy_metrics(folder: str, target: str) -> None:
    if os.path.isdir(f"{folder}/metrics"):
        names = [name for name in os.listdir(f"{folder}/metrics") if name.endswith(".json")]
        _copy(Path(folder, "metrics"), Path(target, "metrics"), names)


def _without_hosts(result: dict[str, Any]) -> None:
    """Takes the names of machines out of a result."""
    history = result.get("provenance_history")
    for process in (result["provenance"], *(history if isinstance(history, list) else [])):
        if isinstance(process, dict):
            process.pop("host", None)


def _copy(source: Path, target: Path, names: Sequence[str]) -> None:
    there = [name for name in names if (source / name).is_file()]
    if there:
        target.mkdir(parents=True, exist_ok=True)
    for name in there:
        shutil.copyfile(source / name, target / name)
        stat = (source / name).stat()  # whose time says whether a metric is older than its predictions
        os.utime(target / name, ns=(stat.st_atime_ns, stat.st_mtime_ns))
