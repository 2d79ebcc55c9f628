"""Learning curves of one run as a picture."""

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator


def draw_curves(history: list[dict[str, Any]], path: Path, title: str) -> None:
    """Loss (nats) and top-1 accuracy (percent) by epoch, training and validation, to a PNG."""
    epochs = [record["epoch"] for record in history]
    # A layout of fixed places and a loose compression: finding the places takes longer than all the rest.
    figure = Figure(figsize=(9, 3.4))
    figure.subplots_adjust(left=0.07, right=0.99, bottom=0.15, top=0.9, wspace=0.17)
    left, right = figure.subplots(1, 2)
    marker = "o" if len(epochs) < 15 else None
    for part, name, color in (("train", "training", "#888888"), ("val", "validation", "#0b62a4")):
        for axes, metric in ((left, "loss"), (right, "top1")):
            values = [record[f"{part}_{metric}"] for record in history]
            axes.plot(epochs, values, label=name, color=color, marker=marker, markersize=3)
    left.set_ylabel("cross entropy, nats")
    right.set_ylabel("top-1 accuracy, %")
    for axes in (left, right):
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25)
        axes.legend(frameon=False)
    figure.suptitle(title, fontsize=10)
    figure.savefig(path, dpi=110, pil_kwargs={"compress_level": 1})
