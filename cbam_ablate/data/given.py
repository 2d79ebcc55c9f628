"""Images that come as arrays: a NumPy archive of MedMNIST's layout, or what a function of one's own gives.

No torch here.
"""

import hashlib
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cbam_ablate.config.content import hash_of
from cbam_ablate.config.schema import DataConfig
from cbam_ablate.errors import DataError, UserError
from cbam_ablate.own import failure
from cbam_ablate.registry import Dataset, code_of, find

LAYOUTS = (("{}_images", "{}_labels"), ("x_{}", "y_{}"))
"""What the images and labels of a part are called: as MedMNIST does, and as Keras does."""
WHOLE = ("images", "labels")
"""What they are called where there are no parts."""


class Given(NamedTuple):
    """A part: the images' shape (N, H, W) or (N, H, W, C), their labels (N,), and the images if at hand."""

    shape: tuple[int, ...]
    labels: NDArray[Any]
    images: NDArray[Any] | None


def of_archive(data: DataConfig) -> tuple[dict[str, Given], str]:
    """The parts of an .npz file, whose images aren't read yet, and its content's hash."""
    path = Path(data.root or "").expanduser()
    named = f"data.root={data.root}"
    if not path.is_file():
        raise DataError(
            f"{named}: there is no such file; name an .npz file with train_images and train_labels"
        )
    try:
        with zipfile.ZipFile(path) as archive, np.load(path, allow_pickle=False) as arrays:
            parts = {
                part: Given(_shape(archive, images), arrays[labels], None)
                for part, (images, labels) in names_in(list(arrays), named).items()
            }
    except (OSError, ValueError, zipfile.BadZipFile, KeyError) as error:
        raise DataError(f"{named}: can't be read as an .npz file ({error})") from error
    return parts, hash_of(path)[:32]


def names_in(found: list[str], named: str) -> dict[str, tuple[str, str]]:
    """The names of the images and labels of each part, the whole being the part without a name."""
    parts = {
        part: (images.format(part), labels.format(part))
        for part in ("train", "val", "test")
        for images, labels in LAYOUTS
        if images.format(part) in found and labels.format(part) in found
    }
    if not parts and all(name in found for name in WHOLE):
        return {"": WHOLE}
    if "train" not in parts:
        raise DataError(
            f"{named}: holds {', '.join(found[:8]) or 'nothing'}; it takes train_images and train_labels "
            "(and val_ and test_ of both), or images and labels"
        )
    return parts


def _shape(archive: zipfile.ZipFile, name: str) -> tuple[int, ...]:
    """The shape of an array without reading it."""
    with archive.open(f"{name}.npy") as file:
        version = np.lib.format.read_magic(file)
        read = (
            np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        )
        shape: tuple[int, ...] = read(file)[0]
        return shape


_made: dict[tuple[str, str, str | None, str | None], tuple[dict[str, Given], str]] = {}


def of_function(data: DataConfig) -> tuple[dict[str, Given], str]:
    """The parts that a function of one's own gives, called once in a process, and their content's hash.

    Raises `ConfigError` where it fails, with its own file and line.
    """
    key = data.name, repr(data.options), data.root, code_of(Dataset, data.name)
    if key not in _made:
        _made.clear()
        row = find(Dataset, data.name)
        try:
            found = row.function(data.options, root=data.root)()
        except UserError:
            raise
        except Exception as error:  # it is anybody's code
            raise failure(f"data={data.name}", error) from error
        _made[key] = _parts(found, data.name)
    return _made[key]


def _parts(found: Any, name: str) -> tuple[dict[str, Given], str]:
    named = f"data={name}"
    if isinstance(found, tuple) and len(found) == 2:
        found = dict(zip(WHOLE, found, strict=True))
    if not isinstance(found, Mapping):
        raise DataError(
            f"{named}: gives {type(found).__name__}; it must give images and labels, or a dict of "
            "train_images, train_labels and so on"
        )
    digest, parts = hashlib.sha256(), {}
    for part, (images, labels) in names_in(list(found), named).items():
        try:
            pixels, numbers = np.asarray(found[images]), np.asarray(found[labels])
        except ValueError as error:  # lists of different lengths
            raise DataError(f"{named}: {part or 'the set'} can't be made into arrays ({error})") from error
        if numbers.dtype.hasobject:  # whose bytes are addresses
            numbers = np.array(numbers.tolist())
        parts[part] = Given(pixels.shape, numbers, pixels)
        for array in (pixels, numbers):
            digest.update(f"{part} {array.dtype.str} {array.shape}".encode())
            digest.update(np.ascontiguousarray(array).data)
    return parts, digest.hexdigest()[:32]


def checked(parts: Mapping[str, Given], named: str) -> tuple[list[str], NDArray[np.int64], NDArray[Any], int]:
    """The classes, and of all images the labels (N,), heights and widths (N, 2); the channels.

    Raises `DataError` where images and labels aren't what they should be.
    """
    labels, shapes, channels = [], [], set()
    for part, one in parts.items():
        name = f"{named}: {part or 'the set'}"
        if len(one.shape) not in (3, 4) or one.shape[3:] not in ((), (1,), (3,)):
            raise DataError(
                f"{name} has images of shape {one.shape}; (N, H, W) or (N, H, W, 1 or 3) are wanted"
            )
        flat = one.labels.reshape(len(one.labels), -1) if one.labels.size else one.labels
        if not len(one.labels) or flat.shape[1] != 1:
            raise DataError(
                f"{name} has labels of shape {one.labels.shape}; one class an image, (N,), is wanted"
            )
        if len(flat) != one.shape[0]:
            raise DataError(f"{name} has {one.shape[0]} images and {len(flat)} labels")
        labels.append(flat[:, 0])
        shapes.append(np.tile(one.shape[1:3], (one.shape[0], 1)))
        channels.add(one.shape[3] if len(one.shape) == 4 else 1)
    if len(channels) > 1 or len({tuple(one[0]) for one in shapes}) > 1:
        raise DataError(f"{named}: the parts have images of different shapes")
    classes = np.unique(labels[0])
    every = np.concatenate(labels)
    unknown = sorted(set(np.unique(every).tolist()) - set(classes.tolist()))
    if unknown or len(classes) < 2:
        what = (
            f"labels {unknown[:3]} that train hasn't" if unknown else f"one class alone, {classes.tolist()}"
        )
        raise DataError(f"{named}: has {what}")
    numbers = np.searchsorted(classes, every).astype(np.int64)
    return [str(one) for one in classes.tolist()], numbers, np.concatenate(shapes), channels.pop()


def images_of(data: DataConfig, parts: Mapping[str, Given], part: str) -> NDArray[Any]:
    """The images of a part, (N, H, W) or (N, H, W, C)."""
    held = parts[part].images
    if held is not None:
        return held
    path = Path(data.root or "").expanduser()
    with np.load(path, allow_pickle=False) as arrays:
        found: NDArray[Any] = arrays[names_in(list(arrays), f"data.root={data.root}")[part][0]]
        return found
