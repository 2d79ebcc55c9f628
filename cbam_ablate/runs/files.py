"""Files that are whole or not there: write aside, then rename."""

import contextlib
import errno
import json
import os
import tempfile
import uuid
from pathlib import Path
from typing import Any

READ_ONLY = (errno.EACCES, errno.EPERM, errno.EROFS)
"""What a system says of a folder that may only be read."""


def write_text(path: Path, text: str, sync: bool = False) -> None:
    """Replaces the file at once; a reader sees the old content or the new one.

    With `sync` that holds after a power cut too.
    """
    write_bytes(path, text.encode(), sync)


def write_bytes(path: Path, content: bytes, sync: bool = False) -> None:
    """As `write_text`."""
    aside = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    try:
        with aside.open("xb") as file:
            file.write(content)
            if sync:
                file.flush()
                os.fsync(file.fileno())
        os.replace(aside, path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise


def make_aside(folder: Path) -> Path:
    """A new folder beside one that it will take the place of, with the modes that the umask gives."""
    aside = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}")
    aside.mkdir()
    return aside


def make_own(path: Path) -> None:
    """Makes a log that another user began and that this one may not write a file of its own.

    What it holds stays in it; where that may not be read either, it is kept beside it. A log that can't be
    had is no error.
    """
    try:
        with path.open("ab"):
            return
    except PermissionError:
        pass
    except OSError:
        return
    with contextlib.suppress(OSError):
        try:
            write_bytes(path, path.read_bytes())
        except PermissionError:
            path.rename(path.with_name(f"{path.name}.{uuid.uuid4().hex[:8]}"))


def forbidden(path: Path) -> bool:
    """Whether a file is there that this user may not read."""
    try:
        with path.open("rb"):
            return False
    except PermissionError:
        return True
    except OSError:
        return False


def unwritable(folder: Path) -> str | None:
    """Why this user may write nothing to a folder, in the system's words; None where that isn't so."""
    there = next((one for one in (folder, *folder.absolute().parents) if one.is_dir()), folder)
    try:
        with tempfile.TemporaryFile(dir=there):
            return None
    except OSError as error:
        return os.strerror(error.errno) if error.errno in READ_ONLY else None


def owner_of(path: Path) -> str:
    """The user whose file or folder it is, by name or number."""
    try:
        return path.owner()
    except KeyError:
        return f"user {path.stat().st_uid}"
    except OSError:
        return "another user"


def write_json(path: Path, value: Any, sync: bool = False) -> None:
    """Replaces a JSON file at once. NaN and infinity are refused: they are not JSON."""
    write_text(path, json.dumps(value, indent=1, allow_nan=False) + "\n", sync)


def read_json(path: Path) -> dict[str, Any] | None:
    """The object a JSON file holds, or None where it can't be read or isn't such an object."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The objects of a JSON-lines file; lines that a crash cut short are left out."""
    try:
        return parse_lines(path.read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return []


def parse_lines(text: str) -> list[dict[str, Any]]:
    """The objects of JSON lines, as `read_lines` gives them."""
    found = []
    for line in text.splitlines():
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict):
            found.append(value)
    return found


def read_bytes(path: str | Path) -> bytes:
    """A file's content; over thousands of small files, file objects cost more than the reading."""
    handle = os.open(path, os.O_RDONLY)
    try:
        parts = []
        while part := os.read(handle, 1 << 20):
            parts.append(part)
        return b"".join(parts)
    finally:
        os.close(handle)
