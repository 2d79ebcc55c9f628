"""Writes a study's table beside its manifest, in every form."""

import dataclasses
import logging
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from cbam_ablate.aggregate import Study, Table, build_table, load_study
from cbam_ablate.aggregate.records import check_name
from cbam_ablate.aggregate.study_file import declared_now
from cbam_ablate.errors import ConfigError, UserError
from cbam_ablate.report import latex, markdown, table_csv, table_html, table_json
from cbam_ablate.report.lay_out import lay_out
from cbam_ablate.runs import RunStore
from cbam_ablate.runs.files import unwritable, write_text

log = logging.getLogger(__name__)
ENDINGS = ("md", "tex", "html", "csv", "json")


def write_table(
    store: Path | str,
    study: str,
    values: Mapping[str, Any] | None = None,
    out: Path | str | None = None,
    loaded: Study | None = None,
) -> Table:
    """Makes the study's table of whatever is done and writes table.{md,tex,csv,html,json} to its folder.

    `values` are table options by name (`table.rows` or `rows`) over those the study declares. Each file is
    replaced at once, and is the same, byte for byte, as long as the runs are. With `out` all goes to that
    folder instead; of a store that may only be read nothing is written without it, with a warning. `loaded`
    is the study where it has been read already. Raises `ConfigError`.
    """
    folder = folder_of(store, study, out)
    why = unwritable(folder) if out is None else None
    table = table_of(loaded or load_study(store, study), values)
    if why is None:
        write_made(table, folder, os.path.relpath(RunStore(store).root / "runs", folder))
    else:
        told = "nothing was written: %s may only be read (%s); out=FOLDER takes it"
        log.warning(told, folder, why)
    return table


def write_made(table: Table, folder: Path, runs: str) -> None:
    """Writes a table in every form; `runs` is where its runs are, seen from the folder."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for ending, text in rendered(table, runs):
            write_text(folder / f"table.{ending}", text)
    except OSError as error:
        raise ConfigError(f"{folder}: the table can't be written ({error.strerror})") from error


def folder_of(store: Path | str, study: str, out: Path | str | None) -> Path:
    """Where a study's table and report are written."""
    home = RunStore(store).study(check_name(study))
    return home if out is None else Path(out).expanduser()


def table_of(study: Study, values: Mapping[str, Any] | None = None) -> Table:
    """The table of a study as its file declares it now, with `values` over that."""
    return build_table(dataclasses.replace(study, table=declared_now(study)), values)


def told_before(store: Path | str, study: str, out: Path | str | None = None) -> dict[str, Any]:
    """The options that the study's last table in `out`, else that in its own folder, was told."""
    for folder in dict.fromkeys([folder_of(store, study, out), folder_of(store, study, None)]):
        try:
            found = table_json.read((folder / "table.json").read_text(encoding="utf-8"))
        except (OSError, UserError):
            continue
        if found.get("study") == study:
            return dict(found.get("told") or {})
    return {}


def rendered(table: Table, runs: str = "../../runs") -> Iterator[tuple[str, str]]:
    """The file ending and the text of each form; `runs` is where the runs are, seen from the files."""
    grid = lay_out(table)
    yield "tex", latex.draw(table, grid)
    grid = grid.localised(table)
    yield "md", markdown.draw(table, grid)
    yield "html", table_html.draw(table, grid, runs)
    yield "csv", table_csv.render(table)
    yield "json", table_json.render(table)
