"""The figures of a report, each drawn on one matplotlib Axes from the table model."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import NDArray

from cbam_ablate.aggregate.findings import label
from cbam_ablate.aggregate.model import Axis, Effect, Quantity, Row, Table
from cbam_ablate.config.options import spell
from cbam_ablate.report.digits import of_results
from cbam_ablate.report.markup import plain
from cbam_ablate.report.placing import place_names

COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#8a6d00", "#7a4fa3", "#7f7f7f")
"""Told apart by colour-blind people too (Okabe and Ito), and visible on white and on black."""
STROKES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 1)), (0, (8, 3)))
"""Told apart in grey."""
GREY = "#7b8089"
MOST_ROWS = 40
"""Rows of a list, and values along a heat map's side, that are named."""
MOST_NAMED = 12
MOST_NUMBERS = 400
"""Places of a heat map up to which each has its number."""
LONG = 20
"""Epochs from which on a learning curve is shown without its first quarter's climb."""


@dataclass
class Curves:
    """A row's learning curves: `values` (seeds, epochs), NaN where a run has none, and `epochs` (epochs,)."""

    label: str
    epochs: NDArray[np.int64]
    values: NDArray[np.float64]


def pareto(axes: Axes, table: Table, result: Quantity) -> None:
    """The result against MACs with its interval; the front joins the rows that no other beats in both.

    Rows on the front are filled, the others hollow; a front of one point has no line.
    """
    rows = [row for row in table.rows if row.cell(result.name).value is not None and row.cell("macs").value]
    points = [(row.cell("macs").value or 0.0, row.cell(result.name).value or 0.0) for row in rows]
    front = pareto_front(points, result.better)
    others = [index for index in range(len(rows)) if index not in set(front)]
    for indices, color, face in ((others, GREY, "none"), (front, COLORS[0], COLORS[0])):
        chosen = np.array([points[index] for index in indices]).reshape(-1, 2)
        bounds = [rows[index].cell(result.name).interval or (points[index][1],) * 2 for index in indices]
        error = np.abs(np.array(bounds).reshape(-1, 2) - chosen[:, 1:]).T
        x, y = chosen.T
        axes.errorbar(
            x, y, error, fmt="o", color=color, markerfacecolor=face, markersize=5, capsize=2, linewidth=1,
            clip_on=False,
        )  # fmt: skip
    for index in range(len(rows)) if len(rows) <= MOST_NAMED else front:
        axes.annotate(
            label(rows[index], plain),
            points[index],
            textcoords="offset points",
            xytext=(6, 4),
            fontsize="smaller",
            arrowprops={"arrowstyle": "-", "color": GREY, "linewidth": 0.6, "shrinkA": 0, "shrinkB": 3},
        )
    line = sorted(points[index] for index in front)
    if len(line) > 1:
        axes.plot(*zip(*line, strict=True), "--", color=COLORS[0], linewidth=1, zorder=0)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x / 1e6:g}"))
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.margins(x=0.15, y=0.12)
    axes.set_xlabel("MACs, millions")
    axes.set_ylabel(_title(result))
    every = [(x, row.cell(result.name).interval) for row, (x, _) in zip(rows, points, strict=True)]
    bars = [((x, bounds[0]), (x, bounds[1])) for x, bounds in every if bounds]
    place_names(axes, [*bars, *pairwise(line)])


def pareto_front(points: Sequence[tuple[float, float]], better: str) -> list[int]:
    """Indices of the (cost, result) points that no other point beats in one without losing in the other."""
    sign = -1 if better == "down" else 1
    order = sorted(range(len(points)), key=lambda i: (points[i][0], -sign * points[i][1]))
    front: list[int] = []
    for index in order:
        if not front or sign * points[index][1] > sign * points[front[-1]][1]:
            front.append(index)
    return front


