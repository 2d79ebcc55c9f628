"""Who trains a run: at most one process at a time, on any number of machines that share the store.

Claims are numbered files that only ever get added, created by a hard link, which is atomic on NFS too. The
highest number counts. It is free once its holder has released it, is dead, or has been silent on another
machine for `SILENCE` seconds.
"""

import contextlib
import json
import os
import socket
import tempfile
import time
from functools import cache
from pathlib import Path
from typing import Any

from cbam_ablate.runs.files import read_json, write_json

SILENCE = 120.0
"""Seconds without a heartbeat after which a holder on another machine counts as dead."""


class Claim:
    """The right to train one run, held until `release`."""

    def __init__(self, path: Path, identity: dict[str, Any]) -> None:
        self.path = path
        self._identity = identity

    def release(self) -> None:
        write_json(self.path, {**self._identity, "released": True})


def acquire(folder: Path) -> Claim | None:
    """Claims the run in `folder`, or returns None where a live process holds it."""
    claims = folder / "claims"
    claims.mkdir(parents=True, exist_ok=True)
    number = _highest(claims)
    if _live(folder, claims / f"{number}.json"):
        return None
    identity = {**identify(os.getpid()), "since": time.time()}
    handle, name = tempfile.mkstemp(dir=claims, prefix=".claim")
    try:
        with os.fdopen(handle, "w") as file:
            json.dump(identity, file)
        path = claims / f"{number + 1}.json"
        os.link(name, path)
    except FileExistsError:
        return None
    finally:
        os.unlink(name)
    return Claim(path, identity)


def holder(folder: Path) -> dict[str, Any] | None:
    """The live holder of a run's claim: host, pid, since; None where there is none."""
    claims = folder / "claims"
    path = claims / f"{_highest(claims)}.json"
    return read_json(path) if _live(folder, path) else None


def _highest(claims: Path) -> int:
    with contextlib.suppress(FileNotFoundError):
        return max((int(path.stem) for path in claims.glob("[0-9]*.json")), default=0)
    return 0


def _live(folder: Path, path: Path) -> bool:
    claim = read_json(path)
    if claim is None or claim.get("released"):
        return False
    if claim.get("machine") == _machine():
        return lives(claim)
    try:
        beat = max(file.stat().st_mtime for file in (path, folder / "status.json") if file.exists())
    except ValueError:
        return False
    return time.time() - beat < SILENCE


def identify(pid: int) -> dict[str, Any]:
    """What tells a process of this machine from every other, before and after a restart."""
    return {"host": socket.gethostname(), "machine": _machine(), "pid": pid, "started": _started(pid)}


def lives(identity: dict[str, Any]) -> bool:
    """Whether the process with this identity is alive; of those on other machines nothing is known: False."""
    started = identity.get("started")
    return identity.get("machine") == _machine() and _started(int(identity.get("pid", 0))) == started


@cache
def _machine() -> str:
    """Tells apart machines, their boots, and containers that number processes separately."""
    parts = [socket.gethostname()]
    for source in ("/proc/sys/kernel/random/boot_id", "/proc/self/ns/pid"):
        with contextlib.suppress(OSError):
            path = Path(source)
            parts.append(os.readlink(path) if path.is_symlink() else path.read_text().strip())
    return " ".join(parts)


def _started(pid: int) -> str | None:
    """When a process started, which tells it from a later one of the same number; None where it is dead."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        if Path("/proc/self").exists():
            return None
        with contextlib.suppress(OSError):
            os.kill(pid, 0)
            return "alive"
        return None
    return None if fields[0] == "Z" else fields[19]
