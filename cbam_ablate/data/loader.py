"""From a config to the parts of its data set on a device."""

import hashlib
import json
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cbam_ablate.config.facts import DATASETS
from cbam_ablate.config.schema import DataConfig, RunConfig
from cbam_ablate.data.arrays import Arrays, DataError, cache_folder, hashes
from cbam_ablate.data.split import split


@dataclass(frozen=True)
class Part:
    """Images (N, H, W, C) uint8 and labels (N,) int64 on the device."""

    images: Tensor
    labels: Tensor


@dataclass(frozen=True)
class Splits:
    """The parts of a data set; channel mean and standard deviation (C,) of the training set, 0 to 255."""

    train: Part
    val: Part
    test: Part
    mean: Tensor
    std: Tensor
    sha256: str


def load_arrays(data: DataConfig) -> Arrays:
    """The whole data set, from wherever it is to be had. Raises `DataError`."""
    module, _, name = DATASETS[data.name].loader.partition(":")
    arrays: Arrays = getattr(import_module(module), name)(data)
    return arrays


def load_splits(cfg: RunConfig, device: torch.device) -> Splits:
    """The parts that a run trains on, chooses its epoch by and is tested with."""
    arrays = load_arrays(cfg.data)
    chosen = split(np.asarray(arrays.train_labels), cfg.data)
    mean, std = _moments(cfg.data.name, arrays)
    return Splits(
        _part(arrays.train_images, arrays.train_labels, chosen.train, device),
        _part(arrays.train_images, arrays.train_labels, chosen.val, device),
        _part(arrays.test_images, arrays.test_labels, slice(None), device),
        mean.to(device),
        std.to(device),
        fingerprint(arrays, cfg.data),
    )


def prepare(cfg: RunConfig, verify: bool = False) -> dict[str, Any]:
    """Makes sure that the data set is there; with `verify` reads all of it and compares every hash.

    Returns what there is to say about it. Raises `DataError`.
    """
    arrays = load_arrays(cfg.data)
    chosen = split(np.asarray(arrays.train_labels), cfg.data)
    said: dict[str, Any] = {
        "data": cfg.data.name,
        "source": arrays.source,
        "images": f"{len(arrays.train_labels)} training, {len(arrays.test_labels)} test",
        "split": f"{len(chosen.train)} to train on, {len(chosen.val)} for validation",
    }
    if arrays.source != "generated":
        said["cache"] = cache_folder(cfg.data)
    if verify:
        said["sha256"] = _verify(cfg.data, arrays)
    return said


def _verify(data: DataConfig, arrays: Arrays) -> str:
    folder = cache_folder(data)
    if arrays.source != "generated" and hashes(arrays) != _recorded(data):
        raise DataError(f"{folder}: its files are not what was written there; delete it and run this again")
    return f"{fingerprint(arrays, data)} (verified)"


def _recorded(data: DataConfig) -> dict[str, str]:
    found: dict[str, str] = json.loads((cache_folder(data) / "meta.json").read_text())["sha256"]
    return found


def fingerprint(arrays: Arrays, data: DataConfig) -> str:
    """One hash of the data set, as recorded when it was cached and verified."""
    parts = hashes(arrays) if arrays.source == "generated" else _recorded(data)
    return hashlib.sha256("".join(parts.values()).encode()).hexdigest()


def _part(
    images: NDArray[np.uint8],
    labels: NDArray[np.uint8],
    chosen: NDArray[np.int64] | slice,
    device: torch.device,
) -> Part:
    taken, said = np.array(images[chosen]), np.asarray(labels)[chosen].astype(np.int64)
    return Part(torch.from_numpy(taken).to(device), torch.from_numpy(said).to(device))


OFFICIAL_MOMENTS = {"cifar10": ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616))}


def _moments(name: str, arrays: Arrays) -> tuple[Tensor, Tensor]:
    """Channel mean and standard deviation of the training images."""
    if name in OFFICIAL_MOMENTS:
        mean, std = OFFICIAL_MOMENTS[name]
        return 255 * torch.tensor(mean), 255 * torch.tensor(std)
    images = np.asarray(arrays.train_images).reshape(-1, arrays.train_images.shape[-1])
    mean_, std_ = images.mean(0, dtype=np.float64), images.std(0, dtype=np.float64)
    return torch.tensor(mean_).float(), torch.tensor(std_).float()
