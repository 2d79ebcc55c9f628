"""Writes a study's table beside its manifest, in every form."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cbam_ablate.aggregate import Table, build_table, load_study
from cbam_ablate.config.errors import ConfigError
from cbam_ablate.report import csv, json, latex, markdown
from cbam_ablate.runs import RunStore
from cbam_ablate.runs.files import write_text

RENDERINGS = {"md": markdown.render, "tex": latex.render, "csv": csv.render, "json": json.render}


def write_table(store: Path | str, study: str, values: Mapping[str, Any] | None = None) -> Table:
    """Makes the study's table of whatever is done and writes table.{md,tex,csv,json} to its folder.

    `values` are table options by name (`table.rows` or `rows`) over those the study declares. Each file is
    replaced at once, and is the same, byte for byte, as long as the runs are. Raises `ConfigError`.
    """
    table = build_table(load_study(store, study), values)
    folder = RunStore(store).study(study)
    for ending, render in RENDERINGS.items():
        try:
            write_text(folder / f"table.{ending}", render(table))
        except OSError as error:
            raise ConfigError(f"{folder}/table.{ending}: can't be written ({error.strerror})") from error
    return table
