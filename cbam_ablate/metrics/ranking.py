"""Metrics of how well scores rank: areas under ROC and precision-recall curves, exact, ties counted once."""

import itertools
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from cbam_ablate.metrics.sample import Floats, Sample, Undefined, Value, listed

Area = Callable[[Floats, NDArray[np.bool_]], float]
"""Of scores and positives, (N,) each."""


def area(scores: Floats, positive: NDArray[np.bool_]) -> float:
    """Probability that a positive scores above a negative, ties half (Hanley and McNeil 1982).

    Scores and positives are (N,), with at least one of either kind.
    """
    order = np.argsort(scores)
    placed, hits = scores[order], positive[order]
    ends = np.flatnonzero(np.diff(placed, append=np.inf))
    count = np.diff(ends, prepend=-1)
    ranks = np.repeat(ends + 1 - (count - 1) / 2, count)
    positives = float(hits.sum())
    below = float(ranks[hits].sum()) - positives * (positives + 1) / 2
    return below / (positives * (len(scores) - positives))


def precision_area(scores: Floats, positive: NDArray[np.bool_]) -> float:
    """Average precision: the sum over thresholds of precision times the gain in recall, not interpolated."""
    order = np.argsort(scores)[::-1]
    placed, hits = scores[order], positive[order].astype(np.float64)
    ends = np.flatnonzero(np.diff(placed, append=-np.inf))
    found = np.cumsum(hits)[ends]
    gained = np.diff(found, prepend=0.0)
    return float((gained * found / (ends + 1)).sum() / found[-1])


def auroc(sample: Sample) -> Value:
    """One-vs-rest, averaged over the classes."""
    return _one_vs_rest(sample, area, "AUROC")


def average_precision(sample: Sample) -> Value:
    return _one_vs_rest(sample, precision_area, "average precision")


def _one_vs_rest(sample: Sample, area_of: Area, what: str) -> Value:
    sample.check()
    scores = sample.probabilities
    there = np.flatnonzero(sample.support)
    if len(there) < 2:
        raise Undefined(f"all labels are {listed(there)}: {what} needs images with and without a class")
    areas = [area_of(scores[:, one], sample.labels == one) for one in there]
    return Value(float(np.mean(areas)), _absent(sample))


def auroc_ovo(sample: Sample) -> Value:
    """One-vs-one, averaged over the pairs of classes (Hand and Till 2001)."""
    sample.check()
    scores, there = sample.probabilities, np.flatnonzero(sample.support)
    if len(there) < 2:
        raise Undefined(f"all labels are {listed(there)}: AUROC needs two classes")
    areas = []
    for first, second in itertools.combinations(there, 2):
        chosen = (sample.labels == first) | (sample.labels == second)
        ours, labels = scores[chosen], sample.labels[chosen]
        areas += [area(ours[:, one], labels == one) for one in (first, second)]
    return Value(float(np.mean(areas)), _absent(sample))


def _absent(sample: Sample) -> tuple[str, ...]:
    absent = np.flatnonzero(sample.support == 0)
    return (f"{listed(absent)}: no image has it, so it is left out of the average",) if len(absent) else ()


def auroc_of_draws(sample: Sample, counts: NDArray[np.float64]) -> Floats:
    """The AUROC of each draw (B,) that holds every image as often as `counts` (B, N) says, sorted once."""
    scores, there = sample.probabilities, np.flatnonzero(sample.support)
    areas = np.full((len(there), len(counts)), np.nan)
    for place, one in enumerate(there):
        order = np.argsort(scores[:, one])
        starts = np.flatnonzero(np.diff(scores[order, one], prepend=-np.inf))
        drawn, hits = counts[:, order], sample.labels[order] == one
        positive = np.add.reduceat(drawn * hits, starts, axis=1)
        negative = np.add.reduceat(drawn * ~hits, starts, axis=1)
        below = np.cumsum(negative, axis=1) - negative / 2
        pairs = positive.sum(axis=1) * negative.sum(axis=1)
        areas[place] = np.divide(
            (positive * below).sum(axis=1), pairs, out=np.full(len(counts), np.nan), where=pairs > 0
        )
    return np.asarray(np.nanmean(areas, axis=0))
