"""From a table to the grid that is printed."""

from collections.abc import Sequence
from typing import Any

from cbam_ablate.aggregate.layout import hashable
from cbam_ablate.aggregate.model import Axis, Marginal, Published, Quantity, Row, Table, TableCell
from cbam_ablate.aggregate.names import NO_EFFECT, find_axis
from cbam_ablate.config.options import same
from cbam_ablate.report import digits
from cbam_ablate.report.digits import Digits
from cbam_ablate.report.grid import KEY, Grid, Heading, Text

BASELINE = "baseline"
MIXED = "‡"
MEAN = "mean"


class Printing:
    """How a table's options have it printed."""

    def __init__(self, table: Table) -> None:
        self.table, self.options = table, table.options
        self.pivoted = bool(table.column_axes)
        grouped = [axis for axis in table.row_axes if self._among("groups", axis)]
        self.grouped = grouped
        self.down = [axis for axis in table.row_axes if axis not in grouped]
        self.separated = [axis for axis in table.row_axes if self._among("separators", axis)]
        self.spread = str(self.options.get("spread", "sd"))

    def _among(self, option: str, axis: Axis) -> bool:
        axes = [one.name for one in self.table.row_axes]
        return axis.name in [find_axis(name, axes) for name in self.options.get(option) or []]

    def wanted(self, quantity: Quantity) -> int | None:
        digits = self.options.get("digits")
        return digits.get(quantity.name) if isinstance(digits, dict) else digits

    def results(self, quantity: Quantity, cells: Sequence[TableCell]) -> Digits:
        return digits.of_results(cells, quantity.unit, self.wanted(quantity), self.spread)


def lay_out(table: Table) -> Grid:
    """The grid of a table: a line for each setting of the row axes, columns repeated across the others."""
    layout = Printing(table)
    headings = [Heading(axis.label, "label") for axis in layout.down] or [Heading("", "label")]
    labels = len(headings)
    for group, row in _groups(table).items():
        above = tuple(row.labels[axis.name] for axis in table.column_axes)
        headings += _headings(layout, above, group)
    grid = Grid(headings, [axis.label for axis in table.column_axes])
    groups = [heading.group for heading in headings[labels:]]
    if table.column_axes and len(set(groups)) == len(groups):
        # With a single column a group, the group's name is heading enough; the caption names the metric.
        innermost = grid.across.pop()
        for heading in headings[labels:]:
            scale = f" {heading.digits.heading}" if heading.digits.heading else ""
            heading.text = f"{innermost} {heading.above[-1]}{scale}"
            heading.above = heading.above[:-1]
    if any(one.over == "columns" for one in table.means):
        headings += _mean_headings(layout)
    by_line: dict[tuple[Any, ...], list[tuple[int, Row]]] = {}
    for index, row in enumerate(table.rows):
        by_line.setdefault(_key(row, table.row_axes), []).append((index, row))
    before: Row | None = None
    for rows in by_line.values():
        first = rows[0][1]
        _break(grid, layout, before, first)
        grid.lines.append(_line(layout, headings, labels, rows))
        before = first
    _below(grid, layout, labels)
    return grid


def _break(grid: Grid, layout: Printing, before: Row | None, row: Row) -> None:
    def changed(axes: list[Axis]) -> bool:
        return before is None or any(before.labels[a.name] != row.labels[a.name] for a in axes)

    if layout.grouped and changed(layout.grouped):
        grid.breaks[len(grid.lines)] = ", ".join(f"{a.label} {row.labels[a.name]}" for a in layout.grouped)
    elif before is not None and layout.separated and changed(layout.separated):
        grid.breaks[len(grid.lines)] = ""


def _headings(layout: Printing, above: tuple[str, ...], group: tuple[Any, ...]) -> list[Heading]:
    """The columns of one group: each result with its difference and references, n, the costs."""
    table, found = layout.table, []
    last = [quantity for quantity in table.quantities if quantity.kind == "result"][-1]
    here = [row for row in table.rows if _key(row, table.column_axes) == group]
    # With one column a group all are read together, and so have equal digits.
    alike = table.rows if len(table.quantities) == 1 else here
    for quantity in table.quantities:
        cells = [row.cell(quantity.name) for row in alike]
        shown = layout.results(quantity, cells) if quantity.kind == "result" else Digits(2)
        title = digits.heading(quantity, shown)
        found.append(Heading(title, quantity.kind, above, group, quantity, digits=shown))
        differences = [cell.difference for cell in cells if cell.difference is not None]
        if differences and not layout.pivoted and layout.options.get("delta", True):
            unit = " (points)" if quantity.unit == "%" else ""
            scale = f" {shown.heading}" if shown.heading else ""
            apart = digits.of_differences(differences, quantity.unit, shown.exponent, layout.wanted(quantity))
            found.append(Heading(f"Δ{unit}{scale}", "difference", above, group, quantity, digits=apart))
        for reference in (one for one in table.references if one.quantity == quantity.name):
            there = any(
                text and _key(row, table.column_axes) == group
                for row, text in zip(table.rows, reference.values, strict=True)
            )
            if there:
                found.append(Heading(reference.label, "reference", above, group, quantity, reference))
        counted = not layout.pivoted or _uneven(table)
        if quantity == last and counted and layout.options.get("n", True):
            found.append(Heading("n", "count", above, group, quantity))
    return found


