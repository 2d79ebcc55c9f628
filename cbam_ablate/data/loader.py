"""From a config to the parts of its data set on a device."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cbam_ablate.config.schema import DataConfig, RunConfig
from cbam_ablate.data.arrays import FILES, GENERATED, Arrays, Pool, hashes
from cbam_ablate.data.cache import cache_folder, usable_cache
from cbam_ablate.data.folder import store_of, stored
from cbam_ablate.data.imagefolder_whole import store_of as whole_store_of
from cbam_ablate.data.moments import moments, moments_of_pool
from cbam_ablate.data.noise import noisy
from cbam_ablate.data.split import split, subset
from cbam_ablate.data.whole import Whole
from cbam_ablate.registry import Dataset, facts, find

MOST_ON_DEVICE = 8 * 2**30
"""Bytes of images beyond which a part of a data set stays on disk and its batches are read from there."""


@dataclass(frozen=True)
class Subset:
    """Images of a data set and their labels (N,) int64 on the device.

    Image i is `images[rows[i]]`, (H, W, C) uint8. `images` and `rows` are on the device, or on the CPU where
    they are too many for it. On a CPU `images` are the cache's file, which all processes share. Where images
    are kept whole, of any shape, `rows` are on the CPU.
    """

    images: Tensor | Whole
    rows: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(H, W, C) of what the network sees."""
        if isinstance(self.images, Whole):
            return self.images.size, self.images.size, self.images.channels
        height, width, channels = self.images.shape[1:]
        return height, width, channels

    @property
    def on_cpu(self) -> bool:
        return (self.images.pixels if isinstance(self.images, Whole) else self.images).is_cpu

    def whole(self) -> Whole:
        """The images as ones that boxes can be cut from."""
        return self.images if isinstance(self.images, Whole) else Whole.of(self.images)

    def take(self, chosen: Tensor) -> Tensor:
        """The images (B, H, W, C) on the device whose numbers (B,) are given where `rows` are.

        Of whole images the middle.
        """
        rows = self.rows[chosen]
        images = (
            self.images.centres(rows) if isinstance(self.images, Whole) else self.images.index_select(0, rows)
        )
        return images.to(self.labels.device, non_blocking=True)


@dataclass(frozen=True)
class Splits:
    """The parts of a data set, and what normalises its images, in units of pixel values from 0 to 255.

    `mean` (C,), or (H, W, C) where each pixel has its own; `std` (C,). `sha256` says which data set it is.
    `numbers` are those of the validation and test images (N,) in their files, in the order of evaluation.
    """

    train: Subset
    val: Subset
    test: Subset
    mean: Tensor
    std: Tensor
    sha256: str
    classes: int
    numbers: dict[str, NDArray[np.int64]]


def load_arrays(data: DataConfig) -> Arrays | Pool:
    """The whole data set, from wherever it is to be had, and verified. Raises `DataError`."""
    arrays: Arrays | Pool = find(Dataset, data.name).load()(data)
    if isinstance(arrays, Pool):
        return arrays
    return arrays if arrays.digests else arrays._replace(digests=tuple(hashes(arrays).values()))


_held: dict[tuple[str, Path, torch.device], Splits] = {}
"""What this process loaded last."""


def at_hand(data: DataConfig) -> tuple[str, Callable[[int], NDArray[np.uint8]]] | None:
    """The data set's hash and its test images (H, W, C) by number, where this machine has them decoded."""
    if data.content:
        pool = stored(store_of(data), data)
        if pool is None:
            return None
        whole = Whole(torch.from_numpy(pool.pixels), pool.shapes, pool.channels, pool.size)
        return pool.content, lambda number: whole.centres(torch.tensor([number]))[0].numpy()
    arrays = load_arrays(data) if data.name == "synthetic" else usable_cache(data)
    if arrays is None or isinstance(arrays, Pool):
        return None
    return fingerprint(arrays), lambda number: np.asarray(arrays.test_images[number])


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
    classes = facts(data).classes
    arrays = load_arrays(data)
    if isinstance(arrays, Pool):
        return _of_pool(arrays, data, classes, device)
    labels = np.asarray(arrays.train_labels).astype(np.int64)
    chosen = split(labels, data)
    mean, std = moments(data, arrays)
    every = np.arange(len(arrays.test_labels))
    return Splits(
        train=_part(
            arrays.train_images, noisy(labels, chosen.train, data.label_noise, classes), chosen.train, device
        ),
        val=_part(arrays.train_images, labels, chosen.val, device),
        test=_part(arrays.test_images, np.asarray(arrays.test_labels).astype(np.int64), every, device),
        mean=mean.to(device),
        std=std.to(device),
        sha256=fingerprint(arrays),
        classes=classes,
        numbers={"val": chosen.val, "test": every},
    )


