"""Batches on the device: order and augmentation drawn for a whole epoch at once, applied in one gather.

Order and every kind of augmentation come from streams of their own, drawn on the CPU from the run's seed and
the epoch alone: the same for every architecture and device, and wherever in an epoch a resumed run starts.
"""

import math
import sys
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cbam_ablate.config.schema import AugmentConfig
from cbam_ablate.config.seeds import derive_seed
from cbam_ablate.data import augment as draw
from cbam_ablate.data import mix
from cbam_ablate.data.loader import Subset
from cbam_ablate.data.own_augment import own_augment

Batch = tuple[Tensor, Tensor]

LARGE = 2**15
"""Pixel values of an image from which on a CPU normalises images one by one."""
ROOMS = 3
"""Batches whose memory is kept for later ones."""
AT_ONCE = 2**23
"""Pixel values that a GPU makes batches of together: for small ones alone it would wait to be told."""


class Normalise:
    """uint8 or float images (N, H, W, C) to (N, C, H, W) in channels_last, zero mean and unit variance.

    `mean`, `std`: (C,) or (H, W, C) in units of pixel values from 0 to 255; `shape`: (H, W, C).
    """

    def __init__(self, mean: Tensor, std: Tensor, shape: tuple[int, ...], dtype: torch.dtype) -> None:
        # Spread out: on a CPU several times as fast as broadcasting three channels. To the whole image, or
        # where it is large to one row of it, which stays in the processor's nearest cache.
        self.shape, self.dtype = shape, dtype
        self.apart = mean.is_cpu and math.prod(shape) >= LARGE
        spread = (1, *shape[1:]) if self.apart and mean.dim() == 1 else shape
        self.scale = (1 / std).expand(spread).contiguous()
        self.shift = (-mean / std).expand(spread).contiguous()
        self._rooms: list[NDArray[np.uint8]] = []

    def __call__(self, images: Tensor) -> Tensor:
        if not self.apart:
            made = torch.addcmul(self.shift, images.float(), self.scale).to(self.dtype)
            return made.permute(0, 3, 1, 2)
        made = self.room(len(images))
        for image, place in zip(images, made, strict=True):  # one at a time stays in the processor's cache
            self.put(place, image)
        return made.permute(0, 3, 1, 2)

    def room(self, count: int) -> Tensor:
        """Memory on the CPU for normalised images (count, H, W, C): that of a batch that nobody holds now.

        New memory would have to be zeroed by the system first, which takes as long as normalising. NumPy
        asks for large pages.
        """
        size = count * math.prod(self.shape) * self.dtype.itemsize
        for held, references in zip(self._rooms, _references(self._rooms), strict=True):
            if held.size == size and references == UNUSED:
                break
        else:
            held = np.empty(size, dtype=np.uint8)
            self._rooms = [held, *self._rooms[: ROOMS - 1]]
        return torch.from_numpy(held).view(self.dtype).view(count, *self.shape)

    def put(self, place: Tensor, image: Tensor) -> None:
        """Normalises an image (H, W, C) to where it should be."""
        if self.dtype == torch.float32:
            torch.addcmul(self.shift, image.float(), self.scale, out=place)
        else:
            place.copy_(torch.addcmul(self.shift, image.float(), self.scale))


def _references(rooms: list[NDArray[np.uint8]]) -> list[int]:
    return [sys.getrefcount(held) for held in rooms]


UNUSED = _references([np.empty(0, dtype=np.uint8)])[0]
"""References to such memory where no tensor uses it; how many differs between versions of Python."""


class Drawn(NamedTuple):
    """What an epoch shows: numbers of images, how each is changed and its label, in the order of showing.

    `order` (count,) is where the set's rows are, the others (count, ...) where its labels are. Crops that are
    resized (`augment.resized_crops`) and their order are on the CPU, which cuts them one by one. Of `mixes`
    there is one a step, or none.
    """

    order: Tensor
    crops: Tensor
    warps: Tensor | None
    boxes: Tensor | None
    labels: Tensor
    mixes: list[mix.Mix]

    def changes(self, here: slice) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
        """What `TrainBatches.changed` takes, for a part of the epoch."""
        warps = None if self.warps is None else self.warps[here]
        boxes = None if self.boxes is None else self.boxes[here]
        return self.order[here], self.crops[here], warps, boxes


