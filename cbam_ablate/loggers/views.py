"""The files of a run that has finished: its curves, and what its `logger` options ask for."""

import contextlib
import csv
from collections.abc import Callable
from typing import Any

from cbam_ablate.config.canonical import from_dict
from cbam_ablate.config.schema import RunConfig
from cbam_ablate.loggers.words import name_of
from cbam_ablate.runs import Run


def write_views(run: Run, say: Callable[[str], None]) -> None:
    """What goes wrong is a line that `say` takes, for the run's log: a view is never worth a run."""
    try:
        _write(run, from_dict(run.config() or {}))
    except Exception as error:
        with contextlib.suppress(OSError):  # as on a disk that is full
            say(f"the run is whole, but its views could not be made: {type(error).__name__}: {error}")


def _write(run: Run, cfg: RunConfig) -> None:
    # Here because it brings matplotlib, which a logger's process does without.
    from cbam_ablate.loggers.curves import draw_curves

    history = run.history()
    draw_curves(history, run.path / "curves.png", f"{name_of(cfg)}   {run.key}")
    if cfg.logger.csv:
        _write_csv(history, run)


def _write_csv(history: list[dict[str, Any]], run: Run) -> None:
    with (run.path / "history.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(history[0]))
        writer.writeheader()
        writer.writerows(history)
