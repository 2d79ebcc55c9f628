"""The files of a run that are made from its history after each epoch: its curves, and a CSV if asked for."""

import csv
import io
import logging
from typing import Any

from cbam_ablate.config.schema import RunConfig
from cbam_ablate.runs.curves import curves_svg
from cbam_ablate.runs.files import write_text
from cbam_ablate.runs.naming import name_of
from cbam_ablate.runs.store import Run


def write_views(run: Run, cfg: RunConfig, history: list[dict[str, Any]], log: logging.Logger) -> None:
    """Replaces them. What goes wrong is a warning: a view is never worth a run."""
    try:
        write_text(run.path / "curves.svg", curves_svg(history, f"{name_of(cfg)}   {run.key}"))
        if cfg.logger.csv:
            write_text(run.path / "history.csv", _csv(history))
    except Exception as error:
        log.warning("the run goes on, but its curves can't be written: %s: %s", type(error).__name__, error)


def _csv(history: list[dict[str, Any]]) -> str:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, fieldnames=list(dict.fromkeys(name for line in history for name in line)))
    writer.writeheader()
    writer.writerows(history)
    return text.getvalue()
