"""From a config to the parts of its data set on a device."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cbam_ablate.config.schema import DataConfig, RunConfig
from cbam_ablate.data.arrays import FILES, GENERATED, Arrays, hashes
from cbam_ablate.data.cache import cache_folder
from cbam_ablate.data.moments import moments
from cbam_ablate.data.noise import noisy
from cbam_ablate.data.split import split
from cbam_ablate.registry import Dataset, find

MOST_ON_DEVICE = 8 * 2**30
"""Bytes of images beyond which a part of a data set stays on disk and its batches are read from there."""


@dataclass(frozen=True)
class Part:
    """Images of a data set and their labels (N,) int64 on the device.

    Image i is `images[rows[i]]`, (H, W, C) uint8. `images` and `rows` are on the device, or on the CPU where
    they are too many for it. On a CPU `images` are the cache's file, which all processes share.
    """

    images: Tensor
    rows: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, chosen: Tensor) -> Tensor:
        """The images (B, H, W, C) on the device whose numbers (B,) are given where `rows` are."""
        return self.images.index_select(0, self.rows[chosen]).to(self.labels.device, non_blocking=True)


@dataclass(frozen=True)
class Splits:
    """The parts of a data set, and what normalises its images, in units of pixel values from 0 to 255.

    `mean` (C,), or (H, W, C) where each pixel has its own; `std` (C,). `sha256` says which data set it is.
    `numbers` are those of the validation and test images (N,) in their files, in the order of evaluation.
    """

    train: Part
    val: Part
    test: Part
    mean: Tensor
    std: Tensor
    sha256: str
    classes: int
    numbers: dict[str, NDArray[np.int64]]


def load_arrays(data: DataConfig) -> Arrays:
    """The whole data set, from wherever it is to be had, and verified. Raises `DataError`."""
    arrays: Arrays = find(Dataset, data.name).load()(data)
    return arrays if arrays.digests else arrays._replace(digests=tuple(hashes(arrays).values()))


_held: dict[tuple[str, Path, torch.device], Splits] = {}
"""What this process loaded last."""


def load_splits(cfg: RunConfig, device: torch.device) -> Splits:
    """The parts that a run trains on, chooses its epoch by and is tested with.

    They stay on the device for the runs that this process trains next on the same data.
    """
    key = repr(cfg.data), cache_folder(cfg.data), device
    if key not in _held:
        _held.clear()
        _held[key] = _load(cfg.data, device)
    return _held[key]


def _load(data: DataConfig, device: torch.device) -> Splits:
    classes = find(Dataset, data.name).classes
    arrays = load_arrays(data)
    labels = np.asarray(arrays.train_labels).astype(np.int64)
    chosen = split(labels, data)
    mean, std = moments(data, arrays)
    every = np.arange(len(arrays.test_labels))
    return Splits(
        _part(
            arrays.train_images, noisy(labels, chosen.train, data.label_noise, classes), chosen.train, device
        ),
        _part(arrays.train_images, labels, chosen.val, device),
        _part(arrays.test_images, np.asarray(arrays.test_labels).astype(np.int64), every, device),
        mean.to(device),
        std.to(device),
        fingerprint(arrays),
        classes,
        {"val": chosen.val, "test": every},
    )


def prepare(cfg: RunConfig, verify: bool = False) -> dict[str, Any]:
    """Makes sure that the data set is there and whole, and returns what there is to say about it.

    With `verify` it says by which hash. Raises `DataError`.
    """
    arrays = load_arrays(cfg.data)
    chosen = split(np.asarray(arrays.train_labels), cfg.data)
    found: dict[str, Any] = {
        "data": cfg.data.name,
        "source": arrays.source,
        "images": f"{len(arrays.train_labels)} training, {len(arrays.test_labels)} test",
        "split": f"{len(chosen.train)} to train on, {len(chosen.val)} for validation",
    }
    if arrays.source != GENERATED:
        found["cache"] = cache_folder(cfg.data)
    if verify:
        hashed = "verified" if len(arrays.digests) == len(FILES) else "of the list of files; sizes verified"
        found["sha256"] = f"{fingerprint(arrays)} ({hashed})"
    return found


def fingerprint(arrays: Arrays) -> str:
    """One hash of the whole data set."""
    return hashlib.sha256("".join(arrays.digests).encode()).hexdigest()


def _part(
    images: NDArray[np.uint8], labels: NDArray[np.int64], rows: NDArray[np.int64], device: torch.device
) -> Part:
    stored, chosen = torch.from_numpy(images), torch.from_numpy(rows)
    if device.type != "cpu" and len(rows) * images[0].nbytes <= MOST_ON_DEVICE:
        stored, chosen = stored[chosen].to(device), torch.arange(len(rows), device=device)
    return Part(stored, chosen, torch.from_numpy(labels[rows]).to(device))
