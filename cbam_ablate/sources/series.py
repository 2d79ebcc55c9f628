"""One value a metric from what a run logged by steps: the last, at a step, or where another was best."""

import math
import re
from typing import Any

from cbam_ablate.errors import ConfigError
from cbam_ablate.runs.provenance import AUTHORS
from cbam_ablate.sources.measures import words_of

Series = dict[str, list[tuple[int, float]]]
"""By metric its (step, value) points, in the order of steps."""


def check_step(step: str) -> None:
    """Raises `ConfigError` for what is no way of choosing, and for test data that would choose."""
    how, _, tag = step.partition(":")
    if step != "last" and not re.fullmatch(r"\d+", step) and not (how in ("max", "min") and tag):
        raise ConfigError(f"step={step}: not last, a step's number, max:METRIC or min:METRIC")
    if "test" in words_of(tag):
        raise ConfigError(f"step={step}: test data chooses nothing; a validation metric, last or a number")


def rule_of(step: str) -> str:
    """How values were chosen, as a result says it."""
    how, _, tag = step.partition(":")
    if step == "last":
        return f"{AUTHORS}, the last value of each run"
    if tag:
        return f"{AUTHORS}, the step with the {'highest' if how == 'max' else 'lowest'} {tag}"
    return f"{AUTHORS}, step {step}"


def pick(series: Series, step: str) -> tuple[dict[str, Any], str]:
    """The value of every metric, and what is wrong where there is none.

    At a step, a metric has its last value up to there, or its only one: a test score is logged once, at the
    end, also of a network that was the best earlier.
    """
    if step == "last":
        return {name: points[-1][1] for name, points in series.items() if points}, ""
    how, _, tag = step.partition(":")
    if tag:
        points = [(at, value) for at, value in series.get(tag, []) if math.isfinite(value)]
        if not points:
            return {}, f"logged no {tag}"
        best = max if how == "max" else min
        limit = best(points, key=lambda point: point[1])[0]
    else:
        limit = int(step)
        if all(points[-1][0] < limit for points in series.values() if points):
            return {}, f"didn't reach step {limit}"
    found = {}
    for name, points in series.items():
        upto = [value for at, value in points if at <= limit] or [
            value for _, value in points if len(points) == 1
        ]
        if upto:
            found[name] = upto[-1]
    return found, ""


def once(series: Series) -> int:
    """Leaves one point a step, the later one, in the order of steps; returns how many were dropped."""
    dropped = 0
    for name, points in series.items():
        kept = dict(points)
        dropped += len(points) - len(kept)
        series[name] = sorted(kept.items())
    return dropped


def go_on(older: Series, newer: Series, start: int | None = None) -> int:
    """Adds to `older` what a resumed run logged; returns how many of its points that overwrites.

    A metric's older points from the resumed one's first step on are dropped, of all metrics from `start` on
    where the run said that it starts there.
    """
    dropped = 0
    for name in older if start is not None else newer:
        points = older.get(name, [])
        since = min([at for at, _ in newer.get(name, [])[:1]] + ([start] if start is not None else []))
        kept = [point for point in points if point[0] < since]
        dropped += len(points) - len(kept)
        older[name] = kept
    for name, points in newer.items():
        older.setdefault(name, []).extend(points)
    return dropped


def rows_of(series: Series) -> list[dict[str, Any]]:
    """A history: one row a step, finite values only."""
    rows: dict[int, dict[str, Any]] = {}
    for name, points in series.items():
        for at, value in points:
            if math.isfinite(value):
                rows.setdefault(at, {"epoch": at})[name] = value
    return [rows[at] for at in sorted(rows)]


def from_rows(rows: list[dict[str, Any]], by: str | None = None) -> tuple[Series, list[str]]:
    """Series of rows as CSV or JSON lines have them, and the names whose values are no numbers.

    Steps are the column `by`, else one called step, global_step, epoch or iteration, else rows' numbers.
    """
    names = dict.fromkeys(name for row in rows for name in row)
    if by is None:
        known = {name.lower(): name for name in reversed(names)}
        by = next(
            (known[name] for name in ("step", "_step", "global_step", "epoch", "iteration") if name in known),
            "",
        )
    series: Series = {}
    odd: dict[str, None] = {}
    for index, row in enumerate(rows):
        at = row.get(by, index)
        at = int(at) if isinstance(at, int | float) and math.isfinite(at) else index
        for name, value in row.items():
            if name == by or value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int | float):
                odd[name] = None
            else:
                series.setdefault(name, []).append((at, float(value)))
    for points in series.values():
        points.sort(key=lambda point: point[0])
    return series, list(odd)
