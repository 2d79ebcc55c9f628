"""What a finished run is: the one answer, for plans, trainers, tables and loggers."""

import errno
import json
import os
import re
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from cbam_ablate.runs.files import read_bytes
from cbam_ablate.runs.together import RESULTS, lines_of

FORMAT = 1
"""The version of result.json and manifest.json that is read and written here."""
DENIED = f"can't be read ({os.strerror(errno.EACCES)})"
"""What is said of a file of another user's that this one may not read."""
SECTIONS = ("metrics", "cost", "selection", "provenance")


class Problem(NamedTuple):
    """Why a result can't be used: in a word or two (unreadable, foreign), and in a sentence's part."""

    why: str
    error: str


def read_result(folder: Path | str, key: str) -> tuple[dict[str, Any] | None, Problem | None]:
    """A run's result where it has finished, or what is wrong with it; None twice where there is none."""
    result, problem = stored_result(folder)
    if result is not None:
        problem = problem_of(key, result)
    return (None, problem) if problem else (result, None)


def stored_result(folder: Path | str) -> tuple[dict[str, Any] | None, Problem | None]:
    """What a run's result.json holds, or its line of an export; None with a problem where it is no object."""
    name = "result.json"
    result, wrong = read_object(f"{folder}/{name}")
    if result is None and not wrong and (line := lines_of(folder, RESULTS)):
        name = f"its line of runs/{RESULTS}"
        result, wrong = parse_object(line)
        (result or {}).pop("run", None)
    return result, Problem("unreadable", f"{name} {wrong}") if wrong else None


def problem_of(key: str, result: dict[str, Any]) -> Problem | None:
    """What keeps the content of a result.json from counting; None where it counts."""
    if result.get("schema") != FORMAT:
        return Problem(
            "other format", f"result.json has format {result.get('schema')}, this version reads {FORMAT}"
        )
    if result.get("key") != key:
        return Problem("foreign", f"result.json belongs to run {result.get('key')}")
    missing = [name for name in SECTIONS if not isinstance(result.get(name), dict)]
    if missing:
        return Problem("unreadable", f"result.json has no {', '.join(missing)}")
    rule = str(result["selection"].get("rule"))
    if _names_test(rule):
        return Problem("chosen on test data", f"its epoch was chosen by {rule}: test data chooses nothing")
    return None


@cache
def _names_test(rule: str) -> bool:
    return re.search(r"(?<![a-z])test", rule.lower()) is not None


def read_object(path: str | Path) -> tuple[dict[str, Any] | None, str]:
    """A JSON object, or None with what is wrong; None and no words where there is no file."""
    try:
        return parse_object(read_bytes(path))
    except (FileNotFoundError, NotADirectoryError):
        return None, ""
    except OSError as error:
        return None, f"can't be read ({os.strerror(error.errno or 0)})"


def parse_object(content: bytes) -> tuple[dict[str, Any] | None, str]:
    """A JSON object, or None with what is wrong."""
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        return None, "is cut short or not JSON"
    if not isinstance(value, dict):
        return None, "holds no JSON object"
    return value, ""
