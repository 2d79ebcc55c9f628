"""Draws a report's figures and saves them: SVG inside the page, PDF and PNG for the paper."""

import io
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import Formatter

from cbam_ablate.aggregate.findings import label
from cbam_ablate.aggregate.model import Difference, Effect, Quantity, Table
from cbam_ablate.config.output import FigureConfig, width_of
from cbam_ablate.report import figures
from cbam_ablate.report.learning import OURS, curve_in, curves_of
from cbam_ablate.report.markup import plain
from cbam_ablate.runs import RunStore

INK = "#010203"
"""Stands for the text's colour; in the page it becomes the page's own, light or dark."""
STYLE: Any = {
    "text.parse_math": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "cbam_ablate",
    "pdf.fonttype": 42,
    "ps.fonttype": 42,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "grid.linewidth": 0.6,
    **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), INK),
}
NAMES = ("pareto", "curves", "differences", "heat_map", "main_effects")
FONTS = {"sans": ["DejaVu Sans"], "serif": ["STIXGeneral", "DejaVu Serif"]}
DATED = {"pdf": "CreationDate", "png": "Software"}
"""What a file would say of when or by what it was made."""
DPI = 200


@dataclass
class Plot:
    """A figure by name, with what it shows in words; `draw` puts it on an Axes of so many `lines`, if any.

    `height` is a part of the width, for figures that aren't a list of rows. `words` rewrites its numbers.
    """

    name: str
    title: str
    caption: str
    draw: Callable[[Axes], None] = field(repr=False)
    style: FigureConfig
    lines: int = 0
    height: float = 0.61
    words: Callable[[str], str] | None = None


def plots_of(table: Table, store: RunStore, style: FigureConfig | None = None) -> list[Plot]:
    """The figures that a table's data can fill. `table` is not pivoted, and has MACs among its columns."""
    style = style or FigureConfig()
    result = next(quantity for quantity in table.quantities if quantity.kind == "result")
    if not any(row.cell(result.name).value is not None for row in table.rows):
        return []
    makers = (_pareto, _learning, _differences, _heat_map, _main_effects)
    return [plot for make in makers if (plot := make(table, result, store, style)) is not None]


def _pareto(table: Table, result: Quantity, store: RunStore, style: FigureConfig) -> Plot | None:
    rows = [row for row in table.rows if row.cell("macs").value and row.cell(result.name).value is not None]
    if not rows:
        return None
    points = [(row.cell("macs").value or 0.0, row.cell(result.name).value or 0.0) for row in rows]
    front = figures.pareto_front(points, result.better)
    spread = " with 95 % intervals" if any(row.cell(result.name).interval for row in rows) else ""
    how = "the dashed line joins" if len(front) > 1 else "filled:"
    what = "those that no other row beats in both" if len(front) > 1 else "the one that no other row beats"
    hollow = "; hollow: the others" if len(front) < len(rows) else ""
    caption = f"{plain(result.label)} against MACs{spread}; {how} {what}{hollow}."
    draw = partial(figures.pareto, table=table, result=result)
    return Plot("pareto", "Result against MACs", caption, draw, style)


def _learning(table: Table, result: Quantity, store: RunStore, style: FigureConfig) -> Plot | None:
    chosen = figures.rows_to_draw(table, result)
    runs = [(label(row, plain), row.cell(result.name).run_keys) for row in chosen]
    curve = curve_in((key for _, keys in runs for key in keys), result, store)
    shown = [curves_of(text, keys, store, curve.name) for text, keys in runs]
    shown = [one for one in shown if one.values.shape[1] > 1]
    if not shown:
        return None
    band = ", band of one standard deviation" if any(len(one.values) > 1 for one in shown) else ""
    over = f"mean over the seeds that have the {curve.steps}" if band else "one seed"
    some = f" (baselines and the best of {len(table.rows)} rows)" if len(shown) < len(table.rows) else ""
    what = "Validation accuracy" if curve.name == OURS else curve.label
    caption = f"{what} by {curve.steps}: {over}{band}{some}."
    draw = partial(figures.curves, rows=shown, name=curve.title, steps=curve.steps)
    return Plot("curves", "Learning curves", caption, draw, style)


def _differences(table: Table, result: Quantity, store: RunStore, style: FigureConfig) -> Plot | None:
    every = [row.cell(result.name).difference for row in table.rows]
    found = [one for one in every if one is not None]
    if not found:
        return None
    caption = f"Difference to the baseline, paired by seed{_intervals(found)}{_cut(len(found))}."
    draw = partial(figures.forest, table=table, result=result)
    return Plot("differences", "Differences", caption, draw, style, min(len(found), figures.MOST_ROWS))


