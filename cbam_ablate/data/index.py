"""What each file of a folder of images holds: read once, and again only where it changed. No torch here."""

import contextlib
import hashlib
import io
import logging
import os
import time
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, UnidentifiedImageError

from cbam_ablate.data.cache import RACY

log = logging.getLogger(__name__)
ORIENTATION = 0x0112
"""EXIF's tag of how a picture is to be turned."""
GREY = frozenset({"1", "L", "LA", "La", "I", "F", "I;16", "I;16B", "I;16L", "I;16N"})
"""Pillow's modes without colour."""
BROKEN = (OSError, UnidentifiedImageError, SyntaxError, ValueError, Image.DecompressionBombError)
"""What Pillow raises for a file that is no whole image."""
MANY = 2000
"""Files from which on reading them is announced."""


class Entry(NamedTuple):
    """A file: its content's hash, its picture's size as stored, whether grey, and its EXIF orientation.

    `problem` says why it is no image, else is empty.
    """

    digest: str
    width: int = 0
    height: int = 0
    grey: bool = False
    orientation: int = 1
    problem: str = ""


Known = dict[str, tuple[tuple[int, ...], Entry]]
"""What was read of a file by its path, and what told then whether it changed."""


class File(NamedTuple):
    """A file by its path below the root, and what tells whether it changed."""

    path: str
    size: int
    state: tuple[int, int, int]


def stat_of(path: str, found: os.stat_result) -> File:
    return File(path, found.st_size, (found.st_mtime_ns, found.st_ctime_ns, found.st_ino))


def entries(root: Path, files: Sequence[File], index: Path) -> list[Entry]:
    """An entry for each file, from `index` (which is kept up to date) where the file is as it was."""
    known = _read(index)
    fresh = [file for file in files if known.get(file.path, (None,))[0] != (file.size, *file.state)]
    if not fresh:
        return [known[file.path][1] for file in files]
    if len(fresh) >= MANY:
        log.info("reading %d files of %s (once)", len(fresh), root)
    with ThreadPoolExecutor(os.cpu_count()) as workers:
        made = list(workers.map(lambda file: _entry(root / file.path), fresh))
    # A clock may be too coarse to tell two changes of the last moment apart: such files are read again.
    settled = time.time_ns() - int(RACY * 1e9)
    found = {file.path: entry for file, entry in zip(fresh, made, strict=True)}
    kept: Known = {
        file.path: ((file.size, *file.state), found.get(file.path) or known[file.path][1])
        for file in files
        if file.path not in found or file.state[1] < settled
    }
    if kept:
        _write(index, kept)
    return [found.get(file.path) or known[file.path][1] for file in files]


def _entry(path: Path) -> Entry:
    try:
        content = path.read_bytes()
    except OSError as error:
        return Entry("", problem=error.strerror or str(error))
    digest = hashlib.blake2b(content, digest_size=16).hexdigest()
    try:
        with Image.open(io.BytesIO(content)) as picture:
            turned = orientation(picture)
            return Entry(digest, *picture.size, picture.mode in GREY, turned)
    except BROKEN as error:
        return Entry(digest, problem=why(error))


def orientation(picture: Image.Image) -> int:
    """EXIF's of a picture just opened: 1 of a TIFF, which Pillow turns itself, and where it comes late."""
    if picture.format == "TIFF":
        if picture.getexif().get(ORIENTATION, 1) > 1:
            picture.load()  # from when on its size is as turned
        return 1
    if picture.format == "PNG" and "exif" not in picture.info:
        return 1
    found = picture.getexif().get(ORIENTATION, 1)
    return found if found in range(1, 9) else 1


def why(error: Exception) -> str:
    """Why a file is no whole image, in one line and without its path or a buffer's address."""
    text = " ".join(str(error).split())
    return "no image that Pillow knows" if isinstance(error, UnidentifiedImageError) else text or "damaged"


def _read(index: Path) -> Known:
    try:
        with np.load(index) as kept:
            names = kept["names"].tobytes().decode("utf-8", "surrogateescape").split("\0")
            problems = kept["problems"].tobytes().decode().split("\0")
            rest = [kept[name].tolist() for name in ("states", "numbers", "digests")]
        return {
            name: (tuple(state), Entry(digest, width, height, bool(grey), turned, problem))
            for name, problem, state, (width, height, grey, turned), digest in zip(
                names, problems, *rest, strict=True
            )
        }
    except (OSError, ValueError, LookupError, EOFError):
        return {}


def _write(index: Path, kept: Known) -> None:
    """Replaces the index. A cache that can't be written to costs time and nothing else."""
    every = [entry for _, entry in kept.values()]
    with contextlib.suppress(OSError):
        index.parent.mkdir(parents=True, exist_ok=True)
        aside = index.with_name(f".{index.name}.{uuid.uuid4().hex[:8]}")
        try:
            with aside.open("xb") as file:
                np.savez(
                    file,
                    names=_text(list(kept)),
                    states=np.array([state for state, _ in kept.values()], dtype=np.int64),
                    numbers=np.array([entry[1:5] for entry in every], dtype=np.int64),
                    digests=np.array([entry.digest for entry in every], dtype="U32"),
                    problems=_text([entry.problem for entry in every]),
                )
            os.replace(aside, index)
        finally:
            aside.unlink(missing_ok=True)


def _text(lines: list[str]) -> np.ndarray:
    return np.frombuffer("\0".join(lines).encode("utf-8", "surrogateescape"), dtype=np.uint8)
