"""Results of runs that have nothing else, a line each beside the study's manifest.

Others' runs come by the ten thousand, and a folder each would take longer to make than their table.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from cbam_ablate.runs.files import read_lines, write_text

NAME = "results.jsonl"


def write_results(folder: Path, results: Iterable[dict[str, Any]]) -> None:
    """Replaces a study's lines: what result.json would hold, or a run's key and status where it has none."""
    text = "".join(json.dumps(result, allow_nan=False) + "\n" for result in results)
    if text:
        write_text(folder / NAME, text)
    else:
        (folder / NAME).unlink(missing_ok=True)


def read_results(folder: Path) -> dict[str, dict[str, Any]]:
    """A study's lines by run key; empty where all its runs have folders."""
    return {str(line.get("key")): line for line in read_lines(folder / NAME)}
