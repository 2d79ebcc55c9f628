"""Folders of Lightning's CSVLogger: hparams.yaml and metrics.csv in each version_N."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cbam_ablate.errors import DataError
from cbam_ablate.sources.csv_file import read_table
from cbam_ablate.sources.folders import holders, options_of_name, read_yaml, relative
from cbam_ablate.sources.found import Found, Wanted, flat, plain
from cbam_ablate.sources.series import Series, from_rows, pick, rows_of, rule_of
from cbam_ablate.sources.text import read_columns

STEPS = ("step", "epoch")


def read(root: Path, wanted: Wanted) -> tuple[list[Found], list[str]]:
    """The runs below a folder, and sentences about them. Raises `UserError`."""
    runs = []
    for folder in holders(root, lambda _, files: "metrics.csv" in files):
        name = relative(folder, root)
        config = _hparams(folder / "hparams.yaml") or options_of_name(name)
        run = Found(name, name, config, rule=rule_of(wanted.step))
        try:
            series = series_of_csv(folder / "metrics.csv")
        except DataError as error:
            run.state, run.failure, run.error = "failed", "unreadable", str(error)
        else:
            take(run, series, wanted.step)
        runs.append(run)
    return runs, []


def take(run: Found, series: Series, step: str) -> None:
    """Gives a run its history and its values at the step that was asked for."""
    run.history = rows_of(series)
    run.values, wrong = pick(series, step)
    if not run.values:
        run.state, run.failure, run.error = "failed", "no result", wrong or "logged nothing"


def series_of_csv(path: Path) -> Series:
    """The metrics of a CSV file by step. Raises `DataError`."""
    columns, cells, _, comma = read_table(path)
    values, _ = read_columns(columns, cells, comma)
    rows = [
        {name: value for name, value in zip(columns, row, strict=True) if value is not None}
        for row in zip(*values, strict=True)
    ]
    series, _ = from_rows(rows)
    return {name: points for name, points in series.items() if name not in STEPS}


def _hparams(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    found = read_yaml(path)
    return {name: plain(value) for name, value in flat(found)} if isinstance(found, Mapping) else {}
