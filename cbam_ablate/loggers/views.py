"""The files of a run that has ended."""

import csv
from typing import Any

from cbam_ablate.config.schema import RunConfig
from cbam_ablate.loggers.words import name_of
from cbam_ablate.runs import Run


def write_views(run: Run, cfg: RunConfig) -> None:
    """The curves of a run, and what its `logger` options ask for."""
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
