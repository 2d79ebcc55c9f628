"""Learning curves of one run as a picture."""

import io
from functools import cache
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from cbam_ablate.runs.files import write_bytes

PARTS = {"train": ("training", "#888888"), "val": ("validation", "#0b62a4")}
FEW = 15
"""Epochs below which each has a marker."""

TICKS: dict[str, Any] = {"nbins": 6, "steps": [1, 2, 5, 10]}


def draw_curves(history: list[dict[str, Any]], path: Path, title: str) -> None:
    """Loss (nats) and top-1 accuracy (percent) by epoch, training and validation, to a PNG."""
    epochs = [record["epoch"] for record in history]
    figure, sides = _frame()
    for metric, axes in sides.items():
        for part, line in zip(PARTS, axes.lines, strict=True):
            line.set_data(epochs, [record[f"{part}_{metric}"] for record in history])
            line.set_marker("o" if len(epochs) < FEW else "None")
        axes.relim()
        axes.autoscale()
    sides["loss"].legend(frameon=False, loc="upper right")
    figure.suptitle(title, fontsize=10)
    drawn = io.BytesIO()
    figure.savefig(drawn, dpi=110, pil_kwargs={"compress_level": 1})
    write_bytes(path, drawn.getvalue())


@cache
def _frame() -> tuple[Figure, dict[str, Axes]]:
    """A picture without curves: a process draws many, and what is around them takes as long as they do."""
    # Fixed places and a loose compression: finding the places takes longer than all the rest.
    figure = Figure(figsize=(9, 3.4))
    figure.subplots_adjust(left=0.09, right=0.99, bottom=0.15, top=0.9, wspace=0.23)
    sides = dict(zip(("loss", "top1"), figure.subplots(1, 2), strict=True))
    for axes in sides.values():
        for label, color in PARTS.values():
            axes.plot([], [], label=label, color=color, markersize=3)
        axes.set_xlabel("epoch")
        axes.xaxis.set_label_coords(0.5, -0.11)
        axes.yaxis.set_label_coords(-0.16, 0.5)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1, **TICKS))
        axes.yaxis.set_major_locator(MaxNLocator(**TICKS))
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25)
    sides["loss"].set_ylabel("cross entropy, nats")
    sides["top1"].set_ylabel("top-1 accuracy, %")
    return figure, sides
