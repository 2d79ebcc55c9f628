"""A table laid out: headings and lines of marked text, which each rendering escapes and draws."""

import itertools
import re
from dataclasses import dataclass, field
from typing import Any

from cbam_ablate.aggregate.compare import TASK
from cbam_ablate.aggregate.layout import hashable
from cbam_ablate.aggregate.model import Axis, Cell, Quantity, Reference, Row, Table
from cbam_ablate.aggregate.names import NO_EFFECT
from cbam_ablate.report import digits

BASELINE = "baseline"
MIXED = "‡"
KEY = re.compile(r"[A-Za-z][A-Za-z0-9:.+/-]*")


@dataclass
class Text:
    """What stands in one place. `bold` and `underline` rank it, `star` says it differs from the baseline.

    `kind` is label, result, difference, count, cost or reference; `cell` is the model's cell behind it, in
    `row`; `value` is what it sorts by.
    """

    text: str
    kind: str = "label"
    bold: bool = False
    underline: bool = False
    star: bool = False
    cell: Cell | None = None
    row: Row | None = None
    value: float | None = None


@dataclass
class Heading:
    """A column's own heading; `above` are the labels of the axes that go across, `group` their values."""

    text: str
    kind: str
    above: tuple[str, ...] = ()
    group: tuple[Any, ...] = ()
    quantity: Quantity | None = None
    reference: Reference | None = None

    @property
    def cite(self) -> str:
        """The key of a bibliography that the column's numbers are from; other sources are in the legend."""
        cited = self.reference.cite if self.reference else ""
        return cited if KEY.fullmatch(cited) else ""


@dataclass
class Grid:
    """The printed table. `headings` and every line are (columns,); `across` labels the pivoted axes."""

    headings: list[Heading]
    across: list[str]
    lines: list[list[Text]] = field(default_factory=list)

    @property
    def levels(self) -> int:
        """Lines of headings above the columns' own."""
        return len(self.across)

    def spans(self, level: int) -> list[tuple[str, int]]:
        """The headings of one level from left to right, each with the number of columns below it."""
        keys = [heading.above[: level + 1] or ("",) for heading in self.headings]
        return [(key[-1], len(list(same))) for key, same in itertools.groupby(keys)]


def lay_out(table: Table) -> Grid:
    """The grid of a table: a line for each setting of the row axes, columns repeated across the others."""
    headings = [Heading(axis.label, "label") for axis in table.row_axes]
    for group, row in _groups(table).items():
        above = tuple(row.labels[axis.name] for axis in table.column_axes)
        headings += _headings(table, above, group)
    grid = Grid(headings, [axis.label for axis in table.column_axes])
    groups = [heading.group for heading in headings[len(table.row_axes) :]]
    if table.column_axes and len(set(groups)) == len(groups):
        # With a single column a group, the group's name is heading enough; the caption names the metric.
        innermost = grid.across.pop()
        for heading in headings[len(table.row_axes) :]:
            heading.text = f"{innermost} {heading.above[-1]}"
            heading.above = heading.above[:-1]
    lines: dict[tuple[Any, ...], list[tuple[int, Row]]] = {}
    for index, row in enumerate(table.rows):
        lines.setdefault(_key(row, table.row_axes), []).append((index, row))
    grid.lines = [_line(table, headings, rows) for rows in lines.values()]
    return grid


def _headings(table: Table, above: tuple[str, ...], group: tuple[Any, ...]) -> list[Heading]:
    """The columns of one group: each result with its difference and references, n, the costs."""
    found = []
    pivoted = bool(table.column_axes)
    last = [quantity for quantity in table.quantities if quantity.kind == "result"][-1]
    for quantity in table.quantities:
        found.append(Heading(digits.heading(quantity), quantity.kind, above, group, quantity))
        compared = any(row.cell(quantity.name).difference is not None for row in table.rows)
        if compared and not pivoted:
            unit = " (points)" if quantity.unit == "%" else ""
            found.append(Heading(f"Δ{unit}", "difference", above, group, quantity))
        for reference in (one for one in table.references if one.quantity == quantity.name):
            shown = any(
                text and _key(row, table.column_axes) == group
                for row, text in zip(table.rows, reference.values, strict=True)
            )
            if shown:
                found.append(Heading(reference.label, "reference", above, group, quantity, reference))
        if quantity == last and (not pivoted or _uneven(table)):
            found.append(Heading("n", "count", above, group, quantity))
    return found