def _mean_headings(layout: Printing) -> list[Heading]:
    found = []
    for quantity in (one for one in layout.table.quantities if one.kind == "result"):
        cells = [one.cells[quantity.name] for one in layout.table.means if one.over in ("columns", "all")]
        shown = layout.results(quantity, cells)
        several = sum(one.kind == "result" for one in layout.table.quantities) > 1
        text = f"{MEAN} {quantity.label}" if several else MEAN
        text += f" {shown.heading}" if shown.heading else ""
        found.append(Heading(text, "result", group=None, quantity=quantity, digits=shown))
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


def _line(layout: Printing, headings: list[Heading], labels: int, rows: list[tuple[int, Row]]) -> list[Text]:
    table, first = layout.table, rows[0][1]
    by_group = {_key(row, table.column_axes): (index, row) for index, row in rows}
    line = [Text(first.labels[axis.name]) for axis in layout.down] or [Text("")]
    if not layout.pivoted and first.mixes:
        line[-1].text += f" {MIXED}"
    for heading in headings[labels:]:
        if heading.group is None:
            mean = next(
                one
                for one in table.means
                if one.over == "columns" and all(first.axes[name] == v for name, v in one.axes.items())
            )
            line.append(_mean(layout, mean, heading))
        elif heading.group not in by_group:
            line.append(Text("", heading.kind))
        else:
            index, row = by_group[heading.group]
            if heading.reference is not None:
                line.append(Text(heading.reference.values[index], "reference", row=row))
            elif heading.quantity is not None:
                line.append(_text(layout, row, row.cell(heading.quantity.name), heading))
    return line


def _text(layout: Printing, row: Row, cell: TableCell, heading: Heading) -> Text:
    found, kind, quantity = cell.difference, heading.kind, heading.quantity
    star = found is not None and found.significant
    if kind == "count":
        return Text(count(row), kind, row=row, value=row.n)
    if kind == "difference":
        if found is None:
            return Text(BASELINE if row.baseline else "", kind, cell=cell, row=row)
        text = digits.difference(found, heading.digits)
        return Text(text, kind, star=star, cell=cell, row=row, value=found.value)
    if kind == "cost":
        text = digits.cost(cell.value, quantity.name if quantity else "") or NO_EFFECT
        return Text(text, kind, cell=cell, row=row, value=cell.value)
    text = digits.result(cell, heading.digits, layout.spread) or NO_EFFECT
    if 0 < cell.n < row.n:
        text += f" (n = {cell.n})"
    if layout.pivoted and row.mixes:
        text += f" {MIXED}"
    return Text(text, kind, cell.best, cell.second, star and layout.pivoted, cell, row, cell.value)


def _below(grid: Grid, layout: Printing, labels: int) -> None:
    """The lines of published methods, and of the means over all lines."""
    for index, published in enumerate(layout.table.published):
        if index == 0:
            grid.breaks.setdefault(len(grid.lines), "")
        cite = published.cite if KEY.fullmatch(published.cite) else ""
        line = [Text(published.label, cite=cite), *(Text("") for _ in range(labels - 1))]
        line += [
            Text(_published(layout, published, heading), "reference") for heading in grid.headings[labels:]
        ]
        grid.lines.append(line)
    if any(one.over == "rows" for one in layout.table.means):
        grid.breaks.setdefault(len(grid.lines), "")
        line = [Text(MEAN), *(Text("") for _ in range(labels - 1))]
        for heading in grid.headings[labels:]:
            over = "all" if heading.group is None else "rows"
            values = [
                one
                for one in layout.table.means
                if one.over == over and (over == "all" or _point(layout, one) == heading.group)
            ]
            line.append(_mean(layout, values[0], heading) if values else Text("", heading.kind))
        grid.lines.append(line)


def _point(layout: Printing, mean: Marginal) -> tuple[Any, ...]:
    return tuple(hashable(mean.axes[axis.name]) for axis in layout.table.column_axes)


def _mean(layout: Printing, mean: Marginal, heading: Heading) -> Text:
    cell = mean.cells.get(heading.quantity.name) if heading.quantity else None
    if cell is None or heading.kind != "result":
        return Text("", heading.kind)
    text = digits.result(cell, heading.digits, layout.spread) or NO_EFFECT
    most = max(row.n for row in layout.table.rows)
    if cell.n < most:
        text += f" (n = {cell.n})"
    if mean.mixes:
        text += f" {MIXED}"
    return Text(text, "result", value=cell.value)


def _published(layout: Printing, published: Published, heading: Heading) -> str:
    if heading.quantity is None or heading.kind not in ("result", "cost") or heading.group is None:
        return ""
    for cell in published.cells:
        place = [cell["axes"].get(axis.name) for axis in layout.table.column_axes]
        fits = all(same(value, level[0]) for value, level in zip(place, heading.group, strict=True))
        if cell["quantity"] == heading.quantity.name and fits:
            return str(cell["value"])
    return ""


def count(row: Row) -> str:
    """`3`, or `2/3 (1 diverged)` where runs are missing."""
    if row.n == row.expected and not row.missing:
        return str(row.n)
    why = ", ".join(f"{number} {word}" for word, number in row.missing.items())
    return f"{row.n}/{row.expected} ({why})" if why else f"{row.n}/{row.expected}"