def balanced_order(labels: Tensor, stream: torch.Generator) -> Tensor:
    """As many image numbers as there are labels (N,), every class equally often, its images in turn."""
    present, count = labels.unique(), len(labels)
    shown = []
    for place, label in enumerate(present):
        own, wanted = (labels == label).nonzero()[:, 0], (count + place) // len(present)
        rounds = [own[torch.randperm(len(own), generator=stream)] for _ in range(-(-wanted // len(own)))]
        shown.append(torch.cat(rounds)[:wanted])
    return torch.cat(shown)[torch.randperm(count, generator=stream)]


class TrainBatches:
    """Full batches of a training set, in an order and with changes of their own in each epoch."""

    def __init__(
        self,
        part: Subset,
        augment: AugmentConfig,
        batch_size: int,
        normalise: Normalise,
        classes: int,
        balanced: bool = False,
    ) -> None:
        self.part, self.augment, self.batch_size = part, augment, batch_size
        self.normalise, self.classes, self.balanced = normalise, classes, balanced
        self.size = part.shape[0]
        self.own = own_augment(augment)
        self.whole = part.whole() if augment.random_resized_crop else None
        self.rows = part.rows if self.whole is None else part.rows.cpu()

    def epoch(self, seed: int, epoch: int, start: int = 0) -> Iterator[Batch]:
        """The batches of one epoch from step `start` on; a last partial batch is dropped."""
        drawn, size = self.draw(seed, epoch), self.batch_size
        for steps in self.at_once(start, size):
            here = slice(steps.start * size, steps.stop * size)
            together = self.changed(*drawn.changes(here)).split(size)
            for step, images, labels in zip(steps, together, drawn.labels[here].split(size), strict=True):
                shown = images if self.own is None else self.own(images, seed, epoch, step)
                batch = shown, labels
                yield mix.mix(*batch, drawn.mixes[step], self.classes) if drawn.mixes else batch

    def at_once(self, start: int, size: int) -> Iterator[range]:
        """The steps of an epoch from `start` on, of `size` images, those that are made at once together."""
        steps, values = len(self.part) // self.batch_size, size * math.prod(self.part.shape)
        many = 1 if self.part.on_cpu else max(1, AT_ONCE // values)
        for first in range(start, steps, many):
            yield range(first, min(first + many, steps))

    def draw(self, seed: int, epoch: int) -> Drawn:
        """What one epoch shows, in its order."""
        count, steps, options = len(self.part), len(self.part) // self.batch_size, self.augment

        def stream(name: str) -> torch.Generator:
            return torch.Generator().manual_seed(derive_seed(seed, name, epoch))

        device = self.part.labels.device
        # Where an image may come twice, changes are drawn for each showing and not for each image.
        every: slice | Tensor = slice(None)
        if self.balanced:
            order = balanced_order(self.part.labels.cpu(), stream("order"))
        else:
            order = every = torch.randperm(count, generator=stream("order"))
        if self.whole is not None:
            # Of each image's own sides, which where images come twice are those of what is shown.
            sides = self.whole.sides[self.rows]
            sides = sides[order] if self.balanced else sides
            scale, ratio = options.crop_scale, options.crop_ratio
            crops = draw.resized_crops(sides, scale, ratio, options.flip, stream("augment"))[every]
        else:
            crops = draw.crops(count, options.crop_padding, options.flip, stream("augment"))[every].to(device)
        warps = boxes = None
        if options.rotation > 0 or options.shift > 0:
            warps = draw.warps(count, options.rotation, options.shift, stream("warp"))[every].to(device)
        if options.erasing > 0:
            ranges = options.erasing_range
            boxes = draw.boxes(count, options.erasing, self.size, stream("erase"), ranges)[every].to(device)
        mixing = options.mixup, options.cutmix, self.size, derive_seed(seed, "mix", epoch)
        mixes = mix.draw(steps, *mixing, options.cutmix_rounding)
        labels = self.part.labels[order.to(device)]
        return Drawn(order.to(self.rows.device), crops, warps, boxes, labels, mixes)

    def changed(self, order: Tensor, crops: Tensor, warps: Tensor | None, boxes: Tensor | None) -> Tensor:
        """Images by their numbers (B,), each changed as drawn for it and normalised: (B, C, H, W)."""
        if self.whole is not None and warps is None and self.part.labels.is_cpu:
            made = self.normalise.room(len(order))
            self.whole.resized(self.rows[order], crops, made, self.normalise.put)
            images = made.permute(0, 3, 1, 2)
            return images if boxes is None else draw.erase(images, boxes)
        if self.whole is not None:
            x = self.whole.resized(self.rows[order], crops).to(self.part.labels.device)
        else:
            x = draw.crop(self.part.take(order), crops, self.augment.crop_padding)
        if warps is not None:
            x = draw.warp(x, warps)
        images = self.normalise(x)
        return images if boxes is None else draw.erase(images, boxes)


def eval_batches(part: Subset, normalise: Normalise, batch_size: int) -> Iterator[Batch]:
    """All images in order, the last batch perhaps smaller."""
    numbers = torch.arange(len(part), device=part.rows.device)
    for start in range(0, len(part), batch_size):
        chosen = numbers[start : start + batch_size]
        yield normalise(part.take(chosen)), part.labels[start : start + batch_size]
