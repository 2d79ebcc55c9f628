"""Sentences that explain a table's marks."""

from cbam_ablate.aggregate.compare import TASK
from cbam_ablate.aggregate.model import Table
from cbam_ablate.report.grid import KEY, Grid

MACS = "MACs: of convolutions, linear layers and products of matrices, for one image."
"""What is counted, where a table tells it."""


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
    sources |= {one.label: one.cite for one in table.published if one.cite and not KEY.fullmatch(one.cite)}
    found += [f"{label}: {cite.rstrip('.')}." for label, cite in sources.items()]
    if any(heading.kind == "difference" for heading in grid.headings):
        found.append("Δ: difference to the baseline paired by seed [95 % interval].")
    if any(cell.difference and cell.difference.significant for cell in cells):
        both = table.options.get("interval") == "both"
        test = "t-test over seeds and test images" if both else "paired t-test"
        found.append(f"*: differs from the baseline{_baseline(table)} ({test}, Holm, 5 %).")
    if any(quantity.name == "macs" for quantity in table.quantities):
        found.append(MACS)
    if table.means:
        found.append("mean: over the rows or columns, within each seed that all of them have.")
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
