"""What the cells of a text file are: numbers, truth values or text."""

import math
import re
from collections.abc import Sequence
from typing import Any

INTEGER = re.compile(r"[+-]?(?:0|[1-9]\d*)")
NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")
COMMA = re.compile(r"[+-]?\d+,\d+")
WORDS = {"true": True, "false": False}
SPECIAL = {"nan": float("nan"), "inf": float("inf"), "+inf": float("inf"), "-inf": float("-inf")}
NOTHING = ("", "na", "n/a", "-", "–", "—")


def read_cell(text: str) -> Any:
    """An integer, a float, True, False, the text itself, or None for an empty cell."""
    text = text.strip()
    if INTEGER.fullmatch(text):
        return int(text)
    if NUMBER.fullmatch(text) and not (text.lstrip("+-").isdigit()):  # 007 is a name
        return float(text)
    lower = text.lower()
    if lower in NOTHING:
        return None
    if lower in WORDS:
        return WORDS[lower]
    return SPECIAL.get(lower, text)


def read_columns(
    columns: Sequence[str], cells: Sequence[Sequence[str]], comma: bool
) -> tuple[list[Any], list[str]]:
    """Columns of values, (columns, rows), and sentences about those with percent signs, which are taken off.

    `comma` allows 93,1 for 93.1.
    """
    found, notes = [], []
    for name, texts in zip(columns, cells, strict=True):
        known: dict[str, Any] = {}
        percent = [text for text in texts if text.rstrip().endswith("%")]
        if percent and all(NUMBER.fullmatch(text.strip().rstrip("% ")) for text in texts if text.strip()):
            texts = [text.strip().rstrip("% ") for text in texts]
            notes.append(f"{name} is given with a percent sign in {len(percent)} of {len(texts)} rows.")
        if comma and _with_commas(texts):
            texts = [text.replace(",", ".") if COMMA.fullmatch(text.strip()) else text for text in texts]
        values = []
        for text in texts:
            if text not in known:
                known[text] = read_cell(text)
            values.append(known[text])
        found.append(whole(values))
    return found, notes


def _with_commas(texts: Sequence[str]) -> bool:
    """Whether a column's numbers have decimal commas: most of its cells, and none a point."""
    there = [text.strip() for text in texts if text.strip().lower() not in (*NOTHING, *SPECIAL)]
    numbers = [text for text in there if COMMA.fullmatch(text) or INTEGER.fullmatch(text)]
    points = any(NUMBER.fullmatch(text) and not INTEGER.fullmatch(text) for text in there)
    return 2 * len(numbers) > len(there) and not points


def whole(values: list[Any]) -> list[Any]:
    """Floats of a column as integers where all its numbers are whole, as a gap in a column leaves them."""
    floats = [value for value in values if isinstance(value, float) and math.isfinite(value)]
    if floats and all(value.is_integer() for value in floats):
        return [int(v) if isinstance(v, float) and math.isfinite(v) else v for v in values]
    return values
