"""What networks take for what: confusion matrices, reliability diagrams and the surest mistakes of rows."""

import csv
import dataclasses
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from cbam_ablate.aggregate.classes import class_names
from cbam_ablate.aggregate.findings import label
from cbam_ablate.aggregate.model import Table
from cbam_ablate.aggregate.records import Study
from cbam_ablate.aggregate.table import build_table
from cbam_ablate.config.output import FigureConfig
from cbam_ablate.metrics.calibration import BINS, equal_width
from cbam_ablate.metrics.kept import RunMetrics, confusion_percent
from cbam_ablate.metrics.predictions import Refused
from cbam_ablate.metrics.sample import Sample, Undefined
from cbam_ablate.report.figures import COLORS, GREY, STROKES, rows_to_draw
from cbam_ablate.report.markup import plain
from cbam_ablate.report.plots import Plot
from cbam_ablate.runs import RunStore

MOST_MATRICES = 4
MOST_PRINTED = 12
MOST_NAMED = 30
MISTAKES = 12
MARKERS = "osD^vPX*"
FEW = 10
"""Images of a bin below which its accuracy is chance."""
FIGURES = ("reliability", "mistakes", *(f"confusion_{place + 1}" for place in range(MOST_MATRICES)))
Matrix = NDArray[np.float64]
Picture = Callable[[int], NDArray[np.uint8]]
"""Gives a test image (H, W, C) by its number."""
Images = Callable[[], Picture | None]
"""Gives that, or None where the images aren't at hand."""


@dataclass
class Seen:
    """A row's predictions of the test images, a sample for each seed that kept them."""

    label: str
    samples: list[Sample]
    numbers: list[NDArray[np.int64]]
    orders: list[str]


def seen_rows(table: Table, study: Study) -> list[Seen]:
    """The rows worth drawing, baselines first, of which runs kept predictions."""
    if study.root is None:
        return []
    store, found = RunStore(study.root), []
    result = next(quantity for quantity in table.quantities if quantity.kind == "result")
    for row in rows_to_draw(table, result):
        seen = Seen(label(row, plain), [], [], [])
        for key in row.cell(result.name).run_keys:
            try:
                predictions = RunMetrics(store.run(key)).predictions()
                sample = predictions.sample("test")
            except Refused:
                continue
            if not sample.broken:
                seen.samples.append(sample)
                seen.numbers.append(predictions.images("test"))
                seen.orders.append(predictions.order("test"))
        if seen.samples:
            found.append(seen)
    return found


def table_by_class(study: Study, rows: Sequence[Seen], told: Mapping[str, Any]) -> Table | None:
    """Each class's accuracy, with differences to the baseline; None for many classes, or no predictions.

    `told` are the options of the study's table, of which those on its rows hold here too.
    """
    if not rows or rows[0].samples[0].classes > MOST_NAMED:
        return None
    options = {name: told[name] for name in ("baseline", "labels", "filters", "order", "decimal")}
    options |= {"by": "class", "metrics": ["test_accuracy"], "costs": None, "columns": [], "interval": "t"}
    return build_table(dataclasses.replace(study, table={}), options)


def class_plots(
    rows: Sequence[Seen], study: Study, images: Images, style: FigureConfig | None = None
) -> list[Plot]:
    """The figures of what was predicted, empty without predictions."""
    if not rows:
        return []
    style = style or FigureConfig()
    names = class_names(study, rows[0].samples[0].classes)
    found = [
        Plot(
            "reliability",
            "Reliability",
            f"Accuracy against confidence in {BINS} bins of equal width, mean over seeds; on the diagonal "
            f"a network is right as often as it says. Bins of fewer than {FEW} images a seed are left out.",
            partial(_reliability, rows=rows),
            style,
        )
    ]
    for place, row in enumerate(rows[:MOST_MATRICES]):
        text = f"{row.label}: what part of each class's test images is taken for which, percent, "
        text += f"mean over {len(row.samples)} seed{'s' * (len(row.samples) > 1)}."
        draw = partial(_confusion, matrix=_mean_confusion(row), names=names)
        found.append(Plot(f"confusion_{place + 1}", f"Confusion: {row.label}", text, draw, style, height=0.9))
    mistakes = surest_mistakes(rows[0])
    shown = images() if mistakes else None
    if shown is not None:
        text = f"{rows[0].label}: the surest mistakes, by the mean probability over seeds of the wrong class."
        draw = partial(_mistakes, mistakes=mistakes, images=shown, names=names)
        found.append(Plot("mistakes", "Surest mistakes", text, draw, style, height=0.8))
    return found


