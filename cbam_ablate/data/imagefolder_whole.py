"""Trees of images, a folder a class, kept whole at a short side of `data.store_size` pixels."""

import json
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cbam_ablate.config.schema import DataConfig
from cbam_ablate.data.arrays import Pool
from cbam_ablate.data.cache import cache_folder, filling, locked
from cbam_ablate.data.discover import Discovered
from cbam_ablate.data.folder import decode_all, stored
from cbam_ablate.data.imagefolder import PARTS, Samples, no_root, read_listing, samples_of
from cbam_ablate.data.index import BROKEN, why
from cbam_ablate.data.split import split
from cbam_ablate.errors import DataError
from cbam_ablate.registry import Dataset, find


def store_of(data: DataConfig) -> Path:
    """Where the whole images are kept, beside the middle squares."""
    folder = cache_folder(data)
    return folder.with_name(f"{folder.name}-{data.store_size}")


def whole(data: DataConfig) -> Pool:
    """The images of `data.root`/train and val, whole: what random crops are cut from and what is evaluated.

    In evaluation the middle square is seen, which at a `data.store_size` of 256 (for a size of 224) is that
    of the images kept as squares. Decoded once; the files' names and sizes are compared where there is a
    `data.root`. Raises `DataError`.
    """
    store, samples = store_of(data), None
    if data.root is not None and Path(data.root).expanduser().is_dir():
        samples = samples_of(data)
    content = _content(store) if samples is None else read_listing(data, samples)
    if content is None:
        raise no_root(data)
    facts = find(Dataset, data.name)
    full = replace(data, content=content, channels=facts.channels, size=facts.size)
    pool = stored(store, full)
    if pool is None:
        if samples is None:
            raise no_root(data)
        with locked(store):
            pool = stored(store, full)
            if pool is None:
                found = _found(Path(data.root or "").expanduser(), samples, content, facts.channels)
                with filling(store) as aside:
                    decode_all(found, full, aside)
                pool = stored(store, full)
    if pool is None:
        raise DataError(f"data.cache={store.parent}: what was written to {store.name} can't be read back")
    chosen = split(pool.labels[: facts.train], replace(data, train_size=None))
    test = np.arange(facts.train, facts.train + facts.test)
    return pool._replace(rows={"train": chosen.train, "val": chosen.val, "test": test})


def _content(store: Path) -> str | None:
    try:
        return str(json.loads((store / "meta.json").read_text())["content"])
    except (OSError, ValueError, LookupError, TypeError):
        return None


def _found(root: Path, samples: dict[str, Samples], content: str, channels: int) -> Discovered:
    """The images of all parts, those to train on first."""
    every = [one for part in PARTS for one in samples[part]]
    paths = [str(Path(path).relative_to(root)) for path, _ in every]
    given = np.array([part for part in PARTS for _ in samples[part]])
    labels = np.array([label for _, label in every], dtype=np.int64)
    return Discovered(
        root=root,
        classes=[],
        paths=paths,
        labels=labels,
        given=given,
        shapes=_shapes(root, paths),
        channels=channels,
        content=content,
    )


def _shapes(root: Path, paths: list[str]) -> NDArray[np.int64]:
    """Height and width (N, 2) by the files' heads. Raises `DataError` for what is no image."""

    def one(path: str) -> tuple[int, int]:
        try:
            with Image.open(root / path) as opened:
                return opened.height, opened.width
        except BROKEN as error:
            raise DataError(f"{root / path}: not a whole image ({why(error)}); replace it") from error

    with ThreadPoolExecutor(os.cpu_count()) as workers:
        return np.array(list(workers.map(one, paths)), dtype=np.int64)
