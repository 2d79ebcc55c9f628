"""Draws a report's figures and saves them: SVG inside the page, PDF and PNG for the paper."""

import io
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cbam_ablate.aggregate.findings import label
from cbam_ablate.aggregate.layout import Matrix
from cbam_ablate.aggregate.model import Table
from cbam_ablate.report import figures
from cbam_ablate.runs import RunStore

INK = "#010203"
"""Stands for the text's colour; in the page it becomes the page's own, light or dark."""
STYLE: Any = {
    "text.parse_math": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "cbam_ablate",
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "grid.linewidth": 0.6,
    **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), INK),
}
NAMES = ("pareto", "curves", "differences", "heat_map", "main_effects")
CURVE = "val_top1"


@dataclass
class Plot:
    """A figure by name, with what it shows in words; `draw` puts it on an Axes, `height` is in inches."""

    name: str
    caption: str
    draw: Callable[[Axes], None] = field(repr=False)
    height: float = 3.4


def plots_of(table: Table, store: RunStore) -> list[Plot]:
    """The figures that a table's data can fill. `table` is not pivoted, and has MACs among its columns."""
    result = next(quantity for quantity in table.quantities if quantity.kind == "result")
    if not any(row.cell(result.name).value is not None for row in table.rows):
        return []
    front = "Result against MACs, with 95 % intervals; the dashed line is the Pareto front."
    found = []
    if any(row.cell("macs").value and row.cell(result.name).value is not None for row in table.rows):
        found.append(Plot("pareto", front, partial(figures.pareto, table=table, result=result)))
    shown = [
        figures.Curves(label(row), _curves(row.cell(result.name).run_keys, store))
        for row in figures.rows_to_draw(table, result)
    ]
    shown = [one for one in shown if one.values.shape[1] > 1]
    if shown:
        text = "Validation accuracy by epoch: mean over seeds, band of one standard deviation"
        some = f" (baselines and the best of {len(table.rows)} rows)" if len(shown) < len(table.rows) else ""
        draw = partial(figures.curves, rows=shown, name="validation top-1, %")
        found.append(Plot("curves", f"{text}{some}.", draw))
    count = sum(row.cell(result.name).difference is not None for row in table.rows)
    if count:
        text = "Difference to the baseline, paired by seed, with 95 % intervals; blue: holds after Holm."
        height = 1.2 + 0.28 * min(count, figures.MOST_ROWS)
        found.append(Plot("differences", text, partial(figures.forest, table=table, result=result), height))
    pair = figures.widest_pair(table)
    if pair is not None:
        text = f"Mean over all runs by {pair[0].label} and {pair[1].label}."
        draw = partial(figures.heat_map, table=table, result=result, pair=pair)
        found.append(Plot("heat_map", text, draw))
    effects = figures.main_effects_of(table, result)
    if effects:
        text = (
            "Main effects: each level against the first, averaged over the other axes, with 95 % intervals."
        )
        height = 1.2 + 0.28 * min(len(effects), figures.MOST_ROWS)
        found.append(
            Plot("main_effects", text, lambda axes: figures.main_effects(axes, table, result), height)
        )
    return found


def _curves(keys: list[str], store: RunStore) -> Matrix:
    """Validation accuracy of each run, (seeds, epochs)."""
    histories = [curve_of(store, key) for key in keys]
    histories = [values for values in histories if values]
    values = np.full((len(histories), max(map(len, histories), default=0)), np.nan)
    for index, history in enumerate(histories):
        values[index, : len(history)] = history
    return values


def curve_of(store: RunStore, key: str) -> list[float]:
    """Validation accuracy by epoch, percent; lines of a history that hold none are left out."""
    found = [record.get(CURVE) for record in store.run(key).history()]
    return [float(value) for value in found if isinstance(value, int | float)]


def _figure(plot: Plot) -> Figure:
    figure = Figure(figsize=(5.6, plot.height), layout="constrained")
    plot.draw(figure.subplots())
    return figure


@contextmanager
def _style() -> Iterator[None]:
    with matplotlib.rc_context(STYLE), warnings.catch_warnings():
        # The page's own fonts have the letters that matplotlib's lacks.
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        yield


def svg(plot: Plot) -> str:
    """The figure as an SVG element that takes its text's colour from the page."""
    out = io.StringIO()
    with _style():
        _figure(plot).savefig(out, format="svg", transparent=True, metadata={"Date": None})
    text = out.getvalue()
    text = text[text.index("<svg") :].replace(INK, "currentColor")
    # Several figures share a page, so their elements' names carry the figure's.
    text = re.sub(r'(id="|href="#|url\(#)', rf"\g<1>{plot.name}-", text)
    return re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)


def save(plot: Plot, folder: Path) -> list[Path]:
    """Writes the figure as PDF and PNG for a paper and returns the paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    with _style():
        figure = _figure(plot)
        for ending, metadata in (("pdf", {"CreationDate": None}), ("png", {"Software": None})):
            path = folder / f"{plot.name}.{ending}"
            figure.savefig(path, dpi=200, facecolor="white", metadata=metadata)
            paths.append(path)
    return paths
