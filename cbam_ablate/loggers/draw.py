"""The process beside a sweep that makes the views of its runs.

python -m cbam_ablate.loggers.draw reads the folders of finished runs, a JSON string a line.
"""

import contextlib
import json
import sys
from functools import partial
from pathlib import Path

from cbam_ablate.loggers.views import write_views
from cbam_ablate.runs import Run
from cbam_ablate.runs.writer import note


def main() -> None:
    with contextlib.suppress(Exception):  # each run will say what is wrong
        import cbam_ablate.loggers.curves  # noqa: F401  while the first runs are trained
    for line in sys.stdin:
        run = Run(Path(json.loads(line)))
        if run.result() is not None:  # another sweep may train it anew
            write_views(run, partial(note, run))


if __name__ == "__main__":
    main()
