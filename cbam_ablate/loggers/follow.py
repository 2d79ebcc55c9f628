"""One logger's process: reads the run's folder while it is trained, and hands the logger each epoch.

python -m cbam_ablate.loggers.follow MODULE:CLASS RUN. Standard input ends when the run has; what the logger
has to say then goes to standard output, one line.
"""

import contextlib
import os
import select
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from cbam_ablate.config.canonical import from_dict
from cbam_ablate.config.schema import RunConfig
from cbam_ablate.own import load_own
from cbam_ablate.part import load
from cbam_ablate.runs import Run

POLL = 1.0
"""Seconds between looks at the run's history."""
LIMIT = 30
"""Seconds that a logger may live after its run, where the trainer is not there to end it."""


class OwnLogger(Protocol):
    """What an own logger is: made when training starts, told each epoch, told the end.

    It lives in a process of its own. `logger.own.NAME=module:Class` uses it.
    """

    def __init__(self, run: Run, cfg: RunConfig) -> None: ...

    def epoch(self, record: dict[str, Any]) -> None:
        """One line of history.jsonl; a run that goes on gives all its epochs again, from the first."""

    def end(self) -> str | None:
        """The run has ended and `run.result()` is there if it finished. Returns a line for the run's log."""


def follow(logger: OwnLogger, run: Run, over: Callable[[], bool]) -> str | None:
    """Feeds the logger until `over`, which waits a moment, says that the run has ended."""
    seen, ended = 0, False
    while not ended:
        ended = over()
        # Until training shows progress, the history may hold epochs that resuming takes back.
        if ended or "epochs" in run.status():
            for record in run.history():
                if record["epoch"] > seen:
                    logger.epoch(record)
                    seen = record["epoch"]
    return logger.end()


def main() -> None:
    """Makes the logger and follows; whatever it does, this process says what became of it and ends."""
    target, path = sys.argv[1:]
    stdout = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    os.nice(10)

    def over() -> bool:
        ended = bool(select.select([0], [], [], POLL)[0])
        if ended:
            signal.alarm(LIMIT)
        return ended

    name, run = target.partition(":")[2], Run(Path(path))
    try:
        ours = target.startswith("cbam_ablate.")
        made = load(target) if ours else load_own(target, "logger.own")
        logger = made(run, from_dict(run.config() or {}))
        line = follow(logger, run, over)
    except Exception as error:  # a logger can be anybody's code
        line = f"logger {name}: {type(error).__name__}: {str(error).partition(chr(10))[0]}"
        if isinstance(error, ModuleNotFoundError) and error.name:
            package = error.name.partition(".")[0]
            line = f"logger {name}: the package {package} isn't installed: pip install {package}"
    with contextlib.suppress(OSError):
        print(line or "", file=stdout, flush=True)
    # Not sys.exit: a logger's library may try for long to send something at exit.
    os._exit(0)


if __name__ == "__main__":
    main()
