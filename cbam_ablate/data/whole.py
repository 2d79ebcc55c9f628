"""Images of any shape in one store, from which squares of one size are cut and resized on the device."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

Put = Callable[[Tensor, Tensor], Any]
"""Takes a place and the image that belongs there."""


class Whole:
    """Images one after another: image i is `pixels` (bytes,) uint8 from `starts[i]` on, of `shapes[i]`.

    `shapes` (N, 2): height and width. `size` is the side of what is cut out, `shape` what `cut` gives of one.
    """

    def __init__(self, pixels: Tensor, shapes: NDArray[np.int64], channels: int, size: int) -> None:
        self.pixels, self.channels, self.size = pixels, channels, size
        self.sides = torch.from_numpy(shapes)
        areas = shapes[:, 0] * shapes[:, 1] * channels
        self._starts = np.concatenate([[0], np.cumsum(areas)]).tolist()
        self._shapes = shapes.tolist()

    @classmethod
    def of(cls, images: Tensor) -> "Whole":
        """Images (N, H, W, C) of one shape."""
        count, height, width, channels = images.shape
        return cls(images.view(-1), np.tile([height, width], (count, 1)), channels, height)

    def image(self, row: int) -> Tensor:
        """One image (H, W, C), a view."""
        height, width = self._shapes[row]
        return self.pixels[self._starts[row] : self._starts[row + 1]].view(height, width, self.channels)

    def centres(self, rows: Tensor) -> Tensor:
        """The middle of each image (B,), as torchvision's CenterCrop cuts it: (B, size, size, C) uint8."""

        def one(row: int, place: int) -> Tensor:
            height, width = self._shapes[row]
            top, left = round((height - self.size) / 2), round((width - self.size) / 2)
            return self.image(row)[top : top + self.size, left : left + self.size]

        return self._each(rows, one)

    def resized(
        self, rows: Tensor, boxes: Tensor, made: Tensor | None = None, put: Put = Tensor.copy_
    ) -> Tensor:
        """Boxes (B, 5) of top, left, height, width and flip, each resized: (B, size, size, C) uint8.

        Where `made` is given, each is `put` to its place in that.

        Bilinear, and smoothed where that makes smaller, as torchvision's `resized_crop` with antialiasing.
        """
        corners = boxes.tolist()

        def one(row: int, place: int) -> Tensor:
            top, left, height, width, flip = corners[place]
            image = resize(self.image(row)[top : top + height, left : left + width], self.size)
            return image.flip(1) if flip else image

        return self._each(rows, one, made, put)

    def _each(
        self,
        rows: Tensor,
        one: Callable[[int, int], Tensor],
        made: Tensor | None = None,
        put: Put = Tensor.copy_,
    ) -> Tensor:
        chosen = rows.tolist()
        if made is None:
            size = (len(chosen), self.size, self.size, self.channels)
            made = torch.empty(size, dtype=torch.uint8, device=self.pixels.device)
        places, inference = list(made), torch.is_inference_mode_enabled()

        def fill(part: range) -> None:
            with torch.inference_mode(inference):  # a mode is of one thread
                for place in part:
                    put(places[place], one(chosen[place], place))

        threads = torch.get_num_threads() if made.is_cpu else 1
        spread([range(first, len(chosen), threads) for first in range(threads)], fill)
        return made


def resize(image: Tensor, size: int) -> Tensor:
    """An image (H, W, C) uint8 as (size, size, C) uint8."""
    x = image.contiguous().permute(2, 0, 1)[None]  # of rows apart PyTorch's kernel is several times slower
    if not image.is_cpu:  # where there is no such kernel for bytes
        y = F.interpolate(x.float(), (size, size), mode="bilinear", antialias=True)
        return y.round().clamp(0, 255).byte()[0].permute(1, 2, 0)
    return F.interpolate(x, (size, size), mode="bilinear", antialias=True)[0].permute(1, 2, 0)


def spread(parts: Sequence[range], work: Callable[[range], None]) -> None:
    """Does the work on all parts, each on a thread: PyTorch's kernels run without Python's lock."""
    if len(parts) <= 1:
        for part in parts:
            work(part)
        return
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # which holds for all threads: each of these would start as many again
    try:
        list(_pool(len(parts), os.getpid()).map(work, parts))
    finally:
        torch.set_num_threads(threads)


@cache
def _pool(threads: int, process: int) -> ThreadPoolExecutor:
    """Threads of this process: a forked one has none of its parent's."""
    return ThreadPoolExecutor(threads)
