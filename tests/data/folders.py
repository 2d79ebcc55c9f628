"""Folders of pictures of classes."""

import numpy as np
from PIL import Image

CLASSES = ("cat", "dog", "owl")


def picture(seed, height=40, width=50):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8))


def fill(root, count, classes=CLASSES, first=0):
    for number, name in enumerate(classes):
        (root / name).mkdir(parents=True)
        for place in range(count):
            picture(first + 100 * number + place, 36 + place, 50 - place).save(
                root / name / f"p{place // 2}_{place}.png"
            )
    return root
