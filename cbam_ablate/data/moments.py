"""What images are normalised by: the moments of the training images."""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cbam_ablate.config.schema import DataConfig
from cbam_ablate.data.arrays import Arrays, Pool

PUBLISHED = {
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}
"""Mean and standard deviation of each channel, of pixels from 0 to 1, as everybody rounds them."""


def moments(data: DataConfig, arrays: Arrays) -> tuple[Tensor, Tensor]:
    """The mean, (C,) or by pixel (H, W, C), and the standard deviation (C,) of pixels from 0 to 255.

    `data.normalize=pixel` subtracts the mean image of all training images (He et al., 2016).
    """
    if data.name in PUBLISHED:
        mean, std = (255 * torch.tensor(values) for values in PUBLISHED[data.name])
    else:
        mean, std = by_channel(arrays.train_images)
    mean, std = _asked(data, mean, std)
    return (mean_image(arrays.train_images) if data.normalize == "pixel" else mean), std


def moments_of_pool(data: DataConfig, pool: Pool, rows: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
    """The mean and standard deviation (C,), of pixels from 0 to 255, of these images, which are whole."""
    if data.name in PUBLISHED:
        return _asked(data, *(255 * torch.tensor(values) for values in PUBLISHED[data.name]))
    values = (pool.shapes[rows].prod(1)).sum()
    mean, squares = pool.sums[rows].sum(0) / values
    std = np.sqrt(np.maximum(squares - mean**2, 1e-6))
    return _asked(data, torch.tensor(mean).float(), torch.tensor(std).float())


def _asked(data: DataConfig, mean: Tensor, std: Tensor) -> tuple[Tensor, Tensor]:
    """The moments, or those that the config sets."""
    given = [None if one is None else 255 * torch.tensor(one) for one in (data.mean, data.std)]
    return mean if given[0] is None else given[0], std if given[1] is None else given[1]


def by_channel(images: NDArray[np.uint8]) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation (C,) of images (N, H, W, C), exact: counted, not summed up."""
    channels = images.shape[-1]
    counts = np.zeros((channels, 256))
    for some in _in_parts(images):
        for channel in range(channels):
            counts[channel] += np.bincount(some[..., channel].ravel(), minlength=256)
    values = np.arange(256)
    share = counts / counts.sum(1, keepdims=True)
    mean = share @ values
    variance = (share * (values - mean[:, None]) ** 2).sum(1)
    return torch.tensor(mean).float(), torch.tensor(np.sqrt(variance)).float()


def mean_image(images: NDArray[np.uint8]) -> Tensor:
    """The mean (H, W, C) of images (N, H, W, C)."""
    total = np.zeros(images.shape[1:], dtype=np.int64)
    for some in _in_parts(images):
        total += some.sum(0, dtype=np.int64)
    return torch.from_numpy(total / len(images)).float()


def _in_parts(images: NDArray[np.uint8]) -> Iterator[NDArray[np.uint8]]:
    """Few enough at a time that what is computed of them stays small."""
    for start in range(0, len(images), 1024):
        yield images[start : start + 1024]
