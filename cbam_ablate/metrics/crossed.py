"""How sure a mean over seeds is when the test images are a sample too: pure functions, crossed by design.

Every seed's network saw the same test images, so that seeds and images are crossed: what varies is the seed,
the image, and how a seed takes an image (their interaction). Variance components as in a two-way random
effects analysis of variance (Searle, Casella and McCulloch 1992); degrees of freedom by Satterthwaite (1946),
since a handful of seeds says little of their variance. For a metric that is no mean over images its variance
over images is bootstrapped: each draw of images is put to all seeds, and to the baseline, together.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr, ndtri, stdtr, stdtrit

from cbam_ablate.metrics.definitions import DEFINITIONS, value_of
from cbam_ablate.metrics.ranking import auroc_of_draws
from cbam_ablate.metrics.sample import Floats, Sample, Value

Interval = tuple[float, float]
DRAWS = 200
"""Bootstrap draws of images: their variance is then known to 10 %, so its root to 5 %."""


class Variances(NamedTuple):
    """Of a mean over S seeds: the variance that other seeds, other images, and both would give it.

    `df` are the degrees of freedom of `both`.
    """

    mean: float
    seeds: float
    images: float
    both: float
    df: float


def of_means(values: Floats) -> Variances:
    """Of (S, N) numbers, one a seed and image, whose mean the metric is."""
    seeds, images = values.shape
    by_seed, by_image = values.mean(axis=1), values.mean(axis=0)
    grand = float(values.mean())
    over_images = float(by_image.var(ddof=1)) / images
    if seeds < 2:
        return _together(by_seed, grand, over_images, 0.0)
    rest = values - by_seed[:, None] - by_image + grand
    interaction = float((rest**2).sum()) / ((seeds - 1) * (images - 1))
    return _together(by_seed, grand, over_images, interaction / images)


def of_draws(by_seed: Floats, draws: Floats) -> Variances:
    """Of a metric's values (S,) on all images and (B, S) on bootstrap draws of them."""
    seeds = len(by_seed)
    means = draws.mean(axis=1)
    apart = (draws - means[:, None]).var(axis=0, ddof=1).mean() * seeds / max(1, seeds - 1)
    return _together(by_seed, float(by_seed.mean()), float(means.var(ddof=1)), float(apart))


def _together(by_seed: Floats, mean: float, images: float, interaction: float) -> Variances:
    """`interaction` is the part of one run's variance over images that is its own: it is counted twice."""
    count = len(by_seed)
    seeds = float(by_seed.var(ddof=1)) / count if count > 1 else math.nan
    if count < 2:
        return Variances(mean, seeds, images, math.nan, math.nan)
    both = max(seeds + images - interaction / count, seeds, images)
    df = (count - 1) * (both / seeds) ** 2 if seeds > 0 else math.inf
    return Variances(mean, seeds, images, both, df)


def interval_of(found: Variances, over: str, level: float = 0.95) -> Interval | None:
    """The interval of the mean over `images` or `both`; None where there are too few seeds to know."""
    if over == "images":
        half = float(ndtri(0.5 + level / 2)) * math.sqrt(found.images)
    elif math.isnan(found.both):
        return None
    else:
        limit = stdtrit(found.df, 0.5 + level / 2) if math.isfinite(found.df) else ndtri(0.5 + level / 2)
        half = float(limit) * math.sqrt(found.both)
    return found.mean - half, found.mean + half


def p_of(found: Variances) -> float | None:
    """Two-sided p of the mean against zero, over both; None where nothing varies or seeds are too few."""
    if not found.both > 0:
        return None
    t = -abs(found.mean) / math.sqrt(found.both)
    return float(2 * stdtr(min(found.df, 1e9), t))


def per_image(sample: Sample, name: str) -> Floats | None:
    """A metric's number for each image (N,) where the metric is their mean; None for other metrics."""
    if name in ("accuracy", "top1", "precision_micro", "recall_micro", "f1_micro"):
        return sample.right.astype(np.float64)
    if name == "log_loss":
        return -sample.log_likelihood
    if name == "brier":
        return sample.squares - 2 * sample.label_probability + 1
    if name.startswith("top") and name[3:].isdecimal():
        k = int(name[3:])
        return (sample.above_label(k) < k).astype(np.float64)
    return None


def draws_of(
    samples: Sequence[Sample], function: Callable[[Sample], Value], rng: np.random.Generator
) -> Floats:
    """The metric (DRAWS, S) of each sample on the same bootstrap draws of its images."""
    images = len(samples[0])
    chosen: NDArray[np.int64] = rng.integers(0, images, (DRAWS, images))
    if function is DEFINITIONS["auroc"].function:
        counts = np.array([np.bincount(draw, minlength=images) for draw in chosen], dtype=np.float64)
        return np.array([auroc_of_draws(sample, counts) for sample in samples]).T

    def value(sample: Sample) -> float:
        found = value_of(function, sample).value
        return math.nan if found is None else found

    for sample in samples:
        _ = sample.right, sample.confidence  # so that draws take them over
    return np.array([[value(sample.take(draw)) for sample in samples] for draw in chosen])


def mcnemar(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> tuple[int, int, float]:
    """Images that only the first network has right, only the second, and the exact p (McNemar 1947).

    Whether each image is right is (N,) for both. It is of these two networks, not of their architectures.
    """
    ours, theirs = int((first & ~second).sum()), int((second & ~first).sum())
    if ours + theirs == 0:
        return 0, 0, 1.0
    return ours, theirs, min(1.0, 2 * float(bdtr(min(ours, theirs), ours + theirs, 0.5)))