def _uneven(table: Table) -> bool:
    return len({(row.n, row.expected) for row in table.rows}) > 1 or any(row.missing for row in table.rows)


def _key(row: Row, axes: list[Axis]) -> tuple[Any, ...]:
    return tuple(hashable(row.axes[axis.name]) for axis in axes)


def _groups(table: Table) -> dict[tuple[Any, ...], Row]:
    """The combinations of the axes across in their values' order, each with a row that has it."""
    found = (
        {_key(row, table.column_axes): row for row in table.rows}
        if table.column_axes
        else {(): table.rows[0]}
    )

    def place(key: tuple[Any, ...]) -> list[int]:
        return [axis.values.index(found[key].axes[axis.name]) for axis in table.column_axes]

    return {key: found[key] for key in sorted(found, key=place)}


def _line(table: Table, headings: list[Heading], rows: list[tuple[int, Row]]) -> list[Text]:
    by_group = {_key(row, table.column_axes): (index, row) for index, row in rows}
    line = [Text(rows[0][1].labels[axis.name]) for axis in table.row_axes]
    pivoted = bool(table.column_axes)
    if line and not pivoted and rows[0][1].mixes:
        line[-1].text += f" {MIXED}"
    for heading in headings[len(line) :]:
        if heading.group not in by_group:
            line.append(Text("", heading.kind))
            continue
        index, row = by_group[heading.group]
        if heading.reference is not None:
            line.append(Text(heading.reference.values[index], "reference", row=row))
        elif heading.quantity is not None:
            line.append(_text(row, row.cell(heading.quantity.name), heading.quantity, heading.kind, pivoted))
    return line


def _text(row: Row, cell: Cell, quantity: Quantity, kind: str, pivoted: bool) -> Text:
    found = cell.difference
    star = found is not None and found.significant
    if kind == "count":
        return Text(count(row), kind, row=row, value=row.n)
    if kind == "difference":
        if found is None:
            return Text(BASELINE if row.baseline else "", kind, cell=cell, row=row)
        text = digits.difference(found, quantity.unit)
        return Text(text, kind, star=star, cell=cell, row=row, value=found.value)
    if kind == "cost":
        text = digits.cost(cell.value, quantity.name) or NO_EFFECT
        return Text(text, kind, cell=cell, row=row, value=cell.value)
    text = digits.result(cell, quantity.unit) or NO_EFFECT
    if 0 < cell.n < row.n:
        text += f" (n = {cell.n})"
    if pivoted and row.mixes:
        text += f" {MIXED}"
    return Text(text, kind, cell.best, cell.second, star and pivoted, cell, row, cell.value)


def count(row: Row) -> str:
    """`3`, or `2/3 (1 diverged)` where runs are missing."""
    if row.n == row.expected and not row.missing:
        return str(row.n)
    why = ", ".join(f"{number} {word}" for word, number in row.missing.items())
    return f"{row.n}/{row.expected} ({why})" if why else f"{row.n}/{row.expected}"


def legend(table: Table, grid: Grid) -> list[str]:
    """Sentences that explain the marks which the table uses."""
    cells = [cell for row in table.rows for cell in row.cells.values()]
    found = []
    tasks = [axis.label for axis in table.axes if axis.name.startswith(TASK) and len(axis.values) > 1]
    each = f", for each {' and '.join(tasks)}," if tasks else ""
    if any(cell.best for cell in cells):
        found.append(f"Bold: the best{each} and all that can't be told from it (paired t-tests, Holm).")
    if any(cell.second for cell in cells):
        found.append("Underlined: the best of the rest and all that can't be told from it.")
    sources = {one.label: one.cite for one in table.references if one.cite and not KEY.fullmatch(one.cite)}
    found += [f"{label}: {cite.rstrip('.')}." for label, cite in sources.items()]
    if any(heading.kind == "difference" for heading in grid.headings):
        found.append("Δ: difference to the baseline paired by seed [95 % interval].")
    if any(cell.difference and cell.difference.significant for cell in cells):
        found.append(f"*: differs from the baseline{_baseline(table)} (paired t-test, Holm, 5 %).")
    return found


def _baseline(table: Table) -> str:
    """What the baselines of a pivoted table, which marks none, have in common and other rows don't."""
    base = [row for row in table.rows if row.baseline]
    common = [
        f"{axis.label} {base[0].labels[axis.name]}"
        for axis in table.axes
        if len(axis.values) > 1 and len({row.labels[axis.name] for row in base}) == 1
    ]
    return f", {', '.join(common)}" if common and table.column_axes else ""
