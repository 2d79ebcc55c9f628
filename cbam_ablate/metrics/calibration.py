"""Metrics of probabilities: proper scores, and how far confidence is from accuracy."""

from typing import NamedTuple

import numpy as np

from cbam_ablate.metrics.sample import Floats, Sample, Value

BINS = 15


class Bins(NamedTuple):
    """Images by confidence: how many are in each bin (B,), and their mean confidence and accuracy (B,).

    Both are NaN in an empty bin.
    """

    images: Floats
    confidence: Floats
    accuracy: Floats


def log_loss(sample: Sample) -> Value:
    sample.check()
    return Value(-float(sample.log_likelihood.mean()))


def brier(sample: Sample) -> Value:
    sample.check()
    return Value(float((sample.squares - 2 * sample.label_probability + 1).mean()))


def equal_width(sample: Sample, bins: int = BINS) -> Bins:
    """Bins of equal width from 0 to 1, each with its lower edge; a confidence of 1 is in the last."""
    edges = np.linspace(0, 1, bins + 1)
    return _binned(sample, np.searchsorted(edges[1:-1], sample.confidence, side="right"), bins)


def equal_mass(sample: Sample, bins: int = BINS) -> Bins:
    """Bins between quantiles of confidence, each with its upper edge, so that equals stay together."""
    edges = np.percentile(sample.confidence, 100 * np.linspace(0, 1, bins + 1))
    return _binned(sample, np.searchsorted(edges[1:-1], sample.confidence), bins)


def _binned(sample: Sample, places: np.ndarray, bins: int) -> Bins:
    images = np.bincount(places, minlength=bins).astype(np.float64)
    confidence = np.bincount(places, sample.confidence, minlength=bins)
    right = np.bincount(places, sample.right, minlength=bins)
    empty = np.where(images > 0, images, np.nan)
    return Bins(images, confidence / empty, right / empty)


def ece(sample: Sample) -> Value:
    sample.check()
    return _gap(equal_width(sample))


def adaptive_ece(sample: Sample) -> Value:
    sample.check()
    return _gap(equal_mass(sample))


def _gap(bins: Bins) -> Value:
    gaps = np.nan_to_num(np.abs(bins.accuracy - bins.confidence))
    return Value(float((gaps * bins.images).sum() / bins.images.sum()))
