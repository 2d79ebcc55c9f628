"""One's own images: a folder a class, decoded once into a store that all processes map into memory."""

import hashlib
import json
import logging
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from cbam_ablate.config.schema import DataConfig
from cbam_ablate.console import console
from cbam_ablate.data.arrays import Pool
from cbam_ablate.data.cache import filling, locked, root_source
from cbam_ablate.data.decode import Damaged, decoded, stored_shape, to_bytes
from cbam_ablate.data.discover import Discovered, folder_of, known, look, refuse_damaged, rows_of
from cbam_ablate.data.given import images_of
from cbam_ablate.errors import DataError

log = logging.getLogger(__name__)
AT_ONCE = 256


def folder(data: DataConfig) -> Pool:
    """The images of a folder, whole, at the short side `data.store_size`, with the parts that they are in.

    Decoded where that wasn't done before of the same files. Raises `DataError`: for all files at once that
    are no whole images, and where the folder holds others than when the run was planned.
    """
    store = store_of(data)
    pool = stored(store, data)
    gone = data.root is not None and not Path(data.root).expanduser().exists()
    found = known(data) if pool is not None and gone else look(data)
    if pool is None:
        with locked(store):
            pool = stored(store, data)
            if pool is None:
                with filling(store) as aside:
                    decode_all(found, data, aside) if found.arrays is None else _keep(found, data, aside)
                pool = stored(store, data)
    if pool is None:
        raise DataError(f"data.cache={store.parent}: what was written to {store.name} can't be read back")
    return pool._replace(rows=rows_of(found, data), notes=tuple(found.notes))


def store_of(data: DataConfig) -> Path:
    """Where the decoded images are kept, by what decides their pixels but for their content."""
    root = Path(data.root or data.name).expanduser().resolve()
    name = f"{root.name}-{_short_hash(str(root))}-{data.store_size}"
    options = [data.channels, data.exif, data.range, data.classes]
    return folder_of(data) / f"{name}-{_short_hash(json.dumps(options))}"


def _short_hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:12]


def stored(store: Path, data: DataConfig) -> Pool | None:
    """What was decoded of this content, memory-mapped, or None."""
    try:
        meta = json.loads((store / "meta.json").read_text())
        if meta["content"] != data.content:
            return None
        pixels = np.load(store / "pixels.npy", mmap_mode="c")
        shapes, labels, sums = (np.load(store / f"{name}.npy") for name in ("shapes", "labels", "sums"))
        if len(pixels) != int(shapes.prod(1).sum()) * meta["channels"]:
            return None
    except (OSError, ValueError, LookupError, TypeError, EOFError):
        return None
    size, channels = data.size or 0, meta["channels"]
    return Pool(pixels, shapes, labels, sums, channels, size, {}, root_source(data), data.content or "")


def decode_all(found: Discovered, data: DataConfig, aside: Path) -> None:
    """Writes all images, whole at the short side `data.store_size`, to a folder. Raises `DataError`."""
    short, channels = data.store_size or 0, data.channels or 3
    sides = [(height, width) for height, width in found.shapes.tolist()]
    shapes = np.array([stored_shape(*each, short) for each in sides], dtype=np.int64)
    ends = np.cumsum(shapes.prod(1) * channels)
    refuse_full_disk(aside.parent, data.name, int(ends[-1]))
    pixels = open_memmap(aside / "pixels.npy", mode="w+", dtype=np.uint8, shape=(int(ends[-1]),))
    sums = np.zeros((len(shapes), 2, channels))
    problems: dict[int, str] = {}

    def one(row: int) -> None:
        try:
            shape = int(shapes[row, 0]), int(shapes[row, 1])
            image = decoded(found.root / found.paths[row], shape, channels, data.exif, data.range)
        except Damaged as error:
            problems[row] = str(error)
            return
        pixels[ends[row] - image.size : ends[row]] = image.ravel()
        sums[row] = sums_of(image)

    decode_each(len(shapes), one, f"decoding {found.root.name}")
    refuse_damaged(found.root, [(found.paths[row], problems[row]) for row in sorted(problems)])
    pixels.flush()
    write_pool(aside, found, channels, shapes, sums)


