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


def sha256(array: NDArray[Any]) -> str:
    """The hash of an array's bytes in C order."""
    return hashlib.sha256(np.ascontiguousarray(array).data).hexdigest()


def hashes(arrays: Arrays) -> dict[str, str]:
    return {name: sha256(getattr(arrays, name)) for name in FILES}
