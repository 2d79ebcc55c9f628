"""Batches on the device: order and augmentation drawn for a whole epoch at once, applied in one gather.

Order and augmentation come from streams of their own, drawn on the CPU from the run's seed and the epoch
alone: the same for every architecture and device, and wherever in an epoch a resumed run starts.
"""

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

from cbam_ablate.config.schema import AugmentConfig
from cbam_ablate.config.seeds import derive_seed

Batch = tuple[Tensor, Tensor]


class Normalise:
    """uint8 images (N, H, W, C) to (N, C, H, W) in channels_last, zero mean and unit variance a channel.

    `mean`, `std`: (C,) in units of pixel values from 0 to 255.
    """

    def __init__(self, mean: Tensor, std: Tensor, dtype: torch.dtype) -> None:
        self.scale, self.shift, self.dtype = 1 / std, -mean / std, dtype

    def __call__(self, images: Tensor) -> Tensor:
        return torch.addcmul(self.shift, images.float(), self.scale).to(self.dtype).permute(0, 3, 1, 2)


class TrainBatches:
    """Full batches of a training set, its images (N, H, W, C) padded once and kept on their device."""

    def __init__(self, images: Tensor, labels: Tensor, augment: AugmentConfig, batch_size: int) -> None:
        pad = augment.crop_padding
        self.size = images.shape[1]
        self.padded = F.pad(images, (0, 0, pad, pad, pad, pad)) if pad else images
        self.labels, self.augment, self.batch_size = labels, augment, batch_size

    def epoch(self, seed: int, epoch: int, normalise: Normalise, start: int = 0) -> Iterator[Batch]:
        """The batches of one epoch from step `start` on; a last partial batch is dropped."""
        count, device = len(self.labels), self.labels.device
        order = torch.randperm(count, generator=_stream(seed, "order", epoch))
        drawn = self._draw(count, _stream(seed, "augment", epoch))
        order, drawn = order.to(device), drawn.to(device)
        for step in range(start, count // self.batch_size):
            chosen = order[step * self.batch_size : (step + 1) * self.batch_size]
            yield normalise(self._cut(chosen, drawn[chosen])), self.labels[chosen]

    def _draw(self, count: int, stream: torch.Generator) -> Tensor:
        """For each image of the set the crop's top and left, and whether it is flipped: (count, 3)."""
        edges = 2 * self.augment.crop_padding + 1
        corners = torch.randint(edges, (count, 2), generator=stream)
        flips = torch.randint(2, (count, 1), generator=stream)
        return torch.cat([corners, flips * int(self.augment.flip)], 1)

    def _cut(self, chosen: Tensor, drawn: Tensor) -> Tensor:
        """Crops and flips by one gather of pixels: (B, size, size, C)."""
        height, width, channels = self.padded.shape[1:]
        line = torch.arange(self.size, device=chosen.device)
        top, left, flip = drawn[:, 0:1], drawn[:, 1:2], drawn[:, 2:3].bool()
        rows = chosen[:, None] * height + top + line
        columns = left + torch.where(flip, line.flip(0), line)
        pixels = (rows[:, :, None] * width + columns[:, None, :]).flatten()
        cut = self.padded.view(-1, channels).index_select(0, pixels)
        return cut.view(len(chosen), self.size, self.size, channels)


def eval_batches(images: Tensor, labels: Tensor, normalise: Normalise, batch_size: int) -> Iterator[Batch]:
    """All images in order, the last batch perhaps smaller."""
    for start in range(0, len(labels), batch_size):
        yield normalise(images[start : start + batch_size]), labels[start : start + batch_size]


def _stream(seed: int, name: str, epoch: int) -> torch.Generator:
    return torch.Generator().manual_seed(derive_seed(seed, name, epoch))