def _keep(found: Discovered, data: DataConfig, aside: Path) -> None:
    """Arrays as they are, of 8 bits."""
    shapes, parts, channels = found.shapes, found.arrays or {}, found.channels
    size = int(shapes[0].prod()) * channels
    refuse_full_disk(aside.parent, data.name, size * len(shapes))
    pixels = open_memmap(aside / "pixels.npy", mode="w+", dtype=np.uint8, shape=(size * len(shapes),))
    sums, done = np.zeros((len(shapes), 2, channels)), 0
    for part in parts:
        images = images_of(data, parts, part)
        _refuse_bytes(images, f"data.root={data.root or data.name}: {part or 'the set'}", data.range)
        for start in range(0, len(images), AT_ONCE):
            some = images[start : start + AT_ONCE]
            try:
                kept = to_bytes(some, data.range).reshape(len(some), -1, channels)
            except Damaged as error:
                where = f"{part or 'the set'}, images {start} to {start + len(some) - 1}"
                raise DataError(f"data.root={data.root or data.name}: {where}: {error}") from error
            pixels[done * size : (done + len(some)) * size] = kept.ravel()
            values = kept.astype(np.float64)
            sums[done : done + len(some)] = np.stack([values.sum(1), (values**2).sum(1)], 1)
            done += len(some)
    pixels.flush()
    write_pool(aside, found, channels, shapes, sums)


def _refuse_bytes(images: NDArray[Any], named: str, limits: list[float] | None) -> None:
    """Raises `DataError` for bytes in wider whole numbers, which would be scaled to black."""
    if limits is None and images.dtype.kind in "iu" and images.dtype != np.uint8 and images.max() < 256:
        raise DataError(
            f"{named}: holds {images.dtype} up to {images.max()}, which would be scaled from 0 to 65535; "
            "give uint8, or set data.range=[0,255]"
        )


def write_pool(
    aside: Path, found: Discovered, channels: int, shapes: NDArray[Any], sums: NDArray[Any]
) -> None:
    """What is beside the pixels."""
    for name, array in (("shapes", shapes), ("labels", found.labels), ("sums", sums)):
        np.save(aside / f"{name}.npy", array)
    (aside / "meta.json").write_text(json.dumps({"content": found.content, "channels": channels}))


def sums_of(image: NDArray[np.uint8]) -> NDArray[np.float64]:
    """The sum of the values and of their squares, (2, C), of an image (H, W, C) or several."""
    values = image.reshape(-1, image.shape[-1])
    counts = np.stack(
        [np.bincount(values[:, channel], minlength=256) for channel in range(values.shape[1])], 1
    )
    numbers = np.arange(256.0)
    return np.stack([numbers @ counts, numbers**2 @ counts])


def refuse_full_disk(place: Path, name: str, needed: int) -> None:
    free = shutil.disk_usage(place).free
    if needed > free:
        raise DataError(
            f"data.cache={place}: {name} takes {needed / 1e9:.1f} GB decoded, {free / 1e9:.1f} GB are free; "
            "set it to a folder with more room"
        )


def decode_each(count: int, one: Any, what: str) -> None:
    """Calls `one` with every row, on all cores: Pillow decodes without Python's lock."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    if not console().is_terminal:
        log.info("%s: %d images", what, count)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with (
        Progress(*columns, console=console(), disable=not console().is_terminal) as progress,
        ThreadPoolExecutor(os.cpu_count()) as workers,
    ):
        task = progress.add_task(what, total=count)
        for start in range(0, count, AT_ONCE):
            for _ in workers.map(one, range(start, min(start + AT_ONCE, count))):
                progress.advance(task)
