"""Batches of several runs on one data set, made by one gather: the same as each run's own, bit for bit.

Shapes: K runs; images (K, N, C, H, W), laid out in memory as (N, H, W, K, C), so that the runs' channels
stand side by side and a convolution of all runs is a grouped one without copying.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from cbam_ablate.data import mix
from cbam_ablate.data.batches import Batch, Drawn
from cbam_ablate.data.feed import Feed


def train_together(feeds: Sequence[Feed], epoch: int, start: int) -> Iterator[Batch]:
    """One epoch's batches of all runs from step `start` on: images, labels (K, N) or mixed (K, N, classes).

    The feeds share one set of images and a batch size. Those that change images differently, or
    by a function of one's own, make their batches one by one.
    """
    first = feeds[0].batches
    if first.own is not None or any(feed.batches.augment != first.augment for feed in feeds):
        for pairs in zip(*(feed.train(epoch, start) for feed in feeds), strict=True):
            yield _joined(pairs)
        return
    drawn = [feed.batches.draw(feed.seed, epoch) for feed in feeds]
    every = _interleaved(drawn)
    runs, size = len(feeds), first.batch_size
    for steps in first.at_once(start, size * runs):
        here = slice(steps.start * size * runs, steps.stop * size * runs)
        together = first.changed(*every.changes(here)).unflatten(0, (-1, size, runs))
        for step, made, chosen in zip(steps, together, every.labels[here].view(-1, size, runs), strict=True):
            images, labels = _side_by_side(made), chosen.t()
            if every.mixes:
                each = zip(images, labels, drawn, strict=True)
                yield _joined([mix.mix(x, y, own.mixes[step], first.classes) for x, y, own in each])
            else:
                yield images, labels


def _interleaved(drawn: list[Drawn]) -> Drawn:
    """What all runs show, image by image: the first of each run, the second of each and so on."""

    def joined(tensors: list[Tensor]) -> Tensor:
        return torch.stack(tensors, 1).flatten(0, 1)

    warps = [own.warps for own in drawn if own.warps is not None]
    boxes = [own.boxes for own in drawn if own.boxes is not None]
    return Drawn(
        joined([own.order for own in drawn]),
        joined([own.crops for own in drawn]),
        joined(warps) if warps else None,
        joined(boxes) if boxes else None,
        joined([own.labels for own in drawn]),
        drawn[0].mixes,
    )


def _joined(batches: Sequence[Batch]) -> Batch:
    images = _side_by_side(torch.stack([images for images, _ in batches], 1))
    return images, torch.stack([labels for _, labels in batches])


def _side_by_side(images: Tensor) -> Tensor:
    """Images (N, K, C, H, W) as (K, N, C, H, W), laid out as (N, H, W, K, C)."""
    return images.permute(0, 3, 4, 1, 2).contiguous().permute(3, 0, 4, 1, 2)
