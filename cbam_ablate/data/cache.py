"""The cache that keeps a data set decoded on disk, and the order in which its sources are asked."""

import contextlib
import json
import logging
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray
from platformdirs import user_cache_path

from cbam_ablate.config.schema import DataConfig
from cbam_ablate.data.arrays import FILES, Arrays, hashes, sha256
from cbam_ablate.errors import DataError, UserError

log = logging.getLogger(__name__)
Source = tuple[str, Callable[[], Arrays]]
"""What a source is called, and how to get the arrays from it."""
Check = Callable[[Arrays], None]
"""Raises `ValueError` where arrays are not the data set's."""
UNUSABLE = (OSError, ValueError, RuntimeError, EOFError, UserError)
"""What a source raises that doesn't have the data set, or has it damaged."""


def cache_folder(data: DataConfig) -> Path:
    """Where a data set's decoded arrays are kept."""
    if data.cache is not None:
        return Path(data.cache).expanduser() / data.name
    return user_cache_path("cbam_ablate") / data.name


def root_source(data: DataConfig) -> str:
    """What the local copy that the user named is called."""
    return f"data.root={Path(data.root or '').expanduser().resolve()}"


def cached(data: DataConfig, sources: list[Source], check: Check, advice: str) -> Arrays:
    """The data set's arrays from its cache, which is filled from the first source that has them whole.

    Raises `DataError` that says what each source said, and `advice`.
    """
    folder = cache_folder(data)
    arrays = usable_cache(data)
    if arrays is not None:
        return arrays
    with locked(folder):
        arrays = usable_cache(data)
        if arrays is not None:
            return arrays
        log.info("getting %s (once; kept in %s)", data.name, folder)
        arrays = first_that_works(data.name, sources, check, advice)
        with filling(folder) as aside:
            for name in FILES:
                with (aside / f"{name}.npy").open("wb") as file:
                    np.save(file, getattr(arrays, name))
            write_meta(aside, arrays, hashes(arrays))
    arrays = read_cache(folder)
    if arrays is None:
        raise DataError(f"data.cache={folder.parent}: what was written to {folder.name} can't be read back")
    return arrays


def usable_cache(data: DataConfig) -> Arrays | None:
    """The cached arrays, unless they are damaged or come from elsewhere than the `data.root` that is set."""
    folder = cache_folder(data)
    arrays = read_cache(folder)
    if arrays is None and os.path.exists(folder):  # False where another user keeps it
        log.warning("%s is damaged and will be made anew", folder)
    if arrays is not None and data.root is not None and arrays.source != root_source(data):
        return None
    return arrays


def read_cache(folder: Path) -> Arrays | None:
    """The cached arrays, memory-mapped, or None where one is missing or differs from what was written.

    Private copies of pages that are written to keep the files as they are.
    """
    try:
        meta = json.loads((folder / "meta.json").read_text())
        found = [np.load(folder / f"{name}.npy", mmap_mode="c") for name in FILES]
        for name, array in zip(FILES, found, strict=True):
            if list(array.shape) != meta["shapes"][name]:
                return None
            if name in meta["sha256"] and _digest(folder / f"{name}.npy", array) != meta["sha256"][name]:
                return None
        return Arrays(found[0], found[1], found[2], found[3], meta["source"], tuple(meta["sha256"].values()))
    except (OSError, ValueError, LookupError, TypeError, EOFError):
        return None


RACY = 2.0
"""Seconds after a change in which a file's times don't tell whether it was changed again."""
_digests: dict[tuple[str, int, int, int, int], str] = {}


def _digest(file: Path, array: NDArray[Any]) -> str:
    """The sha256 of what a file holds, computed once in a process while nobody changes the file."""
    found = file.stat()
    state = (str(file), found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
    # A clock may be too coarse to tell two changes of the last moment apart.
    if state not in _digests or time.time() < found.st_ctime + RACY:
        _digests[state] = sha256(array)
    return _digests[state]


def write_meta(folder: Path, arrays: Arrays, digests: dict[str, str]) -> None:
    """`digests` of arrays are compared whenever they are read."""
    shapes = {name: getattr(arrays, name).shape for name in FILES}
    meta = {"source": arrays.source, "sha256": digests, "shapes": shapes}
    (folder / "meta.json").write_text(json.dumps(meta, indent=1))


@contextlib.contextmanager
def filling(folder: Path) -> Iterator[Path]:
    """A folder to write a data set to, which takes the cache's place once all of it is on disk.

    To be used while `locked`. Whatever ends it early leaves the cache as it was.
    """
    aside = None
    try:
        for left_over in folder.parent.glob(f".{folder.name}.*.part"):
            shutil.rmtree(left_over, ignore_errors=True)
        aside = _part_of(folder)
        aside.mkdir()
        yield aside
        for path in aside.iterdir():
            _sync(path)
        if folder.exists():
            folder.rename(_part_of(folder))
        aside.rename(folder)
        _sync(folder.parent)
    except OSError as error:
        raise _unwritable(folder, error) from error
    finally:
        for left_over in folder.parent.glob(f".{folder.name}.*.part"):
            shutil.rmtree(left_over, ignore_errors=True)


def _part_of(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}.part")


def _unwritable(folder: Path, error: OSError) -> DataError:
    why = error.strerror or error
    return DataError(f"data.cache={folder.parent}: can't be written to ({why}); set it to a folder that can")


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Lets one process at a time fill a cache; the others wait and then find it filled."""
    lock = FileLock(folder.parent / f".{folder.name}.lock")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            log.info("waiting for the process that is getting %s", folder.name)
            lock.acquire()
    except OSError as error:
        raise _unwritable(folder, error) from error
    try:
        yield
    finally:
        lock.release()


def first_that_works(name: str, sources: list[Source], check: Check, advice: str) -> Arrays:
    """The arrays of the first source that has them whole. Raises `DataError` saying what each one said."""
    problems = []
    for source, get in sources:
        try:
            arrays = get()._replace(source=source)
            check(arrays)
        except UNUSABLE as error:
            text = " ".join(str(error).split()) or type(error).__name__
            problems.append(f"  {source}: {text[:300]}")
            continue
        return arrays
    raise DataError(f"data={name} can't be had. Tried:\n" + "\n".join(problems) + f"\n{advice}")
