"""A data set as arrays in memory, and the cache that keeps it decoded on disk."""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cbam_ablate.config.errors import ConfigError
from cbam_ablate.config.schema import DataConfig

FILES = ("train_images", "train_labels", "test_images", "test_labels")


class DataError(ConfigError):
    """A data set can't be had, or is not what it should be; says what was tried and what to do."""


class Arrays(NamedTuple):
    """Images (N, H, W, C) uint8 and labels (N,) uint8 in official order, perhaps memory-mapped."""

    train_images: NDArray[np.uint8]
    train_labels: NDArray[np.uint8]
    test_images: NDArray[np.uint8]
    test_labels: NDArray[np.uint8]
    source: str = "generated"


def sha256(array: NDArray[np.uint8]) -> str:
    """The hash of an array's bytes in C order."""
    return hashlib.sha256(np.ascontiguousarray(array).data).hexdigest()


def hashes(arrays: Arrays) -> dict[str, str]:
    return {name: sha256(getattr(arrays, name)) for name in FILES}


def cache_folder(data: DataConfig) -> Path:
    """Where a data set's decoded arrays are kept."""
    if data.cache is not None:
        return Path(data.cache).expanduser() / data.name
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "cbam_ablate" / data.name


def read_cache(folder: Path) -> Arrays | None:
    """The cached arrays, memory-mapped, or None where there are none or a file is not whole."""
    try:
        meta = json.loads((folder / "meta.json").read_text())
        found = [np.load(folder / f"{name}.npy", mmap_mode="r") for name in FILES]
    except (OSError, ValueError):
        return None
    whole = all(list(array.shape) == meta["shapes"][name] for name, array in zip(FILES, found, strict=True))
    return Arrays(found[0], found[1], found[2], found[3], meta["source"]) if whole else None


def write_cache(folder: Path, arrays: Arrays) -> None:
    """Writes aside and renames; of several processes at once one wins and the others' copies go."""
    aside = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
        _write(aside, arrays)
        if folder.exists() and read_cache(folder) is None:
            shutil.rmtree(folder)
        try:
            aside.rename(folder)
        except OSError:
            if read_cache(folder) is None:
                raise
    except OSError as error:
        raise DataError(
            f"data.cache={folder.parent}: can't be written to ({error.strerror}); set it to a folder that can"
        ) from error
    finally:
        if aside is not None:
            shutil.rmtree(aside, ignore_errors=True)


def _write(folder: Path, arrays: Arrays) -> None:
    for name in FILES:
        np.save(folder / f"{name}.npy", getattr(arrays, name))
    shapes = {name: getattr(arrays, name).shape for name in FILES}
    meta = {"source": arrays.source, "sha256": hashes(arrays), "shapes": shapes}
    (folder / "meta.json").write_text(json.dumps(meta, indent=1))
    folder.chmod(0o755)


Source = tuple[str, Callable[[], Arrays]]
"""What a source is called, and how to get the arrays from it; raises OSError or ValueError where it can't."""


def first_that_works(
    name: str, sources: list[Source], check: Callable[[Arrays], None], advice: str
) -> Arrays:
    """The arrays of the first source that has them whole. Raises `DataError` saying what each one said."""
    said = []
    for source, get in sources:
        try:
            arrays = get()._replace(source=source)
            check(arrays)
        except (OSError, ValueError, RuntimeError, EOFError) as error:
            text = " ".join(str(error).split()) or type(error).__name__
            said.append(f"  {source}: {text[:300]}")
            continue
        return arrays
    raise DataError(f"data={name} can't be had. Tried:\n" + "\n".join(said) + f"\n{advice}")
