"""Recomputes a written table from its runs and says what has changed."""

import dataclasses
import math
import re
from pathlib import Path
from typing import Any

from cbam_ablate.aggregate import build_table, load_study
from cbam_ablate.aggregate.model import FORMAT, Row
from cbam_ablate.aggregate.records import check_name
from cbam_ablate.errors import ConfigError
from cbam_ablate.report import table_json
from cbam_ablate.report.write import rendered
from cbam_ablate.runs import RunStore

CLOSE = 1e-9
"""Relative difference that other versions of a maths library may make in a number's last digits."""
MOST_LISTED = 20
NUMBER = re.compile(r"\d[\d.,]*")
MARK = re.compile(r"[+−-]?\d[\d.,]*|\*+|<u>|<strong>|boldmath|textbf|underline")
"""Numbers with their signs, and what says that one is best or differs from the baseline."""
BODIES = {
    "md": r"^\|.*^\|[^\n]*",
    "tex": r"\\midrule.*\\bottomrule",
    "csv": r".*",
    "html": r"<tbody>.*?</tbody>",
}
"""Where in each rendering the table itself stands."""


def check_table(store: Path | str, study: str) -> list[str]:
    """Where a study's written table and its runs disagree, a sentence each; empty where they don't.

    The table is made with the options it was written with. Numbers are compared, sentences by the numbers in
    them; of a table that an earlier version wrote its means, spreads and runs. Raises `ConfigError` where
    there is no table.
    """
    folder = RunStore(store).study(check_name(study))
    try:
        written = (folder / "table.json").read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{folder / 'table.json'}: no table to check ({error.strerror})") from error
    old = table_json.read(written)
    loaded = dataclasses.replace(load_study(store, study), keep=False)
    new = table_json.parse(table_json.render(build_table(loaded, old["options"])))
    changed: list[str] = []
    if old["schema"] != FORMAT:
        _compare_cells(old["rows"], new.rows, changed)
        return changed[:MOST_LISTED]
    new.told = old["told"]
    _compare("table", {name: value for name, value in old.items() if name != "schema"}, _plain(new), changed)
    if changed:
        more = [f"{len(changed) - MOST_LISTED} more changes"] if len(changed) > MOST_LISTED else []
        return [*changed[:MOST_LISTED], *more]
    found = []
    for ending, text in rendered(table_json.parse(written)):
        path = folder / f"table.{ending}"
        kept = path.read_text(encoding="utf-8") if ending != "json" and path.exists() else None
        if kept is not None and _marks(ending, kept) != _marks(ending, text):
            found.append(
                f"{path.name}: its numbers or marks are not those of table.json; make the table again"
            )
    return found


def _compare_cells(old: list[dict[str, Any]], rows: list[Row], changed: list[str]) -> None:
    """Compares what every version of a table holds of each cell."""
    new = {repr(sorted(row.axes.items())): row for row in rows}
    for row in old:
        known = new.pop(repr(sorted(row["axes"].items())), None)
        where = f"rows[{' '.join(map(str, row['labels'].values()))}]"
        if known is None:
            changed.append(f"{where}: its runs give no such row")
            continue
        for quantity, cell in row["cells"].items():
            for name in ("value", "n", "sd", "run_keys"):
                now = getattr(known.cell(quantity), name)
                _compare(f"{where}.{quantity}.{name}", cell[name], now, changed)
    changed += [f"rows[{' '.join(row.labels.values())}]: is not in the written table" for row in new.values()]


def _marks(ending: str, text: str) -> list[str]:
    """Numbers and marks in the body of a rendering, whose layout is free to change."""
    body = re.search(BODIES[ending], text, re.DOTALL | re.MULTILINE)
    return MARK.findall(body[0].replace("$-$", "−") if body else "")


def _plain(value: Any) -> Any:
    """Nested dicts and lists of a model."""
    if hasattr(value, "__dict__"):
        return {name: _plain(item) for name, item in vars(value).items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return {key: _plain(item) for key, item in value.items()} if isinstance(value, dict) else value


def _compare(where: str, old: Any, new: Any, changed: list[str]) -> None:
    if isinstance(old, dict) and isinstance(new, dict) and set(old) == set(new):
        for name in old:
            _compare(f"{where}.{name}", old[name], new[name], changed)
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for index, pair in enumerate(zip(old, new, strict=True)):
            _compare(f"{where}[{_name(index, pair[0])}]", *pair, changed)
    elif not _same(old, new):
        changed.append(f"{where}: written {_short(old)}, its runs say {_short(new)}")


def _name(index: int, item: Any) -> str:
    """A row by its labels, anything else by its place."""
    if isinstance(item, dict) and isinstance(item.get("labels"), dict):
        return " ".join(map(str, item["labels"].values()))
    return str(index)


def _same(old: Any, new: Any) -> bool:
    if isinstance(old, float) and isinstance(new, int | float) and not isinstance(new, bool):
        return math.isclose(old, new, rel_tol=CLOSE, abs_tol=1e-12)
    if isinstance(old, str) and isinstance(new, str) and " " in old:
        return NUMBER.findall(old) == NUMBER.findall(new)
    return bool(old == new)


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 120 else f"{text[:117]}..."