def _heat_map(table: Table, result: Quantity, store: RunStore, style: FigureConfig) -> Plot | None:
    pair = figures.widest_pair(table)
    if pair is None:
        return None
    caption = (
        f"{plain(result.label)} by {plain(pair[0].label)} and {plain(pair[1].label)}, mean over their rows."
    )
    draw = partial(figures.heat_map, table=table, result=result, pair=pair)
    return Plot("heat_map", "Heat map", caption, draw, style)


def _main_effects(table: Table, result: Quantity, store: RunStore, style: FigureConfig) -> Plot | None:
    found = figures.main_effects_of(table, result)
    if not found:
        return None
    caption = (
        f"Main effects: each level against the first, averaged over the other axes{_intervals(found)}"
        f"{_cut(len(found))}."
    )
    draw = partial(figures.main_effects, table=table, result=result)
    return Plot("main_effects", "Main effects", caption, draw, style, min(len(found), figures.MOST_ROWS))


def _intervals(found: Sequence[Difference | Effect]) -> str:
    """What a list of differences shows of them, in words."""
    spread = ", with 95 % intervals" if any(one.interval for one in found) else ""
    held = sum(one.significant for one in found)
    filled = "none holds" if not held else "all hold" if held == len(found) else "filled: holds"
    return f"{spread}; {filled} after Holm"


def _cut(count: int) -> str:
    return f"; the first {figures.MOST_ROWS} of {count}" if count > figures.MOST_ROWS else ""


def _figure(plot: Plot) -> Figure:
    width = width_of(plot.style)
    line = 2.2 * plot.style.size / 72.27
    height = (4 + plot.lines) * line if plot.lines else plot.height * width
    figure = Figure(figsize=(width, height), layout="constrained")
    plot.draw(figure.subplots())
    if plot.words is not None:
        _rewrite(figure, plot.words)
    return figure


class _Rewritten(Formatter):
    """An axis's numbers, as `words` rewrites them."""

    def __init__(self, inner: Formatter, words: Callable[[str], str]) -> None:
        self.inner, self.words = inner, words

    def __call__(self, x: float, pos: int | None = None) -> str:
        return self.words(self.inner(x, pos))

    def format_ticks(self, values: Any) -> list[str]:
        return [self.words(text) for text in self.inner.format_ticks(values)]


def _rewrite(figure: Figure, words: Callable[[str], str]) -> None:
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(_Rewritten(axis.get_major_formatter(), words))
    for text in figure.findobj(Text):
        text.set_text(words(text.get_text()))


@contextmanager
def _style(style: FigureConfig) -> Iterator[None]:
    family = "serif" if style.font == "serif" else "sans-serif"
    fonts: Any = {
        "font.family": family,
        f"font.{family}": FONTS[style.font],
        "font.size": style.size * 72 / 72.27,
    }
    with matplotlib.rc_context({**STYLE, **fonts}), warnings.catch_warnings():
        # The page's own fonts have the letters that matplotlib's lacks.
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        yield


def svg(plot: Plot) -> str:
    """The figure as an SVG element that takes its text's colour and letters from the page.

    It is laid out by wide letters, as a browser without the paper's font takes others.
    """
    out = io.StringIO()
    plot = replace(plot, style=replace(plot.style, font="sans"))
    with _style(plot.style):
        _figure(plot).savefig(out, format="svg", transparent=True, metadata={"Date": None})
    text = out.getvalue()
    text = text[text.index("<svg") :].replace(INK, "currentColor")
    # Several figures share a page, so their elements' names carry the figure's.
    text = re.sub(r'(id="|href="#|url\(#)', rf"\g<1>{plot.name}-", text)
    return re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)


def save(plot: Plot, folder: Path, endings: Sequence[str] = ("pdf", "png")) -> list[Path]:
    """Writes the figure for a paper in these formats and returns the paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    with _style(plot.style):
        figure = _figure(plot)
        for ending in endings:
            path, metadata = folder / f"{plot.name}.{ending}", {DATED[ending]: None}
            if ending == "png":  # which savefig would draw twice, at first for its layout alone
                figure.set(dpi=DPI, facecolor="white")
                FigureCanvasAgg(figure).print_png(path, metadata=metadata)
            else:
                figure.savefig(path, dpi=DPI, facecolor="white", metadata=metadata)
            paths.append(path)
    return paths
