"""Histories of many runs in one file, `runs/history.jsonl`: a line an epoch, its run's key first.

An export of thousands of runs has it: so many folders would take longer to make than all else in it.
"""

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from cbam_ablate.runs.files import read_bytes

NAME = "history.jsonl"
START = b'{"run": "'


def lines_for_many(run: Path) -> bytes:
    """The history of a run, by its folder, as lines of the file of many; empty where there is none."""
    try:
        own = read_bytes(f"{run}/{NAME}")
    except OSError:
        return history_of(run)
    start = START + run.name.encode() + b'", '
    lines = own.replace(b"\n{", b"\n" + start)
    return (start + lines[1:] if lines.startswith(b"{") else lines).rstrip(b"\n") + b"\n"


def history_of(run: Path) -> bytes:
    """A run's lines in the file of many beside its folder; empty where there are none."""
    path = run.parent / NAME
    try:
        stat = path.stat()
        begin, end = _places(str(path), stat.st_mtime_ns, stat.st_size)[run.name.encode()]
        with path.open("rb") as file:
            file.seek(begin)
            return file.read(end - begin)
    except (OSError, KeyError):
        return b""


@lru_cache(maxsize=2)
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
