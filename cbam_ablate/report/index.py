"""What a large study's table was made from, so that it needn't be made again while nothing has changed.

A file beside the table that can be deleted at any time: the store's files stay the truth.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cbam_ablate.aggregate import Study
from cbam_ablate.runs import RunStore
from cbam_ablate.runs.files import read_json, write_json

NAME = ".index.json"
WORTH_IT = 500
"""Runs from which on an index is kept."""
FILES = ("table.md", "table.tex", "table.csv", "table.html", "table.json")
SOURCES = [
    Path(__file__).parent,
    Path(__file__).parents[1] / "aggregate",
    Path(__file__).parents[1] / "config",
]


def unchanged(store: RunStore, folder: Path, values: Mapping[str, Any]) -> bool:
    """Whether the table in `folder` is what would be made again."""
    known = read_json(folder / NAME)
    if known is None or not isinstance(known.get("keys"), str):
        return False
    keys = known["keys"].split()
    return known == _content(store, folder, values, keys, known.get("unfinished") or {})


def remember(store: RunStore, folder: Path, values: Mapping[str, Any], study: Study) -> None:
    """Writes the index of the table just made, where that pays."""
    keys = list(study.records)
    if len(keys) < WORTH_IT:
        (folder / NAME).unlink(missing_ok=True)
        return
    unfinished = {key: None for key, record in study.records.items() if not record.finished}
    write_json(folder / NAME, _content(store, folder, values, keys, unfinished))


def _content(
    store: RunStore, folder: Path, values: Mapping[str, Any], keys: list[str], unfinished: Mapping[str, Any]
) -> dict[str, Any]:
    sources = sorted(path for source in SOURCES for path in source.glob("*.py"))
    return {
        "values": json.loads(json.dumps(values, default=str)),
        "sources": _digest(map(str, sources)),
        "manifest": _digest([str(folder / "manifest.json")]),
        "keys": " ".join(keys),
        "results": _digest(f"{store.root}/runs/{key}/result.json" for key in keys),
        "unfinished": {key: list(store.run(key).state()) for key in unfinished},
        "files": _digest(str(folder / name) for name in FILES),
    }


def _digest(paths: Any) -> str:
    """A hash of the files' sizes, times and numbers: a file that was written again has others."""
    found = []
    for path in paths:
        try:
            status = os.stat(path)
            found.append((status.st_mtime_ns, status.st_size, status.st_ino))
        except OSError:
            found.append((0, 0, 0))
    return hashlib.sha256(repr(found).encode()).hexdigest()
