"""What a finished run is: the one answer, for plans, trainers, tables and loggers."""

import errno
import json
import os
import re
from pathlib import Path
from typing import Any, NamedTuple

from cbam_ablate.runs.files import read_bytes

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
    result, wrong = read_object(f"{folder}/result.json")
    problem = Problem("unreadable", f"result.json {wrong}") if wrong else None
    if result is not None:
        problem = problem_of(key, result)
    return (None, problem) if problem else (result, None)


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
    if re.search(r"(?<![a-z])test", rule.lower()):
        return Problem("chosen on test data", f"its epoch was chosen by {rule}: test data chooses nothing")
    return None


def read_object(path: str | Path) -> tuple[dict[str, Any] | None, str]:
    """A JSON object, or None with what is wrong; None and no words where there is no file."""
    try:
        value = json.loads(read_bytes(path))
    except (FileNotFoundError, NotADirectoryError):
        return None, ""
    except (ValueError, RecursionError):
        return None, "is cut short or not JSON"
    except OSError as error:
        return None, f"can't be read ({os.strerror(error.errno or 0)})"
    if not isinstance(value, dict):
        return None, "holds no JSON object"
    return value, ""
