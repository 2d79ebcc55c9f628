"""A table laid out: headings and lines of marked text, which each rendering escapes and draws."""

import itertools
import json
from dataclasses import dataclass, field
from typing import Any

from cbam_ablate.aggregate.model import Cell, Quantity, Row, Table
from cbam_ablate.aggregate.names import NO_EFFECT
from cbam_ablate.report import numbers

BASELINE = "baseline"
MIXED = "‡"


@dataclass
class Text:
    """What stands in one place. `bold` and `underline` rank it, `star` says it differs from the baseline.

    `kind` is label, result, difference, count or cost; `cell` is the model's cell behind it.
    """

    text: str
    kind: str = "label"
    bold: bool = False
    underline: bool = False
    star: bool = False
    cell: Cell | None = None
    row: Row | None = None


@dataclass
class Heading:
    """A column's own heading, and above it the values of the axes that go across."""

    text: str
    kind: str
    above: tuple[str, ...] = ()
    quantity: Quantity | None = None


@dataclass
class Grid:
    """The printed table. `headings` and every line are (columns,); `across` labels the pivoted axes."""

    headings: list[Heading]
    lines: list[list[Text]] = field(default_factory=list)
    across: list[str] = field(default_factory=list)

    @property
    def levels(self) -> int:
        """Lines of headings above the columns' own."""
        return len(self.across)

    def spans(self, level: int) -> list[tuple[str, int]]:
        """The headings of one level from left to right, each with the number of columns below it."""
        keys = [heading.above[: level + 1] if heading.above else ("",) for heading in self.headings]
        return [(key[-1], len(list(same))) for key, same in itertools.groupby(keys)]


def lay_out(table: Table) -> Grid:
    """The grid of a table: a line for each setting of the row axes, columns repeated across the others."""
    groups = _groups(table)
    grid = Grid([Heading(axis.label, "label") for axis in table.row_axes])
    grid.across = [axis.label for axis in table.column_axes]
    pivoted = bool(table.column_axes)
    last = [quantity for quantity in table.quantities if quantity.kind == "result"][-1]
    for labels in groups.values():
        for quantity in table.quantities:
            grid.headings.append(
                Heading(numbers.heading(quantity, quantity.label), quantity.kind, labels, quantity)
            )
            if not pivoted and _has_difference(table, quantity):
                unit = " (points)" if quantity.unit == "%" else ""
                grid.headings.append(Heading(f"Δ{unit}", "difference", labels, quantity))
            if quantity == last and (not pivoted or _uneven(table)):
                grid.headings.append(Heading("n", "count", labels, quantity))
    grid.lines = [_line(table, grid, groups, rows) for rows in _lines(table)]
    return grid


def _has_difference(table: Table, quantity: Quantity) -> bool:
    return any(row.cell(quantity.name).difference is not None for row in table.rows)


def _uneven(table: Table) -> bool:
    return len({(row.n, row.expected) for row in table.rows}) > 1 or any(row.missing for row in table.rows)


def _key(row: Row, axes: list[Any]) -> str:
    return json.dumps([row.axes[axis.name] for axis in axes])


def _groups(table: Table) -> dict[str, tuple[str, ...]]:
    """The combinations of the axes across, as labels, in the order of the manifest's values."""
    if not table.column_axes:
        return {"[]": ()}
    order = {axis.name: {"null": -1} for axis in table.column_axes}
    for row in table.rows:
        for axis in table.column_axes:
            order[axis.name].setdefault(json.dumps(row.axes[axis.name]), len(order[axis.name]))
    found = {_key(row, table.column_axes): row for row in table.rows}
    rank = sorted(
        found.items(),
        key=lambda item: [
            order[axis.name][json.dumps(item[1].axes[axis.name])] for axis in table.column_axes
        ],
    )
    return {key: tuple(row.labels[axis.name] for axis in table.column_axes) for key, row in rank}


def _lines(table: Table) -> list[list[Row]]:
    lines: dict[str, list[Row]] = {}
    for row in table.rows:
        lines.setdefault(_key(row, table.row_axes), []).append(row)
    return list(lines.values())


def _line(table: Table, grid: Grid, groups: dict[str, tuple[str, ...]], rows: list[Row]) -> list[Text]:
    by_group = {groups[_key(row, table.column_axes)]: row for row in rows}
    line = [Text(rows[0].labels[axis.name]) for axis in table.row_axes]
    if line and len(rows) == 1 and rows[0].mixes:
        line[-1].text += f" {MIXED}"
    for heading in grid.headings[len(table.row_axes) :]:
        row = by_group.get(heading.above)
        line.append(Text("", heading.kind) if row is None else _text(row, heading, bool(table.column_axes)))
    return line


def _text(row: Row, heading: Heading, pivoted: bool) -> Text:
    quantity = heading.quantity
    if quantity is None:
        return Text("")
    cell = row.cell(quantity.name)
    if heading.kind == "count":
        return Text(count(row), "count", row=row)
    if heading.kind == "difference":
        if row.baseline and cell.difference is None:
            return Text(BASELINE, "difference", cell=cell, row=row)
        if cell.difference is None:
            return Text("", "difference", cell=cell, row=row)
        text = numbers.difference(cell.difference, quantity.unit)
        return Text(text, "difference", star=cell.difference.significant, cell=cell, row=row)
    if heading.kind == "cost":
        return Text(numbers.cost(cell.value, quantity.name) or NO_EFFECT, "cost", cell=cell, row=row)
    text = numbers.result(cell, quantity.unit) or NO_EFFECT
    star = pivoted and cell.difference is not None and cell.difference.significant
    if pivoted and row.mixes:
        text += f" {MIXED}"
    return Text(text, "result", cell.best, cell.second, star, cell, row)


def count(row: Row) -> str:
    """`3`, or `2/3 (1 diverged)` where runs are missing."""
    if row.n == row.expected and not row.missing:
        return str(row.n)
    why = ", ".join(f"{number} {word}" for word, number in row.missing.items())
    return f"{row.n}/{row.expected} ({why})" if why else f"{row.n}/{row.expected}"


def legend(table: Table, grid: Grid) -> list[str]:
    """Sentences that explain the marks which the table uses."""
    cells = [cell for row in table.rows for cell in row.cells]
    found = []
    if any(cell.best for cell in cells):
        found.append("Bold: the best and all that can't be told from it (paired t-tests, Holm).")
    if any(cell.second for cell in cells):
        found.append("Underlined: the best of the rest and all that can't be told from it.")
    if any(heading.kind == "difference" for heading in grid.headings):
        found.append("Δ: difference to the baseline paired by seed [95 % interval].")
    if any(cell.difference and cell.difference.significant for cell in cells):
        found.append("*: differs from the baseline (paired t-test, Holm, 5 %).")
    return found