def _of_pool(pool: Pool, data: DataConfig, classes: int, device: torch.device) -> Splits:
    rows, labels = pool.rows, pool.labels
    train = subset(labels, rows["train"], data)
    mean, std = moments_of_pool(data, pool, rows["train"])
    pixels = torch.from_numpy(pool.pixels)
    if device.type != "cpu" and pool.pixels.nbytes <= MOST_ON_DEVICE:
        pixels = pixels.to(device)
    images: Tensor | Whole = Whole(pixels, pool.shapes, pool.channels, pool.size)
    if (pool.shapes == pool.size).all():
        images = pixels.view(-1, pool.size, pool.size, pool.channels)

    def part(numbers: NDArray[np.int64], targets: NDArray[np.int64]) -> Subset:
        where = images.device if isinstance(images, Tensor) else "cpu"
        return Subset(
            images, torch.from_numpy(numbers).to(where), torch.from_numpy(targets[numbers]).to(device)
        )

    return Splits(
        train=part(train, noisy(labels, train, data.label_noise, classes)),
        val=part(rows["val"], labels),
        test=part(rows["test"], labels),
        mean=mean.to(device),
        std=std.to(device),
        sha256=pool.content,
        classes=classes,
        numbers={"val": rows["val"], "test": rows["test"]},
    )


def prepare(cfg: RunConfig, verify: bool = False) -> dict[str, Any]:
    """Makes sure that the data set is there and whole, and returns what there is to say about it.

    With `verify` it says by which hash. Generated images, which each process makes itself, aren't made for
    less. Raises `DataError`.
    """
    if cfg.data.name == "synthetic" and not verify:
        return {}
    arrays = load_arrays(cfg.data)
    if isinstance(arrays, Pool):
        return _about(arrays, cfg.data, verify)
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


def _about(pool: Pool, data: DataConfig, verify: bool) -> dict[str, Any]:
    known, rows = facts(data), pool.rows
    classes = data.classes or [str(label) for label in range(known.classes)]
    per_class = np.bincount(pool.labels, minlength=len(classes))
    named = ", ".join(f"{name} {count}" for name, count in zip(classes[:20], per_class, strict=False))
    found: dict[str, Any] = {
        "data": data.name,
        "source": pool.source,
        "classes": f"{len(classes)}: {named}{', ...' * (len(classes) > 20)}",
        "images": f"{len(pool.labels)}, {'grey' if pool.channels == 1 else 'colour'}",
        "stored": f"at a short side of {data.store_size}, {pool.pixels.nbytes / 1e9:.2f} GB; "
        f"{known.size}x{known.size} are seen",
    }
    in_val = known.discover is not None and import_module(known.discover).tested_on_val(data)
    for part in ("train", "val", "test"):
        held_out = part == "val" and known.discover is None
        ours = part == "train" or held_out or getattr(data, f"{part}_fraction") is not None
        whose = "" if ours else f" (the set's own{', val/' if part == 'test' and in_val else ''})"
        found[part] = f"{len(rows[part])} images{whose}"
    found["cache"] = store_of(data) if known.discover else whole_store_of(data)
    for number, note in enumerate(pool.notes):
        found["note" if number == 0 else f"note {number + 1}"] = note
    if verify:
        found["content"] = f"{pool.content} (of every file's name, class and bytes)"
    return found


def fingerprint(arrays: Arrays) -> str:
    """One hash of the whole data set."""
    return hashlib.sha256("".join(arrays.digests).encode()).hexdigest()


def _part(
    images: NDArray[np.uint8], labels: NDArray[np.int64], rows: NDArray[np.int64], device: torch.device
) -> Subset:
    stored, chosen = torch.from_numpy(images), torch.from_numpy(rows)
    if device.type != "cpu" and len(rows) * images[0].nbytes <= MOST_ON_DEVICE:
        stored, chosen = stored[chosen].to(device), torch.arange(len(rows), device=device)
    return Subset(stored, chosen, torch.from_numpy(labels[rows]).to(device))
