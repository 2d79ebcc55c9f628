"""Many runs in two files: `runs/history.jsonl`, a line an epoch, and `runs/results.jsonl`, a line a run.

An export of thousands of runs has them: so many folders would take longer to make than all else in it. A line
begins with its run's key. It holds until the run is trained again, in a folder of its own.
"""

import json
import os
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from cbam_ablate.runs.files import read_bytes

HISTORIES, RESULTS = "history.jsonl", "results.jsonl"
_encode = json.JSONEncoder(allow_nan=False, check_circular=False).encode
START = b'{"run": "'


def history_for_many(folder: str, key: str) -> bytes:
    """The history of a run, by its folder, as lines of the file of many; empty where there is none."""
    try:
        own = read_bytes(f"{folder}/{HISTORIES}")
    except OSError:
        return lines_of(folder, HISTORIES)
    start = START + key.encode() + b'", '
    lines = own.replace(b"\n{", b"\n" + start)
    return (start + lines[1:] if lines.startswith(b"{") else lines).rstrip(b"\n") + b"\n"


def result_for_many(key: str, result: dict[str, Any]) -> bytes:
    """A run's result as its line of the file of many."""
    return _encode({"run": key, **result}).encode() + b"\n"


def keys_of_many(runs: Path) -> list[str]:
    """The runs that the file of many results in this folder holds."""
    return [key.decode(errors="replace") for key in _places_now(f"{runs}/{RESULTS}")]


def lines_of(run: Path | str, name: str) -> bytes:
    """A run's lines in the file of many of this name, beside its folder; empty where there are none."""
    runs, _, key = str(run).rpartition(os.sep)
    path = f"{runs or os.curdir}/{name}"
    found = _places_now(path).get(key.encode())
    if found is None or os.path.isdir(f"{run}/claims"):
        return b""
    begin, end = found
    try:
        with open(path, "rb") as file:
            file.seek(begin)
            return file.read(end - begin)
    except OSError:
        return b""


def _places_now(path: str) -> dict[bytes, tuple[int, int]]:
    try:
        stat = os.stat(path)
        return _places(path, stat.st_mtime_ns, stat.st_size)
    except OSError:
        return {}


@lru_cache(maxsize=4)
def _places(path: str, changed: int, size: int) -> dict[bytes, tuple[int, int]]:
    """Where each run's lines begin and end; a run's are together."""
    found: dict[bytes, tuple[int, int]] = {}
    for key, begin, end in _lines(read_bytes(path)):
        found[key] = (found[key][0] if key in found else begin, end)
    return found


def _lines(content: bytes) -> Iterator[tuple[bytes, int, int]]:
    at = 0
    while at < len(content):
        end = content.find(b"\n", at) + 1 or len(content)
        if content.startswith(START, at):
            key = at + len(START)
            yield content[key : content.find(b'"', key)], at, end
        at = end
