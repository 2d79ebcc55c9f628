"""Packs a study into one small folder, a store without checkpoints, to be kept and tabulated elsewhere."""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cbam_ablate.aggregate.records import load_study
from cbam_ablate.errors import ConfigError
from cbam_ablate.report import table_json
from cbam_ablate.report.page import write_report
from cbam_ablate.report.write import ENDINGS
from cbam_ablate.runs import Run, RunStore
from cbam_ablate.runs.files import make_aside, write_json
from cbam_ablate.runs.lines import NAME as LINES

RUN_FILES = ("config.json", "history.jsonl", "status.json")
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
    found = RunStore(store)
    loaded = load_study(store, study)
    running = [key for key, record in loaded.records.items() if record.state == "running"]
    if running:
        raise ConfigError(
            f"study={study}: {', '.join(running[:3])} are at work; export it when they have ended"
        )
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
        _copy(home, packed.study(study), ("manifest.json", LINES, "table.json"))
        _copy(folder, aside, [path.name for path in folder.glob("*") if path.name not in TABLES])
        for path in folder.glob("*"):
            if path.is_dir() and path.is_symlink():
                (aside / path.name).symlink_to(path.readlink())
            elif path.is_dir() and path.name not in FOLDERS:
                shutil.copytree(path, aside / path.name, symlinks=True)
        for key in loaded.records:
            _copy_run(found.run(key), packed.run(key))
        _tabulate(found, packed, study, list(loaded.records), options)
        if folder.exists():
            shutil.rmtree(folder)
        aside.rename(folder)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
    return folder


def _tabulate(
    store: RunStore, packed: RunStore, study: str, keys: Sequence[str], options: dict[str, Any]
) -> None:
    """Makes table and figures of what was packed, with the predictions of the store's runs at hand for it."""
    borrowed = [packed.run(key).predictions for key in keys if store.run(key).predictions.is_file()]
    for path in borrowed:
        path.symlink_to(store.run(path.parent.name).predictions.absolute())
    home = write_report(packed.root, study, options).parent
    for path in borrowed:
        path.unlink()
    _copy(home, packed.root, SHOWN)
    _copy(home / "figures", packed.root / "figures", [path.name for path in home.glob("figures/*.png")])
    shutil.rmtree(home / "figures", ignore_errors=True)
    for path in home.glob("*"):
        if path.name not in ("manifest.json", LINES, *TABLES):
            path.unlink()


def _options(table: Path) -> dict[str, Any]:
    """The options by which the study's table was last made; empty where there is none yet."""
    return dict(table_json.read(table.read_text(encoding="utf-8"))["options"]) if table.exists() else {}


def _is_export(folder: Path, study: str) -> bool:
    """Whether a folder holds this study alone, and no checkpoints: then an export may replace it."""
    studies = [path.name for path in folder.glob("studies/*")]
    return studies == [study] and not any(folder.glob("runs/*/checkpoints"))


def _copy_run(run: Run, target: Run) -> None:
    _copy(run.path, target.path, RUN_FILES)
    _copy(
        run.path / "metrics", target.path / "metrics", [path.name for path in run.path.glob("metrics/*.json")]
    )
    result = run.result()
    if result is not None:
        for process in (result["provenance"], *result.get("provenance_history", [])):
            process.pop("host", None)
        write_json(target.path / "result.json", result)


def _copy(source: Path, target: Path, names: Sequence[str]) -> None:
    there = [name for name in names if (source / name).is_file()]
    if there:
        target.mkdir(parents=True, exist_ok=True)
    for name in there:
        shutil.copyfile(source / name, target / name)
        stat = (source / name).stat()  # whose time says whether a metric is older than its predictions
        os.utime(target / name, ns=(stat.st_atime_ns, stat.st_mtime_ns))