def confusion_csv(rows: Sequence[Seen], study: Study) -> str:
    """Every row's confusion matrix: percent of a true class given each class, mean and sd over seeds."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["row", "true", "predicted", "percent", "sd", "n"])
    for row in rows:
        names = class_names(study, row.samples[0].classes)
        each = np.array([confusion_percent(sample) for sample in row.samples])
        sd = each.std(axis=0, ddof=1) if len(each) > 1 else np.full(each.shape[1:], np.nan)
        mean = each.mean(axis=0)
        for i, true in enumerate(names):
            for j, predicted in enumerate(names):
                numbers = ["" if np.isnan(value) else f"{value:.6g}" for value in (mean[i, j], sd[i, j])]
                writer.writerow([row.label, true, predicted, *numbers, len(each)])
    return out.getvalue()


Mistake = tuple[int, int, int, float]


def surest_mistakes(row: Seen) -> list[Mistake]:
    """Number of the image, its class, the wrong one and its mean probability, the surest first."""
    same = [place for place, order in enumerate(row.orders) if order == row.orders[0]]
    try:
        mean = np.mean([row.samples[place].probabilities for place in same], axis=0)
    except Undefined:
        return []
    labels, numbers = row.samples[0].labels, row.numbers[0]
    wrong = np.flatnonzero(mean.argmax(axis=1) != labels)
    sure = wrong[np.argsort(-mean[wrong].max(axis=1), kind="stable")][:MISTAKES]
    return [(int(numbers[i]), int(labels[i]), int(mean[i].argmax()), float(mean[i].max())) for i in sure]


def _mean_confusion(row: Seen) -> Matrix:
    return np.asarray(np.mean([confusion_percent(sample) for sample in row.samples], axis=0))


def _reliability(axes: Axes, rows: Sequence[Seen]) -> None:
    axes.plot([0, 1], [0, 1], "--", color=GREY, linewidth=1)
    for row, color, stroke, marker in zip(rows, COLORS, STROKES, MARKERS, strict=False):
        bins = [equal_width(sample) for sample in row.samples]
        images = np.sum([one.images for one in bins], axis=0)
        there = images >= FEW * len(row.samples)
        confidence, accuracy = (
            np.nansum([one.images * getattr(one, name) for one in bins], axis=0)[there] / images[there]
            for name in ("confidence", "accuracy")
        )
        (line,) = axes.plot(confidence, accuracy, color=color, label=row.label, linestyle=stroke)
        line.set(marker=marker, markersize=3.5, linewidth=1.2)
    axes.set_xlabel("confidence")
    axes.set_ylabel("accuracy")
    axes.legend(frameon=False, fontsize="smaller")


def _confusion(axes: Axes, matrix: Matrix, names: Sequence[str]) -> None:
    image = axes.imshow(matrix, cmap="cividis", vmin=0, vmax=100)
    if len(names) <= MOST_PRINTED:
        for (i, j), value in np.ndenumerate(matrix):
            if value >= 0.5:
                color = "#000000" if value > 50 else "#ffffff"
                axes.text(j, i, f"{value:.0f}", ha="center", va="center", color=color, fontsize="x-small")
    if len(names) <= MOST_NAMED:
        axes.set_xticks(range(len(names)), names, rotation=60, ha="right", fontsize="smaller")
        axes.set_yticks(range(len(names)), names, fontsize="smaller")
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    axes.grid(False)
    bar = axes.figure.colorbar(image, ax=axes)
    bar.set_label("%")
    bar.outline.set_visible(False)


def _mistakes(axes: Axes, mistakes: Sequence[Mistake], images: Picture, names: Sequence[str]) -> None:
    columns = 4
    axes.axis("off")
    for place, (number, true, predicted, sure) in enumerate(mistakes):
        row, column = divmod(place, columns)
        height = 1 / -(-len(mistakes) // columns)
        inner = axes.inset_axes((column / columns, 1 - (row + 1) * height, 1 / columns, 0.64 * height))
        pixels = images(number)
        inner.imshow(pixels[..., 0] if pixels.shape[-1] == 1 else pixels, cmap="gray")
        inner.set_title(
            f"{names[true]}, taken for\n{names[predicted]} ({100 * sure:.0f} %)", fontsize="smaller", pad=2
        )
        inner.axis("off")
