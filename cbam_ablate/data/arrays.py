"""A data set as arrays in memory."""

import hashlib
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

FILES = ("train_images", "train_labels", "test_images", "test_labels")
GENERATED = "generated"


class Arrays(NamedTuple):
    """Images (N, H, W, C) uint8 and labels (N,) uint8 or uint16 in official order, perhaps memory-mapped.

    `digests` are hexadecimal sha256 that say which images these are; empty until they were computed.
    """

    train_images: NDArray[np.uint8]
    train_labels: NDArray[Any]
    test_images: NDArray[np.uint8]
    test_labels: NDArray[Any]
    source: str = GENERATED
    digests: tuple[str, ...] = ()


class Pool(NamedTuple):
    """Images of any shape one after another: `pixels` (bytes,) uint8, `shapes` (N, 2) height and width.

    `labels` (N,); `sums` (N, 2, C) are each image's sum of values and of squares. `size` is the side that is
    cut out of them. `rows` are the images of train, val and test; `content` says which images these are.
    """

    pixels: NDArray[np.uint8]
    shapes: NDArray[np.int64]
    labels: NDArray[np.int64]
    sums: NDArray[np.float64]
    channels: int
    size: int
    rows: dict[str, NDArray[np.int64]]
    source: str
    content: str
    notes: tuple[str, ...] = ()


def sha256(array: NDArray[Any]) -> str:
    """The hash of an array's bytes in C order."""
    return hashlib.sha256(np.ascontiguousarray(array).data).hexdigest()


def hashes(arrays: Arrays) -> dict[str, str]:
    return {name: sha256(getattr(arrays, name)) for name in FILES}
