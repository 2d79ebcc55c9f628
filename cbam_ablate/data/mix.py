"""Mixing each image with another one of its batch: mixup and cutmix."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F


class Mix(NamedTuple):
    """One batch's mixing: the share of the first image, and the box that the second one fills.

    Without a box (all four 0) the images are added; `box`: top, left, bottom, right in pixels.
    """

    share: float
    box: tuple[int, int, int, int] = (0, 0, 0, 0)


def draw(steps: int, mixup: float, cutmix: float, size: int, seed: int, rounding: str = "edges") -> list[Mix]:
    """One epoch's mixings, one a step; none where both are off. Where both are on either is equally likely.

    `mixup` and `cutmix` are the alpha of the Beta(alpha, alpha) that the share comes from.
    """
    if not mixup and not cutmix:
        return []
    stream = np.random.default_rng(seed)
    cuts = stream.random(steps) < (0.5 if mixup and cutmix else float(cutmix > 0))
    return [
        _cutmix(stream, cutmix, size, rounding) if cut else Mix(stream.beta(mixup, mixup)) for cut in cuts
    ]


def _cutmix(stream: np.random.Generator, alpha: float, size: int, rounding: str) -> Mix:
    """A box of side sqrt(1 - share) about any centre (Yun et al., arXiv 1905.04899), cut off at the edges.

    Its edges are whole pixels; with `rounding` as published, half its side is, rounded down.
    """
    side = size * np.sqrt(1 - stream.beta(alpha, alpha))
    y, x = stream.integers(0, size, 2)
    if rounding == "published":
        side = 2 * (int(side) // 2)
    top, left, bottom, right = (
        int(np.clip(edge, 0, size)) for edge in (y - side / 2, x - side / 2, y + side / 2, x + side / 2)
    )
    return Mix(1 - (bottom - top) * (right - left) / size**2, (top, left, bottom, right))


def mix(images: Tensor, labels: Tensor, how: Mix, classes: int) -> tuple[Tensor, Tensor]:
    """Images (B, C, H, W) mixed with their neighbours in the batch, and each class's share (B, classes).

    x' = share x + (1 - share) neighbour, as mixup (Zhang et al., arXiv 1710.09412) has it.
    """
    others = torch.cat([images[-1:], images[:-1]])  # roll would give up channels_last
    one_hot = F.one_hot(labels, classes).float()
    target = how.share * one_hot + (1 - how.share) * one_hot.roll(1, 0)
    top, left, bottom, right = how.box
    if bottom > top and right > left:
        mixed = images.clone()
        mixed[:, :, top:bottom, left:right] = others[:, :, top:bottom, left:right]
        return mixed, target
    return images.lerp(others, 1 - how.share), target
