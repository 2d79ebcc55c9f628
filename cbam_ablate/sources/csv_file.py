"""Results in a CSV or TSV file."""

import csv
from pathlib import Path

from cbam_ablate.errors import DataError
from cbam_ablate.sources.found import Found, Wanted, listed
from cbam_ablate.sources.rows import runs_of
from cbam_ablate.sources.text import read_columns

DELIMITERS = ",;\t|"


def read(path: Path, wanted: Wanted) -> tuple[list[Found], list[str]]:
    """The runs of a file whose first line names the columns, and sentences about it. Raises `UserError`."""
    columns, cells, lines, comma = read_table(path)
    values, notes = read_columns(columns, cells, comma)
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*values, strict=True)]
    runs, more = runs_of(columns, rows, wanted, [f"line {line}" for line in lines])
    return runs, [*notes, *more]


def read_table(path: Path) -> tuple[list[str], list[list[str]], list[int], bool]:
    """Column names, (columns, rows) cells, each row's line, and whether a comma may be a decimal sign.

    The delimiter is the sign of `,`, `;`, tab and `|` that the first line has most of.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: is not UTF-8 text (byte {error.start}); save it as UTF-8") from None
    first = text.partition("\n")[0]
    delimiter = "\t" if path.suffix.lower() == ".tsv" else max(DELIMITERS, key=first.count)
    reader = csv.reader(text.splitlines(keepends=True), delimiter=delimiter, strict=True)
    rows, lines = [], []
    try:
        for row in reader:
            if any(cell.strip() for cell in row):
                rows.append(row)
                lines.append(reader.line_num)
    except csv.Error as error:
        raise DataError(f"{path}: line {reader.line_num}: {error}") from None
    if len(rows) < 2:
        raise DataError(f"{path}: has {'no rows below its header' if rows else 'nothing in it'}")
    columns = [name.strip() for name in rows[0]]
    twice = [name for name in dict.fromkeys(columns) if columns.count(name) > 1]
    if "" in columns[1:] or twice:
        raise DataError(
            f"{path}: its header has {listed(map(repr, twice or ['']))} {'twice' if twice else 'in it'}"
        )
    for row, line in zip(rows, lines, strict=True):
        if len(row) != len(columns):
            raise DataError(f"{path}: line {line} has {len(row)} cells, its header {len(columns)}")
    columns[0] = columns[0] or "index"  # as pandas writes it
    return columns, [list(column) for column in zip(*rows[1:], strict=True)], lines[1:], delimiter == ";"
