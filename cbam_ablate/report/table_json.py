"""The table model itself as JSON, a line for each row of it."""

import dataclasses
import json
from typing import Any

from cbam_ablate.aggregate import model
from cbam_ablate.aggregate.model import FORMAT, Table
from cbam_ablate.errors import StoreError

LISTS = {
    "row_axes": model.Axis, "column_axes": model.Axis, "quantities": model.Quantity, "rows": model.Row,
    "effects": model.Effect, "references": model.Reference,
    "published": model.Published, "means": model.Marginal,
}  # fmt: skip


def render(table: Table) -> str:
    """JSON text; the same table gives the same bytes."""
    sections = [_line("schema", FORMAT)]
    for field in dataclasses.fields(table):
        value = getattr(table, field.name)
        if isinstance(value, list) and value:
            rows = ",\n".join(_dump(item) for item in value)
            sections.append(f'"{field.name}": [\n{rows}\n]')
        else:
            sections.append(_line(field.name, value))
    return "{\n" + ",\n".join(sections) + "\n}\n"


def _line(name: str, value: Any) -> str:
    return f'"{name}": {_dump(value)}'


_dump = json.JSONEncoder(default=vars, allow_nan=False, ensure_ascii=False).encode


def read(text: str) -> dict[str, Any]:
    """The sections of a table.json of this version or an earlier one; raises `StoreError` for others."""
    try:
        found = json.loads(text)
        known = found["schema"] in range(1, FORMAT + 1) and isinstance(found["options"], dict)
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(f"not a table.json: {error!r}") from error
    if not known:
        raise StoreError(f"a table.json of format {found['schema']}, this version reads up to {FORMAT}")
    return found


def parse(text: str) -> Table:
    """The table that `render` wrote. Raises `StoreError` for anything else."""
    found = read(text)
    if found.pop("schema") != FORMAT:
        raise StoreError(f"a table.json of an earlier format than {FORMAT}; make the table again")
    try:
        for name, kind in LISTS.items():
            found[name] = [kind(**item) for item in found[name]]
        for effect in found["effects"]:
            effect.interval = _pair(effect.interval)
        for row in [*found["rows"], *found["means"]]:
            row.cells = {name: _cell(cell) for name, cell in row.cells.items()}
        return Table(**found)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StoreError(f"not a table.json: {error}") from error


def _cell(values: dict[str, Any]) -> model.TableCell:
    cell = model.TableCell(**values)
    cell.interval = _pair(cell.interval)
    if values["difference"] is not None:
        cell.difference = model.Difference(**values["difference"])
        cell.difference.interval = _pair(cell.difference.interval)
        cell.difference.more_seeds = _pair(cell.difference.more_seeds)
    return cell


def _pair(value: Any) -> Any:
    return None if value is None else tuple(value)
