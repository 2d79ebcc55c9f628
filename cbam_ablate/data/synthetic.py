"""A tiny generated set for tests: a smooth pattern a class, moved about, under noise."""

import numpy as np

from cbam_ablate.config.schema import DataConfig
from cbam_ablate.data.arrays import Arrays
from cbam_ablate.registry import Dataset, find


def synthetic(data: DataConfig) -> Arrays:
    """The same images always; a small network learns the classes in a few epochs."""
    facts = find(Dataset, data.name)
    draw = np.random.default_rng(20180717)
    coarse = draw.uniform(0, 255, (facts.classes, 4, 4, facts.channels))
    patterns = coarse.repeat(facts.size // 4, axis=1).repeat(facts.size // 4, axis=2)
    total = facts.train + facts.test
    labels = np.arange(total) % facts.classes
    noise = draw.normal(0, 50, (total, facts.size, facts.size, facts.channels))
    images = np.clip(0.6 * patterns[labels] + 50 + noise, 0, 255).astype(np.uint8)
    order = np.concatenate([draw.permutation(facts.train), facts.train + draw.permutation(facts.test)])
    images, labels = images[order], labels[order].astype(np.uint8)
    cut = facts.train
    return Arrays(images[:cut], labels[:cut], images[cut:], labels[cut:])
