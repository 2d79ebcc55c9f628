"""Names beside the points of a figure, where they cover neither each other nor the points."""

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.text import Annotation, Text
from numpy.typing import NDArray

Box = NDArray[np.float64]
"""(4,) left, bottom, right, top in pixels."""
Boxes = NDArray[np.float64]
"""(N, 4) such boxes."""
Places = NDArray[np.float64]
"""(2,) or (L, 2): x and y in pixels, of one or several."""
NEAR, STEP = 5.0, 3.0
"""Points between a marker and its name: at first, and how much more at each further try."""
MARKER, GAP = 4.0, 1.5
"""Half of a marker, and the room around a name, points."""
LEADER = 9.0
"""From this distance on a thin line joins the two, points."""
ANGLES = (45, 0, 135, 180, 315, 225, 90, 270, 20, 160, 340, 200, 70, 110, 290, 250)
"""The directions that are tried at each distance, degrees."""
WIDEST = 0.4
"""Part of the figure's width from which on a name is broken into lines."""


def place_names(axes: Axes, lines: Sequence[Sequence[tuple[float, float]]] = ()) -> None:
    """Moves the annotations of a figure that is drawn, each to the nearest free place within the axes.

    `lines` are from point to point in data coordinates; names had better not cross them. A name without a
    free place is left out.
    """
    figure: Any = axes.figure
    names = [one for one in axes.texts if isinstance(one, Annotation)]
    for one in names:
        one.set_in_layout(False)
    figure.draw_without_rendering()
    scale, area = figure.dpi / 72, np.array(axes.get_window_extent().extents)
    points = [np.asarray(axes.transData.transform(one.xy)) for one in names]
    markers = [_around(point, MARKER * scale, MARKER * scale) for point in points]
    ends = axes.transData.transform(np.reshape(lines, (-1, 2))).reshape(-1, 2, 2)
    drawn = _along(ends[:, 0], ends[:, 1], scale)
    taken: list[Box] = []
    leaders: list[Box] = []
    # Where points are close, those in the middle choose first.
    order = sorted(range(len(names)), key=lambda i: sum(math.dist(points[i], other) for other in points))
    for index in order:
        name, point = names[index], points[index]
        _break(name, WIDEST * (area[2] - area[0]))
        extent = Text.get_window_extent(name)
        room = np.array([extent.width, extent.height]) + 2 * GAP * scale
        free = None
        named, soft = (np.reshape(boxes, (-1, 4)) for boxes in (taken, leaders))
        for softly in ([soft, drawn], [soft], []):
            free = free or _free(point, room, area, np.concatenate([markers, named, *softly]), named, scale)
        if free is None:
            name.set_visible(False)
            continue
        middle, distance = free
        taken.append(_around(middle, *(room / 2)))
        name.set(horizontalalignment="center", verticalalignment="center")
        name.xyann = tuple((middle - point) / scale)
        if distance >= LEADER:
            leaders += [*_along(point, middle, scale)]
        elif name.arrow_patch is not None:
            name.arrow_patch.set_visible(False)


def _free(
    point: Box, room: Box, area: Box, others: Boxes, names: Boxes, scale: float
) -> tuple[Box, float] | None:
    """The middle of the nearest place for a box of this (2,) room, and its distance in points.

    The box covers none of `others`, nor does the line to it cross one of `names`.
    """
    for middle, distance in _places(point, room, float(max(area[2:] - area[:2])), scale):
        box = _around(middle, *(room / 2))
        if (box[:2] < area[:2]).any() or (box[2:] > area[2:]).any() or _cover(box, others):
            continue
        if distance < LEADER or not any(_cover(one, names) for one in _along(point, middle, scale)):
            return middle, distance
    return None


def _cover(box: Box, there: Boxes) -> bool:
    """Whether the box has a part in common with one of `there`."""
    return bool(((there[:, :2] < box[2:]) & (there[:, 2:] > box[:2])).all(axis=1).any())


def _along(start: Places, end: Places, scale: float) -> Boxes:
    """Small boxes along a line from (2,) to (2,), or along each of L lines from (L, 2) to (L, 2)."""
    starts, ends = np.reshape(start, (-1, 2)), np.reshape(end, (-1, 2))
    ways = ends - starts
    counts = np.maximum(2, np.ceil(np.hypot(*ways.T) / (STEP * scale))).astype(int)
    line = np.repeat(np.arange(len(counts)), counts)
    number = np.arange(len(line)) - (np.cumsum(counts) - counts)[line]
    middles = starts[line] + (number / (counts - 1)[line])[:, None] * ways[line]
    return np.hstack([middles - scale / 2, middles + scale / 2])


def _places(point: Box, room: Box, farthest: float, scale: float) -> Iterator[tuple[Box, float]]:
    for step in itertools.count():
        distance = NEAR + STEP * step
        if distance * scale > farthest:
            return
        for angle in ANGLES:
            way = np.array([math.cos(math.radians(angle)), math.sin(math.radians(angle))])
            yield point + distance * scale * way + np.clip(3 * way, -1, 1) * room / 2, distance


def _break(name: Annotation, width: float) -> None:
    """Breaks a name that is wider than so many pixels into two lines, between its parts."""
    text = name.get_text()
    places = [place for place, letter in enumerate(text) if letter in " /" and 0 < place < len(text) - 1]
    if Text.get_window_extent(name).width > width and places:
        middle = min(places, key=lambda place: abs(place - len(text) / 2))
        name.set_text(f"{text[: middle + 1].rstrip()}\n{text[middle + 1 :]}")


def _around(middle: Box, half_width: float, half_height: float) -> Box:
    return np.array(
        [middle[0] - half_width, middle[1] - half_height, middle[0] + half_width, middle[1] + half_height]
    )
