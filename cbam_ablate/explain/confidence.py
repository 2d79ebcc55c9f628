"""How much a map explains, as Grad-CAM++ (Chattopadhay et al., 2018, arXiv 1710.11063) measures it.

`before` and `after` (N,) are a class's probability for each image and for the image masked by its map.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

LEVEL = 0.95


class Estimate(NamedTuple):
    """A percentage over images with its 95 % interval."""

    value: float
    low: float
    high: float


def average_drop(before: NDArray[np.float64], after: NDArray[np.float64]) -> Estimate:
    """Mean of `max(0, before - after) / before`, in percent, with its t-interval. Lower is better.

    Raises `ValueError` below two images.
    """
    from scipy.special import stdtrit

    if len(before) < 2:
        raise ValueError(f"{len(before)} images: an interval needs 2")
    drops = 100 * np.maximum(0, before - after) / before
    mean = float(drops.mean())
    half = float(stdtrit(len(drops) - 1, (1 + LEVEL) / 2) * drops.std(ddof=1) / math.sqrt(len(drops)))
    return Estimate(mean, mean - half, mean + half)


def increase(before: NDArray[np.float64], after: NDArray[np.float64]) -> Estimate:
    """The share of images with `after > before`, in percent, with its Wilson interval. Higher is better."""
    from scipy.stats import binomtest

    risen = int((after > before).sum())
    interval = binomtest(risen, len(before)).proportion_ci(LEVEL, method="wilson")
    return Estimate(100 * risen / len(before), 100 * float(interval.low), 100 * float(interval.high))
