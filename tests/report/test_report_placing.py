"""Names beside the points of a figure can be read: none covers another, and none leaves the axes."""

import itertools
import random
from dataclasses import fields
from functools import partial

import pytest
from matplotlib.text import Text

from cbam_ablate.aggregate.model import Difference, Quantity, Row, Table, TableCell
from cbam_ablate.config.output import FigureConfig
from cbam_ablate.report import figures, plots

TOP1 = Quantity(name="test_top1", label="test top-1", unit="%", better="up", kind="result")
MACS = Quantity(name="macs", label="MACs", unit="", better="down", kind="cost")
SHORT = [f"{place}/{r}/{k}" for place in ("block", "class", "both") for r in (4, 16) for k in (3, 7)]
LONG = [f"Attention in each block, reduction {r}/{place}" for r in (4, 16) for place in "abcdef"]
SAME = (40e6, 93.0)


def close(count):
    rng = random.Random(count)
    return [(40e6 * (1 + rng.random() / 300), 93 + rng.gauss(0, 0.1)) for _ in range(count)]


def row(name, macs, value):
    cells = {
        "test_top1": TableCell(value=value, n=3, sd=0.2, interval=(value - 0.3, value + 0.3), run_keys=[]),
        "macs": TableCell(value=macs, n=3, sd=0.0, interval=None, run_keys=[]),
    }
    known = {"axes": {"a": name}, "labels": {"a": name}, "missing": {}, "run_keys": []}
    return Row(n=3, expected=3, cells=cells, **known)


def drawn(names, points, width):
    rows = [row(name, *point) for name, point in zip(names, points, strict=False)]
    known = {"study": "x", "quantities": [TOP1, MACS], "rows": rows, "options": {}}
    table = Table(**{field.name: known.get(field.name, []) for field in fields(Table)})
    draw = partial(figures.pareto, table=table, result=TOP1)
    style = FigureConfig(width=width, size=8)
    with plots._style(style):
        figure = plots._figure(plots.Plot("pareto", "", "", draw, style))
        figure.draw_without_rendering()
        (axes,) = figure.axes
        area = axes.get_window_extent()
        return area, [(one, Text.get_window_extent(one)) for one in axes.texts]


@pytest.mark.slow
@pytest.mark.parametrize("width", ["252pt", "403pt"])
@pytest.mark.parametrize("names", [SHORT, LONG], ids=["short", "long"])
@pytest.mark.parametrize("points", [*map(close, (2, 6, 12)), [SAME] * 6], ids=["2", "6", "12", "one point"])
def test_no_name_covers_another_or_leaves_the_axes(names, points, width):
    area, found = drawn(names, points, width)
    shown = [box for text, box in found if text.get_visible()]
    assert not [1 for a, b in itertools.combinations(shown, 2) if a.overlaps(b)]
    assert all(area.x0 <= box.x0 and box.x1 <= area.x1 for box in shown)
    assert all(area.y0 <= box.y0 and box.y1 <= area.y1 for box in shown)
    assert len(found) == len(points)
    assert names is LONG or len(shown) == len(found)


def test_a_name_far_from_its_point_is_joined_to_it_and_a_near_one_is_not():
    _, found = drawn(SHORT, [SAME] * 12, "403pt")
    lines = [text.arrow_patch.get_visible() for text, _ in found]
    assert True in lines
    assert False in lines


def test_the_axis_of_differences_is_told_within_a_narrow_figure():
    rows = [row(f"Block [woo2018cbam]/r={r}", 40e6, 93.0) for r in (2, 4)]
    found = {"value": 0.5, "n": 3, "seeds": 3, "sd": 0.2, "interval": (0.1, 0.9), "significant": True}
    for one in rows:
        more = {field.name: None for field in fields(Difference) if field.name not in found}
        one.cell("test_top1").difference = Difference(**found, **more)
    table = Table(
        **{field.name: {"rows": rows, "options": {}}.get(field.name, []) for field in fields(Table)},
    )
    style = FigureConfig(width="252pt", size=9)
    draw = partial(figures.forest, table=table, result=TOP1)
    with plots._style(style):
        figure = plots._figure(plots.Plot("differences", "", "", draw, style, lines=2))
        figure.draw_without_rendering()
        label = figure.axes[0].xaxis.label.get_window_extent()
    assert label.x0 >= 0
    assert label.x1 <= figure.bbox.x1


def test_the_pareto_front_keeps_what_nothing_beats():
    points = [(1, 90.0), (2, 89.0), (3, 92.0), (3, 91.0), (4, 92.0), (5, 93.0)]
    assert figures.pareto_front(points, "up") == [0, 2, 5]
    assert figures.pareto_front([(cost, -value) for cost, value in points], "down") == [0, 2, 5]
