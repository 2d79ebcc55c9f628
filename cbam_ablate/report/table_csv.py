"""The table as CSV: a line for each setting of the axes, every statistic in a column of its own."""

import csv
import io
from typing import Any

from cbam_ablate.aggregate.model import Table, TableCell
from cbam_ablate.config.options import spell

NULL, NO_EFFECT = "(null)", "(no effect)"
DANGEROUS = ("=", "+", "-", "@", "\t", "\r")


def render(table: Table) -> str:
    """CSV with a header; numbers in full, texts that a spreadsheet would run made harmless."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    records = [record(table, index) for index in range(len(table.rows))]
    if records:
        writer.writerow(safe(name) for name in records[0])
    for values in records:
        writer.writerow(safe(value) if isinstance(value, str) else value for value in values.values())
    return out.getvalue()


def record(table: Table, index: int) -> dict[str, Any]:
    """One row by column name; None where there is nothing."""
    row = table.rows[index]
    found: dict[str, Any] = {axis.name: _level(row.axes[axis.name]) for axis in table.axes}
    found |= {"n": row.n, "expected": row.expected}
    found["missing"] = "; ".join(f"{count} {word}" for word, count in row.missing.items())
    for quantity in table.quantities:
        found |= _columns(quantity.name, row.cell(quantity.name), quantity.kind)
    for reference in table.references:
        name = f"{reference.label} {reference.quantity}"
        found[name] = "; ".join(filter(None, [found.get(name), reference.values[index]]))
    found["mixes"] = " ".join(row.mixes)
    found["run_keys"] = " ".join(row.run_keys)
    return found


def _level(value: Any) -> str:
    """An axis value as text that no reader of CSV takes for a missing one."""
    return NO_EFFECT if value is None else NULL if spell(value) == "null" else spell(value)


def _columns(name: str, cell: TableCell, kind: str) -> dict[str, Any]:
    low, high = cell.interval or (None, None)
    found = {name: cell.value, f"{name}_n": cell.n, f"{name}_sd": cell.sd}
    if kind == "cost":
        return found
    difference = cell.difference
    apart = difference.interval if difference and difference.interval else (None, None)
    return {
        **found,
        f"{name}_low": low,
        f"{name}_high": high,
        f"{name}_best": int(cell.best),
        f"{name}_difference": difference.value if difference else None,
        f"{name}_difference_n": difference.n if difference else None,
        f"{name}_difference_low": apart[0],
        f"{name}_difference_high": apart[1],
        f"{name}_p_holm": difference.p_holm if difference else None,
        f"{name}_d_z": difference.d_z if difference else None,
        f"{name}_hedges_g": difference.hedges_g if difference else None,
    }


def safe(text: str) -> str:
    """A text that no spreadsheet runs as a formula; plain numbers stay as they are."""
    if not text.startswith(DANGEROUS):
        return text
    try:
        float(text)
    except ValueError:
        return f"'{text}"
    return text
