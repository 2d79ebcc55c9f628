"""Files whose content is part of what a run is."""

import hashlib
from functools import cache
from pathlib import Path

from cbam_ablate.errors import ConfigError


def hash_of(path: Path) -> str:
    """The sha256 of a file. Raises `ConfigError` where it can't be read."""
    try:
        known = path.stat()
    except OSError as error:
        reason = f"can't be read, and what is in it is part of what the run is ({error.strerror})"
        raise ConfigError(f"{path}: {reason}") from error
    return _hash(path, known.st_size, known.st_mtime_ns)


@cache
def _hash(path: Path, size: int, changed: int) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
