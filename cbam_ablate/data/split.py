"""Which images are trained on and which choose the epoch: the same for every run of a study."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cbam_ablate.config.schema import DataConfig

SPLIT_SEED = 20180717
"""The validation split is one and the same, whatever the run's seed."""


class Split(NamedTuple):
    """Rising indices into the training set; the parts share no image."""

    train: NDArray[np.int64]
    val: NDArray[np.int64]


def split(labels: NDArray[np.uint8], data: DataConfig) -> Split:
    """Takes `val_size` images for validation, and of the rest all or a balanced `train_size`.

    Smaller subsets of one `subset_seed` are contained in larger ones.
    """
    order = balanced_order(labels, np.random.default_rng(SPLIT_SEED))
    val, rest = order[: data.val_size], np.sort(order[data.val_size :])
    if data.train_size is not None:
        draw = np.random.default_rng([SPLIT_SEED, data.subset_seed])
        rest = rest[balanced_order(labels[rest], draw)[: data.train_size]]
    return Split(np.sort(rest), np.sort(val))


def balanced_order(labels: NDArray[np.uint8], draw: np.random.Generator) -> NDArray[np.int64]:
    """A random order of all images (N,) in which every first part holds the classes in equal numbers."""
    shuffled = draw.permutation(len(labels))
    rank = np.empty(len(labels), dtype=np.int64)
    for label in np.unique(labels):
        of_class = shuffled[labels[shuffled] == label]
        rank[of_class] = np.arange(len(of_class))
    return shuffled[np.argsort(rank[shuffled], kind="stable")]
