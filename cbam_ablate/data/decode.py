"""A file to pixels of 8 bits: whole, at a short side of one's choosing."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from cbam_ablate.data.index import BROKEN, orientation, why

USUAL = {"u": (0.0, 65535.0), "i": (0.0, 65535.0), "f": (0.0, 1.0)}
"""The values that become 0 and 255 where none are given, by the kind of number."""


class Damaged(ValueError):
    """A file that is no whole image; the message says why."""


def to_bytes(values: NDArray[Any], limits: list[float] | None) -> NDArray[np.uint8]:
    """Values of any number format scaled to 0..255, `limits` becoming those; uint8 stays without limits.

    Values outside are set to the nearer limit where limits are given. Raises `Damaged` where they aren't.
    """
    if values.dtype == np.uint8 and limits is None:
        return values
    if values.dtype == np.bool_:
        return values.astype(np.uint8) * 255
    if values.dtype.kind not in USUAL:
        raise Damaged(f"holds {values.dtype}, and numbers are wanted")
    low, high = limits or (USUAL[values.dtype.kind] if values.dtype != np.uint8 else (0.0, 255.0))
    numbers = values.astype(np.float64)
    least, most = float(numbers.min(initial=low)), float(numbers.max(initial=high))
    if not np.isfinite(numbers).all():
        raise Damaged("holds values that aren't finite numbers")
    if limits is None and (least < low or most > high):
        raise Damaged(
            f"holds values from {least:g} to {most:g}, which are scaled from {low:g} to {high:g}; set "
            "data.range=[low,high]"
        )
    scaled = (numbers.clip(low, high) - low) * (255 / (high - low))
    return (scaled + 0.5).astype(np.uint8)


def open_whole(path: Path, channels: int, exif: bool, limits: list[float] | None) -> Image.Image:
    """The picture in grey (channels 1) or colour (3). Raises `Damaged` where the file is no whole image.

    16-bit and float pictures are scaled by `limits`, as `to_bytes` does.
    """
    try:
        with Image.open(path) as opened:
            picture = ImageOps.exif_transpose(opened) if exif and orientation(opened) > 1 else opened
            if picture.mode in ("I", "F") or picture.mode.startswith("I;16"):
                values = np.asarray(picture)
                if values.dtype.kind == "i" and values.dtype.itemsize == 4:
                    values = values.astype(np.int64)
                picture = Image.fromarray(to_bytes(values, limits))
            return picture.convert("L" if channels == 1 else "RGB")
    except Damaged:
        raise
    except BROKEN as error:
        raise Damaged(why(error)) from error


def stored_shape(height: int, width: int, short: int) -> tuple[int, int]:
    """Height and width after the short side was resized to `short`, as torchvision's Resize has it."""
    if height <= width:
        return short, int(short * width / height)
    return int(short * height / width), short


def decoded(path: Path, shape: tuple[int, int], channels: int, exif: bool, limits: Any) -> NDArray[np.uint8]:
    """A file as (H, W, C) of this height and width, resized as Pillow does bilinearly. Raises `Damaged`."""
    picture = open_whole(path, channels, exif, limits)
    height, width = shape
    if picture.size != (width, height):
        picture = picture.resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(picture).reshape(height, width, channels)
