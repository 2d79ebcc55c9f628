"""Results in a file of JSON objects, one a line, or in a JSON array of them."""

import json
from pathlib import Path
from typing import Any

from cbam_ablate.errors import DataError
from cbam_ablate.sources.found import Found, Wanted, flat
from cbam_ablate.sources.rows import runs_of


def read(path: Path, wanted: Wanted) -> tuple[list[Found], list[str]]:
    """The runs of a file, nested objects by dotted name, and sentences about it. Raises `UserError`."""
    rows, addresses = objects(path)
    named = [dict(flat(row)) for row in rows]
    columns = list(dict.fromkeys(name for row in named for name in row))
    return runs_of(columns, named, wanted, addresses)


def objects(path: Path) -> tuple[list[dict[str, Any]], list[str]]:
    """The objects of a file and where they stand. Raises `DataError` for anything else than objects."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: is not UTF-8 text (byte {error.start})") from None
    found: list[Any] = []
    addresses = []
    if text.lstrip().startswith("["):
        try:
            found = json.loads(text)
        except ValueError as error:
            raise DataError(f"{path}: {error}") from None
        addresses = [f"entry {index + 1}" for index in range(len(found))]
    else:
        for line, content in enumerate(text.splitlines(), 1):
            if content.strip():
                try:
                    found.append(json.loads(content))
                except ValueError as error:
                    raise DataError(f"{path}: line {line}: {error}") from None
                addresses.append(f"line {line}")
    for item, address in zip(found, addresses, strict=True):
        if not isinstance(item, dict):
            raise DataError(f"{path}: {address} is {str(item)[:40]!r}, not an object with names and values")
    if not found:
        raise DataError(f"{path}: has nothing in it")
    return found, addresses
