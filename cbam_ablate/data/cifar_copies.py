"""CIFAR in other forms than the official archive of pickles: the binary version, and a NumPy archive."""

import hashlib
import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cbam_ablate.data.arrays import Arrays
from cbam_ablate.data.given import names_in
from cbam_ablate.errors import DataError

PIXELS = 3 * 32 * 32
COARSE = (
    4, 1, 14, 8, 0, 6, 7, 7, 18, 3, 3, 14, 9, 18, 7, 11, 3, 9, 7, 11, 6, 11, 5, 10, 7,
    6, 13, 15, 3, 15, 0, 11, 1, 10, 12, 14, 16, 9, 11, 5, 5, 19, 8, 8, 15, 13, 14, 17, 18, 10,
    16, 4, 17, 4, 2, 0, 17, 4, 18, 17, 10, 3, 2, 12, 12, 16, 12, 1, 9, 19, 2, 10, 0, 1, 16,
    12, 9, 13, 15, 13, 16, 19, 2, 4, 6, 19, 5, 5, 8, 19, 18, 1, 2, 15, 6, 0, 17, 8, 14, 13,
)  # fmt: skip
"""CIFAR-100's superclass of each class, both in alphabetical order."""


def of_binary(content: bytes, name: str, labels: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Images (N, 32, 32, 3) and labels (N,) of a file of the binary version.

    A record is `labels` bytes, of which the last is the class, then red, green and blue. Raises ValueError.
    """
    size = labels + PIXELS
    if not content or len(content) % size:
        raise ValueError(f"{name} has {len(content)} bytes, no multiple of {size}: cut short or foreign")
    records = np.frombuffer(content, dtype=np.uint8).reshape(-1, size)
    images = records[:, labels:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return np.ascontiguousarray(images), records[:, labels - 1].copy()


def of_npz(path: Path) -> Arrays:
    """`x_train`, `y_train`, `x_test`, `y_test` as Keras names them, or `train_images` and so on.

    Images (N, 32, 32, 3) in official order. Raises ValueError.
    """
    if not zipfile.is_zipfile(path):
        raise ValueError(f"{path.name} is no .npz file")
    try:
        with np.load(path, allow_pickle=False) as held:
            parts = names_in(list(held), path.name)
            if "test" not in parts:
                raise ValueError(f"{path.name} has no test images")
            found = [np.asarray(held[name]) for part in ("train", "test") for name in parts[part]]
    except (OSError, zipfile.BadZipFile, DataError) as error:
        raise ValueError(f"{path.name} can't be read: {error}") from error
    if any(
        array.dtype.kind not in "ui" or (array.size and not 0 <= array.min() <= array.max() <= 255)
        for array in found
    ):
        raise ValueError(f"{path.name} holds other numbers than bytes")
    train_images, train_labels, test_images, test_labels = (array.astype(np.uint8) for array in found)
    return Arrays(train_images, train_labels.ravel(), test_images, test_labels.ravel())


def check_records(arrays: Arrays, official: dict[str, str]) -> None:
    """Raises ValueError where CIFAR-100's images and classes aren't those of its binary files, by sha256."""
    coarse = np.array(COARSE, dtype=np.uint8)
    for part in ("train", "test"):
        images, labels = getattr(arrays, f"{part}_images"), getattr(arrays, f"{part}_labels")
        if (
            images.shape[1:] != (32, 32, 3)
            or labels.shape != images.shape[:1]
            or labels.max(initial=0) >= 100
        ):
            raise ValueError(f"the {part} images are not those of CIFAR-100")
        pixels = images.transpose(0, 3, 1, 2).reshape(len(images), -1)
        records = np.concatenate([coarse[labels][:, None], labels[:, None], pixels], 1)
        found = hashlib.sha256(np.ascontiguousarray(records).data).hexdigest()
        if found != official[part]:
            raise ValueError(
                f"sha256 of the {part} images in their order, with their classes, is {found[:12]}..., not "
                f"{official[part][:12]}...: not the official images"
            )
