"""Writes a study's table beside its manifest, in every form."""

import gc
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cbam_ablate.aggregate import Table, build_table, load_study
from cbam_ablate.aggregate.records import check_name
from cbam_ablate.errors import ConfigError
from cbam_ablate.report import latex, markdown, table_csv, table_html, table_json
from cbam_ablate.report.grid import lay_out
from cbam_ablate.runs import RunStore
from cbam_ablate.runs.files import write_text

ENDINGS = ("md", "tex", "html", "csv", "json")


def write_table(store: Path | str, study: str, values: Mapping[str, Any] | None = None) -> Table:
    """Makes the study's table of whatever is done and writes table.{md,tex,csv,html,json} to its folder.

    `values` are table options by name (`table.rows` or `rows`) over those the study declares. Each file is
    replaced at once, and is the same, byte for byte, as long as the runs are. Raises `ConfigError`.
    """
    folder = RunStore(store).study(check_name(study))
    with _nothing_to_collect():
        loaded = load_study(store, study)
        table = build_table(loaded, values)
        try:
            for ending, text in rendered(table):
                write_text(folder / f"table.{ending}", text)
        except OSError as error:
            raise ConfigError(f"{folder}: the table can't be written ({error.strerror})") from error
    return table


def rendered(table: Table) -> Iterator[tuple[str, str]]:
    """The file ending and the text of each form."""
    grid = lay_out(table)
    for ending, draw in (("md", markdown.draw), ("tex", latex.draw), ("html", table_html.draw)):
        yield ending, draw(table, grid)
    yield "csv", table_csv.render(table)
    yield "json", table_json.render(table)


@contextmanager
def _nothing_to_collect() -> Iterator[None]:
    """Without the collector of cycles, which searches the many records again and again, and finds none."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
