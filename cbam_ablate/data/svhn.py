"""SVHN (Netzer et al., 2011), the cropped 32x32 digits: 73,257 to train on and 26,032 to test."""

import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cbam_ablate.config.schema import DataConfig
from cbam_ablate.data.arrays import Arrays
from cbam_ablate.data.official import Official, check_md5, load

MD5 = {
    "train_32x32.mat": "e26dedcc434d2e4c54c9b2d4a06d8373",
    "test_32x32.mat": "eb5a983be6a315427106f1b164d9cef3",
}


def svhn(data: DataConfig) -> Arrays:
    """See `official.load` for where it comes from and what it raises."""
    return load(data, Official("SVHN", tuple(MD5), read_root))


def read_root(root: Path) -> Arrays:
    """The two MATLAB files. The digit 0, which they call 10, is class 0."""
    return Arrays(*_part(root, "train_32x32.mat"), *_part(root, "test_32x32.mat"))


def _part(root: Path, name: str) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    from scipy.io import loadmat

    content = (root / name).read_bytes()
    check_md5(name, content, MD5[name])
    found: dict[str, Any] = loadmat(io.BytesIO(content))
    labels = found["y"].ravel() % 10
    return np.ascontiguousarray(found["X"].transpose(3, 0, 1, 2)), labels.astype(np.uint8)
