"""Fashion-MNIST (Xiao et al., 2017, arXiv 1708.07747): 10 classes of 28x28 grey images."""

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cbam_ablate.config.schema import DataConfig
from cbam_ablate.data.arrays import Arrays
from cbam_ablate.data.official import Official, load

IMAGES, LABELS = "{}-images-idx3-ubyte", "{}-labels-idx1-ubyte"
UNSIGNED_BYTE = 8


def fashion_mnist(data: DataConfig) -> Arrays:
    """See `official.load` for where it comes from and what it raises."""
    return load(data, FASHION_MNIST)


def read_root(root: Path) -> Arrays:
    """The four files, as they are or compressed, in `root` or in torchvision's FashionMNIST/raw below it."""
    raw = root / "FashionMNIST" / "raw"
    folder = raw if raw.is_dir() else root

    def images(part: str) -> NDArray[np.uint8]:
        return _idx(folder, IMAGES.format(part))[..., None]

    return Arrays(
        images("train"),
        _idx(folder, LABELS.format("train")),
        images("t10k"),
        _idx(folder, LABELS.format("t10k")),
    )


def _idx(folder: Path, name: str) -> NDArray[np.uint8]:
    """An array in LeCun's IDX format. Raises OSError or ValueError."""
    path = folder / name
    try:
        content = (
            path.read_bytes() if path.is_file() else gzip.decompress((folder / f"{name}.gz").read_bytes())
        )
        kind, dimensions = content[2], content[3]
        shape = struct.unpack_from(f">{dimensions}I", content, 4)
    except (zlib.error, EOFError, struct.error, IndexError) as error:
        raise ValueError(f"{name} is cut short or damaged ({error})") from error
    start = 4 + 4 * dimensions
    if kind != UNSIGNED_BYTE or len(content) != start + math.prod(shape):
        raise ValueError(f"{name} is cut short or foreign: {len(content)} bytes for shape {shape}")
    return np.frombuffer(content, dtype=np.uint8, offset=start).reshape(shape)


FASHION_MNIST = Official(
    "FashionMNIST",
    (
        "FashionMNIST/raw",
        IMAGES.format("train"),
        f"{IMAGES.format('train')}.gz",
    ),
    read_root,
    sha256={
        "train_images": "2e487a6c89124f78f2d7521542223cafe96f7123c3ca13d447772ac6ecbb3012",
        "train_labels": "657fbd221bfc9f4198cc14b5619cc33ec57c58dd0e47af4d99d6650759e869a7",
        "test_images": "c867c93ff95360594e8ec3287995350b824dd110b11595c0e13d5423f621867a",
        "test_labels": "3d0e6c6ea990b53b6f8f500a41cac93881d981b315f84578b7d915342ade01e9",
    },
    hint=" (Debian's package dataset-fashion-mnist puts them into /usr/share/datasets/fashion-mnist)",
)
