"""The maps of several runs side by side: a row an image; a column the image, then each run's maps."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from cbam_ablate.explain.maps import Maps

WIDTH, HEIGHT = 1.6, 1.85
"""Inches of a cell."""
WRONG = "#b3261e"


class Shown(NamedTuple):
    """Test images (N, H, W, C) uint8, their numbers in the test set (N,) and labels (N,), and class names."""

    images: NDArray[np.uint8]
    numbers: NDArray[np.int64]
    labels: NDArray[np.int64]
    names: Sequence[str]


def draw(shown: Shown, headings: Sequence[str], runs: Sequence[Maps]) -> Figure:
    """The grid. `headings` are of each run's columns; a prediction that is wrong is red."""
    columns = 1 + sum(1 if maps.gate is None else 2 for maps in runs)
    size = (WIDTH * columns, HEIGHT * len(shown.images) + 0.7)
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(len(shown.images), columns, squeeze=False)
    for row, image in enumerate(shown.images):
        cells = iter(grid[row])
        title = f"#{shown.numbers[row]} {shown.names[shown.labels[row]]}"
        _cell(next(cells), image, None, title, "test image" if row == 0 else "")
        for heading, maps in zip(headings, runs, strict=True):
            predicted = shown.names[maps.predicted[row]]
            color = "black" if maps.predicted[row] == shown.labels[row] else WRONG
            title = f"{predicted} {100 * maps.confidence[row]:.0f} %"
            head = f"{heading}\nGrad-CAM" if row == 0 else ""
            _cell(next(cells), image, maps.cam[row], title, head, color)
            if maps.gate is not None:
                title = f"{maps.gate[row].min():.2f} to {maps.gate[row].max():.2f}"
                head = f"{heading}\nspatial gate" if row == 0 else ""
                _cell(next(cells), image, maps.gate[row], title, head)
    return figure


def save(figure: Figure, folder: Path) -> list[Path]:
    """Writes explain.png and, its letters in TrueType as publishers ask, explain.pdf; returns the paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / "explain.png", folder / "explain.pdf"]
    with matplotlib.rc_context({"pdf.fonttype": 42}):
        figure.savefig(paths[0], dpi=150, bbox_inches="tight", metadata={"Software": None})
        figure.savefig(paths[1], dpi=150, bbox_inches="tight", metadata={"CreationDate": None})
    return paths


def _cell(
    axes: Axes,
    image: NDArray[np.uint8],
    over: NDArray[np.float32] | None,
    title: str,
    heading: str,
    color: str = "black",
) -> None:
    side = (-0.5, image.shape[1] - 0.5, image.shape[0] - 0.5, -0.5)
    axes.imshow(image.squeeze(), cmap="gray", vmin=0, vmax=255)
    if over is not None:
        axes.imshow(over, cmap="turbo", alpha=0.5, interpolation="nearest", extent=side)
    axes.set_axis_off()
    axes.set_title(title, fontsize=8, color=color, pad=3)
    if heading:
        axes.annotate(
            heading, (0.5, 1), (0, 18), "axes fraction", "offset points", ha="center", va="bottom", fontsize=8
        )
