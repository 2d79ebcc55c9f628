"""Wrong labels on purpose, as in the label noise experiment of Residual Attention (arXiv 1704.06904)."""

import numpy as np
from numpy.typing import NDArray

NOISE_SEED = 20170423
"""Which labels are wrong is one and the same for every run."""


def noisy(
    labels: NDArray[np.int64], rows: NDArray[np.int64], fraction: float, classes: int
) -> NDArray[np.int64]:
    """The labels (N,), of which those of `fraction` of `rows` are replaced by one of the other classes.

    Each other class is equally likely. What is wrong at a smaller fraction is wrong at a larger one too.
    """
    draw = np.random.default_rng(NOISE_SEED)
    order = draw.permutation(len(labels))
    offsets = draw.integers(1, classes, len(labels))
    eligible = order[np.isin(order, rows)]
    wrong = eligible[: round(fraction * len(rows))]
    changed = labels.copy()
    changed[wrong] = (labels[wrong] + offsets[wrong]) % classes
    return changed
