"""Learning curves of one run as an SVG file, drawn from its history in about a millisecond."""

import math
from html import escape
from typing import Any

WIDTH, HEIGHT = 380, 270
"""A panel's size in pixels, with what is around the curves."""
LEFT, TOP, RIGHT, BOTTOM = 56, 40, 12, 42
PANELS = {"loss": "cross entropy, nats", "top1": "top-1 accuracy, %"}
PARTS = {"train": ("training", "#888888"), "val": ("validation", "#0b62a4")}
FEW = 15
"""Epochs below which each has a marker."""
POINTS = 400
"""Epochs that are drawn at most: about one a pixel."""


def curves_svg(history: list[dict[str, Any]], title: str) -> str:
    """Loss (nats) and top-1 accuracy (percent) by epoch, training and validation."""
    shown = history[:: math.ceil(len(history) / POINTS)] if history else []
    if history and shown[-1] is not history[-1]:
        shown = [*shown, history[-1]]
    size = f'width="{2 * WIDTH}" height="{HEIGHT}" viewBox="0 0 {2 * WIDTH} {HEIGHT}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="11">',
        f'<title>{escape(title, quote=False)}</title><rect width="100%" height="100%" fill="#fff"/>',
        f'<text x="{WIDTH}" y="16" text-anchor="middle" font-size="13">{escape(title, quote=False)}</text>',
    ]
    for number, (metric, label) in enumerate(PANELS.items()):
        parts.append(f'<g transform="translate({number * WIDTH} 0)">')
        parts += _panel(shown, metric, label)
        parts.append("</g>")
    return "\n".join([*parts, "</svg>", ""])


def _panel(history: list[dict[str, Any]], metric: str, label: str) -> list[str]:
    series = {
        part: [
            (record["epoch"], record[f"{part}_{metric}"])
            for record in history
            if isinstance(record.get(f"{part}_{metric}"), int | float)
        ]
        for part in PARTS
    }
    points = [point for curve in series.values() for point in curve]
    last = max((epoch for epoch, _ in points), default=1)
    values = [value for _, value in points] or [0.0]
    ticks = nice_ticks(min(values), max(values))
    low, high = min(ticks[0], *values), max(ticks[-1], *values)
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM

    def x(epoch: float) -> float:
        return LEFT + (right - LEFT) * (0.5 if last == 1 else (epoch - 1) / (last - 1))

    def y(value: float) -> float:
        return bottom - (bottom - TOP) * (value - low) / (high - low)

    parts = []
    for value in ticks:
        at = f"{y(value):.1f}"
        parts.append(f'<path d="M{LEFT} {at}H{right}" stroke="#ddd"/>')
        parts.append(f'<text x="{LEFT - 5}" y="{at}" dy="4" text-anchor="end">{value:.6g}</text>')
    epochs = sorted({round(tick) for tick in nice_ticks(1, last) if 1 <= tick <= last} or {1})
    parts += [f'<text x="{x(e):.1f}" y="{bottom + 15}" text-anchor="middle">{e}</text>' for e in epochs]
    parts.append(f'<path d="M{LEFT} {TOP}V{bottom}H{right}" fill="none" stroke="#333"/>')
    middle = (LEFT + right) / 2
    parts.append(f'<text x="{middle}" y="{bottom + 33}" text-anchor="middle">epoch</text>')
    turned = f"translate(12 {(TOP + bottom) / 2}) rotate(-90)"
    parts.append(f'<text transform="{turned}" text-anchor="middle">{label}</text>')
    for number, (part, (name, color)) in enumerate(PARTS.items()):
        places = [(f"{x(epoch):.1f}", f"{y(value):.1f}") for epoch, value in series[part]]
        line = " ".join(f"{left},{top}" for left, top in places)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{color}" stroke-width="1.5"/>')
        if len(history) < FEW:
            parts += [f'<circle cx="{left}" cy="{top}" r="2.5" fill="{color}"/>' for left, top in places]
        parts.append(f'<text x="{LEFT + 80 * number}" y="{TOP - 7}" fill="{color}">{name}</text>')
    return parts


def nice_ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Round numbers around a range, at most `most` steps apart; a range of no width gets some."""
    if high <= low:
        low, high = low - (abs(low) / 10 or 1), high + (abs(high) / 10 or 1)
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * (1 - 1e-9))
    return [step * number for number in range(math.floor(low / step), math.ceil(high / step - 1e-9) + 1)]
