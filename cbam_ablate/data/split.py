"""Which images are trained on and which choose the epoch: the same for every run of a study."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cbam_ablate.config.schema import DataConfig

SPLIT_SEED = 20180717
"""The validation split is one and the same, whatever the run's seed."""


class Split(NamedTuple):
    """Rising indices into the training set; the parts share no image."""

    train: NDArray[np.int64]
    val: NDArray[np.int64]


def split(labels: NDArray[Any], data: DataConfig) -> Split:
    """Takes `val_size` images for validation, and of the rest all or a class-balanced `train_size`.

    The validation images hold the classes in the proportions of the whole set. Smaller subsets of one
    `subset_seed` are contained in larger ones.
    """
    order = stratified_order(labels, np.random.default_rng(SPLIT_SEED))
    val, rest = order[: data.val_size], np.sort(order[data.val_size :])
    return Split(subset(labels, rest, data), np.sort(val))


def subset(labels: NDArray[Any], rows: NDArray[np.int64], data: DataConfig) -> NDArray[np.int64]:
    """Of these rising rows all, or a class-balanced `train_size`."""
    if data.train_size is None:
        return rows
    draw = np.random.default_rng([SPLIT_SEED, data.subset_seed])
    return np.sort(rows[balanced_order(labels[rows], draw)[: data.train_size]])


def balanced_order(labels: NDArray[Any], draw: np.random.Generator) -> NDArray[np.int64]:
    """A random order of all images (N,) in which every first part holds the classes in equal numbers.

    A class that has run out is made up for by the others.
    """
    shuffled, rank, _ = _ranked(labels, draw)
    return shuffled[np.argsort(rank, kind="stable")]


def stratified_order(labels: NDArray[Any], draw: np.random.Generator) -> NDArray[np.int64]:
    """A random order of all images (N,) in which every first part holds the classes in proportion."""
    shuffled, rank, of_class = _ranked(labels, draw)
    return shuffled[np.argsort((rank + 0.5) / of_class, kind="stable")]


def _ranked(
    labels: NDArray[Any], draw: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """All images shuffled; how many of its class come before each; how many its class has."""
    shuffled = draw.permutation(len(labels))
    by_class = np.argsort(labels[shuffled], kind="stable")
    counts = np.bincount(labels)
    rank = np.empty(len(labels), dtype=np.int64)
    rank[by_class] = np.arange(len(labels)) - np.repeat(np.cumsum(counts) - counts, counts)
    return shuffled, rank, counts[labels[shuffled]]
