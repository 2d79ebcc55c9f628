"""Trees of images, a folder a class, such as ImageNet's: decoded once into the cache."""

import hashlib
import logging
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray
from PIL import Image

from cbam_ablate.config.schema import DataConfig
from cbam_ablate.data.arrays import Arrays, Pool
from cbam_ablate.data.cache import (
    cache_folder,
    filling,
    locked,
    read_cache,
    root_source,
    usable_cache,
    write_meta,
)
from cbam_ablate.data.decode import stored_shape
from cbam_ablate.data.discover import EVALUATED
from cbam_ablate.data.folder import decode_each, refuse_full_disk
from cbam_ablate.data.index import BROKEN
from cbam_ablate.errors import DataError
from cbam_ablate.registry import Dataset, find
from cbam_ablate.torchvision_shim import import_torchvision

log = logging.getLogger(__name__)
PARTS = {"train": "train", "test": "val"}
"""Our parts and their folders. The official validation images are what everybody tests on."""
Samples = list[tuple[str, int]]


def imagefolder(data: DataConfig) -> Arrays | Pool:
    """The images as squares, or whole where `data.store_size` says at which short side."""
    if data.store_size is None:
        return squares(data)
    from cbam_ablate.data.imagefolder_whole import whole

    return whole(data)


def squares(data: DataConfig) -> Arrays:
    """`data.root`/train and val, each with a folder a class in alphabetical order, as torchvision reads them.

    The evaluation recipe for all images: the short side resized to 256 (for a size of 224) by bilinear
    interpolation, the centre cut out. Training crops and flips come from `augment`, on these images.
    The cache is as large as all pixels: 193 GB for ImageNet. Training reads batches from it where they are.
    Where there is a `data.root`, its files' names and sizes are compared, and read again if they changed.
    Raises `DataError`.
    """
    arrays = _usable(data)
    there = data.root is not None and Path(data.root).expanduser().is_dir()
    if arrays is not None and (not there or arrays.digests == (read_listing(data, samples_of(data)),)):
        return arrays
    if arrays is not None:
        log.warning(
            "the files of data.root=%s changed since they were decoded, which is done again", data.root
        )
    if data.root is None:
        raise no_root(data)
    samples = samples_of(data)
    folder = cache_folder(data)
    listing = read_listing(data, samples)
    with locked(folder):
        arrays = _usable(data)
        if arrays is not None and arrays.digests == (listing,):
            return arrays
        facts, images = find(Dataset, data.name), sum(map(len, samples.values()))
        refuse_full_disk(folder.parent, data.name, images * facts.size**2 * facts.channels)
        with filling(folder) as aside:
            write_meta(aside, _decode_all(data, samples, aside), {"listing": listing})
    arrays = read_cache(folder)
    if arrays is None:
        raise DataError(f"data.cache={folder.parent}: what was written to {folder.name} can't be read back")
    return arrays


def no_root(data: DataConfig) -> DataError:
    """What to say where nothing is cached and no folder is named."""
    return DataError(
        f"data.root={data.root or 'null'}: {data.name} can't be downloaded; set data.root to a folder with "
        "train/ and val/, in each one folder a class"
    )


def _usable(data: DataConfig) -> Arrays | None:
    """The cached arrays, where they are as many and as large as the data set's images are."""
    arrays, facts = usable_cache(data), find(Dataset, data.name)
    image = (facts.size, facts.size, facts.channels)
    if arrays is None or [arrays.train_images.shape, arrays.test_images.shape] != [
        (facts.train, *image),
        (facts.test, *image),
    ]:
        return None
    return arrays


def samples_of(data: DataConfig) -> dict[str, Samples]:
    """The paths and classes of each part. Raises `DataError` where they aren't of the same classes."""
    found = {part: _part(data, part, folder) for part, folder in PARTS.items()}
    train, test = (set(found[part].classes) for part in PARTS)
    if train != test:
        missing = " and ".join(
            f"only {PARTS[part]}/ has {', '.join(sorted(alone)[:3])}{', ...' * (len(alone) > 3)}"
            for part, alone in (("train", train - test), ("test", test - train))
        )
        raise DataError(f"data.root={data.root}: {missing}; both need the same folders, one a class")
    return {part: found[part].samples for part in PARTS}


def _part(data: DataConfig, part: str, folder: str) -> Any:
    """torchvision's reading of a part. Raises `DataError` where it isn't as large as it should be."""
    import_torchvision()
    from torchvision.datasets import ImageFolder

    facts, path = find(Dataset, data.name), Path(data.root or "").expanduser() / folder
    where = f"data.root={data.root}: {folder}/"
    try:
        found = ImageFolder(path)
    except (OSError, RuntimeError) as error:
        raise DataError(f"{where} can't be used ({error}); it should hold one folder a class") from error
    if len(found.classes) != facts.classes:
        raise DataError(f"{where} has {len(found.classes)} folders; {data.name} has {facts.classes} classes")
    expected: int = getattr(facts, part)
    if len(found.samples) != expected:
        raise DataError(f"{where} has {len(found.samples)} images; {data.name} has {expected}")
    return found


def read_listing(data: DataConfig, samples: dict[str, Samples]) -> str:
    """A hash of every file's name, class and size: which images these are, without reading them again."""
    root, digest = Path(data.root or "").expanduser(), hashlib.sha256()
    for part in PARTS:
        for path, label in samples[part]:
            digest.update(f"{Path(path).relative_to(root)}\t{label}\t{os.stat(path).st_size}\n".encode())
    return digest.hexdigest()


def _decode_all(data: DataConfig, samples: dict[str, Samples], folder: Path) -> Arrays:
    def images(part: str) -> NDArray[np.uint8]:
        facts, paths = find(Dataset, data.name), [path for path, _ in samples[part]]
        shape = (len(paths), facts.size, facts.size, facts.channels)
        filled = open_memmap(folder / f"{part}_images.npy", mode="w+", dtype=np.uint8, shape=shape)

        def one(row: int) -> None:
            filled[row] = load_image(paths[row], facts.size)

        decode_each(len(paths), one, f"decoding {data.name} {part}")
        filled.flush()
        return filled

    def labels(part: str) -> NDArray[np.uint16]:
        listed = np.array([label for _, label in samples[part]], dtype=np.uint16)
        np.save(folder / f"{part}_labels.npy", listed)
        return listed

    return Arrays(images("train"), labels("train"), images("test"), labels("test"), root_source(data))


def load_image(path: str, size: int) -> NDArray[Any]:
    """One image as (size, size, 3): short side to `size` * 256 / 224, bilinear, and the centre of that.

    Raises `DataError` where it is not a whole image.
    """
    try:
        with Image.open(path) as opened:
            picture = opened.convert("RGB")
    except BROKEN as error:
        raise DataError(f"{path}: not a whole image ({error}); replace it") from error
    height, width = stored_shape(picture.height, picture.width, round(EVALUATED * size))
    picture = picture.resize((width, height), Image.Resampling.BILINEAR)
    left, top = round((picture.width - size) / 2), round((picture.height - size) / 2)
    return np.asarray(picture.crop((left, top, left + size, top + size)))
