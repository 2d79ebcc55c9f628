"""A tiny generated set for tests: a smooth pattern a class, moved about, under noise."""

from functools import lru_cache

import numpy as np

from cbam_ablate.config.schema import DataConfig
from cbam_ablate.data.arrays import Arrays
from cbam_ablate.registry import Dataset, find


def synthetic(data: DataConfig) -> Arrays:
    """The same images always; a small network learns the classes in a few epochs."""
    facts = find(Dataset, data.name)
    return _made(facts.classes, facts.train, facts.test, facts.size, facts.channels)


@lru_cache(maxsize=1)
def _made(classes: int, train: int, test: int, size: int, channels: int) -> Arrays:
    draw = np.random.default_rng(20180717)
    coarse = draw.uniform(0, 255, (classes, 4, 4, channels))
    patterns = coarse.repeat(size // 4, axis=1).repeat(size // 4, axis=2)
    total = train + test
    labels = np.arange(total) % classes
    values = draw.normal(0, 50, (total, size, size, channels))
    values += (0.6 * patterns + 50)[labels]
    images = np.clip(values, 0, 255, out=values).astype(np.uint8)
    order = np.concatenate([draw.permutation(train), train + draw.permutation(test)])
    images, labels = images[order], labels[order].astype(np.uint8)
    return Arrays(images[:train], labels[:train], images[train:], labels[train:])