def curves(axes: Axes, rows: Sequence[Curves], name: str, steps: str = "epoch") -> None:
    """The mean over seeds by epoch, with a band of one standard deviation, and of how many seeds it is."""
    for row, color, stroke in zip(rows, COLORS, STROKES, strict=False):
        epochs = row.epochs
        n = (~np.isnan(row.values)).sum(axis=0)
        mean = np.where(n > 0, np.nansum(row.values, axis=0) / np.maximum(n, 1), np.nan)
        axes.plot(
            epochs,
            mean,
            color=color,
            linestyle=stroke,
            linewidth=1.4,
            label=f"{row.label} (n = {_counts(n)})",
        )
        if len(row.values) > 1:
            squares = np.nansum((row.values - mean) ** 2, axis=0)
            spread = np.where(n > 1, np.sqrt(squares / np.maximum(n - 1, 1)), 0.0)
            axes.fill_between(epochs, mean - spread, mean + spread, color=color, alpha=0.2, linewidth=0)
    epochs_shown = max((int(row.epochs.max()) for row in rows), default=0)
    if epochs_shown >= LONG:
        # The first climb would flatten what the rows differ in.
        late = [value for row in rows for value in row.values[:, row.epochs > epochs_shown // 4].ravel()]
        axes.set_ylim(bottom=float(np.nanmin(late)), top=float(np.nanmax(late)))
        axes.margins(y=0.05)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.set_xlabel(steps)
    axes.set_ylabel(name)
    axes.legend(frameon=False, fontsize="smaller")


def _counts(n: NDArray[np.int64]) -> str:
    """Of how many seeds a curve is: `3`, or `2 to 3` where some lack epochs."""
    return f"{n.max()}" if n.min() == n.max() else f"{n.min()} to {n.max()}"


def forest(axes: Axes, table: Table, result: Quantity) -> None:
    """Each row's difference to its baseline, paired by seed, with its interval; filled where it holds."""
    found = [(row, row.cell(result.name).difference) for row in table.rows]
    shown = [(row, difference) for row, difference in found if difference is not None][:MOST_ROWS]
    for place, (_, difference) in enumerate(shown):
        low, high = difference.interval or (difference.value, difference.value)
        color = COLORS[0] if difference.significant else GREY
        axes.plot([low, high], [place, place], color=color, linewidth=1.5)
        _dot(axes, difference.value, place, color, difference.significant)
    axes.axvline(0, color=axes.xaxis.label.get_color(), linewidth=0.8)
    axes.set_yticks(range(len(shown)), [label(row, plain) for row, _ in shown])
    axes.invert_yaxis()
    axes.margins(y=0.12)
    unit = "points" if result.unit == "%" else result.unit
    axes.set_xlabel(
        f"{plain(result.label)}, difference to the baseline{f', {unit}' if unit else ''}", loc="right"
    )


def _dot(axes: Axes, x: float, y: float, color: str, filled: bool) -> None:
    face = color if filled else axes.get_facecolor()
    axes.plot([x], [y], "o", color=color, markerfacecolor=face, markersize=5, clip_on=False)


def heat_map(axes: Axes, table: Table, result: Quantity, pair: tuple[Axis, Axis]) -> None:
    """The mean of the result over the rows of each combination of two axes' values."""
    down, across = pair
    ys, xs = (sorted(axis.values, key=lambda value: value is not None) for axis in pair)
    means = np.full((len(ys), len(xs)), np.nan)
    here: dict[str, list[float]] = {}
    for row in table.rows:
        value = row.cell(result.name).value
        if value is not None:
            here.setdefault(repr((row.axes[down.name], row.axes[across.name])), []).append(value)
    for i, y in enumerate(ys):
        for j, x in enumerate(xs):
            if known := here.get(repr((y, x))):
                means[i, j] = sum(known) / len(known)
    image = axes.imshow(means, cmap="cividis", aspect="auto")
    middle = (np.nanmin(means) + np.nanmax(means)) / 2
    shown = of_results([row.cell(result.name) for row in table.rows], result.unit)
    for (i, j), value in np.ndenumerate(means):
        if means.size <= MOST_NUMBERS and not np.isnan(value):
            text = f"{value:.4g}" if shown.exponent else shown.text(value)
            color = "#000000" if value > middle else "#ffffff"
            axes.text(j, i, text, ha="center", va="center", color=color, fontsize="smaller")
    for axis, values, put in ((across, xs, axes.set_xticks), (down, ys, axes.set_yticks)):
        places = range(0, len(values), -(-len(values) // MOST_ROWS))
        texts = value_texts(table, axis.name)
        put(places, [texts[spell(values[place])] for place in places])
    axes.set_xlabel(plain(across.label))
    axes.set_ylabel(plain(down.label))
    axes.grid(False)
    bar = axes.figure.colorbar(image, ax=axes)
    bar.set_label(_title(result))
    bar.outline.set_visible(False)


def main_effects(axes: Axes, table: Table, result: Quantity) -> None:
    """How much each level of each axis moves the result, averaged over the other axes."""
    shown = main_effects_of(table, result)[:MOST_ROWS]
    names = {axis.name: plain(axis.label) for axis in table.axes}
    for place, effect in enumerate(shown):
        low, high = effect.interval or (effect.value, effect.value)
        color = COLORS[0] if effect.significant else GREY
        axes.plot([low, high], [place, place], color=color, linewidth=1.5)
        _dot(axes, effect.value, place, color, effect.significant)
    axes.axvline(0, color=axes.xaxis.label.get_color(), linewidth=0.8)
    texts = {axis.name: value_texts(table, axis.name) for axis in table.axes}
    ticks = [
        f"{names[axis]}: {texts[axis][spell(level)]} − {texts[axis][spell(against)]}"
        for one in shown
        for axis, level, against in zip(one.axes, one.levels, one.against, strict=True)
    ]
    axes.set_yticks(range(len(shown)), ticks)
    axes.invert_yaxis()
    axes.margins(y=0.12)
    unit = "points" if result.unit == "%" else result.unit
    axes.set_xlabel(f"{plain(result.label)}, main effect{f', {unit}' if unit else ''}", loc="right")


def value_texts(table: Table, axis: str) -> dict[str, str]:
    """What the table's rows print for an axis's values, as options spell them, without LaTeX."""
    own = next((one.values for one in table.axes if one.name == axis), [])
    printed = {spell(row.axes[axis]): row.labels[axis] for row in reversed(table.rows)}
    return {text: plain(printed.get(text, text)) for text in (*map(spell, own), *printed)}


def main_effects_of(table: Table, result: Quantity) -> list[Effect]:
    return [effect for effect in table.effects if effect.quantity == result.name and len(effect.axes) == 1]


def widest_pair(table: Table) -> tuple[Axis, Axis] | None:
    """The two axes with the most values, for the heat map; None where fewer than two vary."""
    varying = [axis for axis in table.axes if sum(value is not None for value in axis.values) > 1]
    if len(varying) < 2:
        return None
    first, second = sorted(varying, key=lambda axis: -len(axis.values))[:2]
    return (first, second) if table.axes.index(first) < table.axes.index(second) else (second, first)


def rows_to_draw(table: Table, result: Quantity) -> list[Row]:
    """The rows whose curves are shown: the baselines, then the best, as many as there are colours."""
    sign = -1 if result.better == "down" else 1
    there = [row for row in table.rows if row.cell(result.name).value is not None]
    rank = sorted(there, key=lambda row: (not row.baseline, -sign * (row.cell(result.name).value or 0.0)))
    chosen = {id(row) for row in rank[: len(COLORS)]}
    return [row for row in table.rows if id(row) in chosen]


def _title(result: Quantity) -> str:
    return plain(result.title)
