"""Packs a study into one small folder, a store without checkpoints, to be kept and tabulated elsewhere."""

import shutil
import tempfile
from pathlib import Path
from typing import Any

from cbam_ablate.aggregate.records import load_study
from cbam_ablate.config.errors import ConfigError
from cbam_ablate.report import json
from cbam_ablate.report.write import ENDINGS, write_table
from cbam_ablate.runs import RunStore

RUN_FILES = ("config.json", "history.jsonl", "result.json", "status.json")
STUDY_FILES = ("manifest.json", *(f"table.{ending}" for ending in ENDINGS))


def export_study(store: Path | str, study: str, target: Path | str | None = None) -> Path:
    """Copies the study's manifest, table, and its runs' configs, histories and results to `target`.

    The folder, `results/<study>` unless given, is laid out like a store, so that `store=<folder>` works. It
    is put in place at once; an earlier export of the same study is replaced. Raises `ConfigError` where a run
    is at work, or something else is in the way.
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
    write_table(store, study, _options(found.study(study) / "table.json"))
    folder.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    try:
        _copy(found.study(study), RunStore(aside).study(study), STUDY_FILES)
        for key in loaded.records:
            _copy(found.run(key).path, RunStore(aside).run(key).path, RUN_FILES)
        aside.chmod(0o755)
        if folder.exists():
            shutil.rmtree(folder)
        aside.rename(folder)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
    return folder


def _options(table: Path) -> dict[str, Any]:
    """The options by which the study's table was last made; empty where there is none yet."""
    return json.parse(table.read_text(encoding="utf-8")).options if table.exists() else {}


def _is_export(folder: Path, study: str) -> bool:
    """Whether a folder holds this study alone, and no checkpoints: then an export may replace it."""
    studies = [path.name for path in folder.glob("studies/*")]
    return studies == [study] and not any(folder.glob("runs/*/checkpoints"))


def _copy(source: Path, target: Path, names: tuple[str, ...]) -> None:
    there = [name for name in names if (source / name).is_file()]
    if there:
        target.mkdir(parents=True, exist_ok=True)
    for name in there:
        shutil.copyfile(source / name, target / name)
