"""Who trains a run: at most one process at a time, on any number of machines that share the store.

Claims are numbered files that only ever get added. The highest number counts, and its holder looks for a
higher one before each write to the run's folder. A claim is free once its holder has released it or is dead;
of a holder on another machine only its heartbeat is known, so it counts as dead once that stood still for
`SILENCE` seconds while this process watched, whatever the clocks say.
"""

import contextlib
import errno
import os
import re
import socket
import time
import uuid
from functools import cache
from pathlib import Path
from typing import Any

from cbam_ablate.errors import StoreError
from cbam_ablate.runs.files import forbidden, owner_of, read_json, write_json

SILENCE = 120.0
"""Seconds without a heartbeat after which a holder on another machine counts as dead."""
LOOK = 1.0
"""Seconds between looks at a heartbeat that is watched."""
WRITING = 1.0
"""Seconds that the content of a claim may come after its file, where there are no hard links."""
NO_LINKS = {errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP, errno.EMLINK, errno.EXDEV, errno.EACCES}
"""What file systems say that have no hard links."""
NO_FOLDER = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}
"""What is said of a folder that isn't there, whose place a file has, or a link in a circle."""


class LostClaimError(StoreError):
    """Another process has the run now; this one must not write to its folder."""


class Claim:
    """The right to train one run, held until `release` or until somebody else has taken it."""

    def __init__(self, path: Path, identity: dict[str, Any]) -> None:
        self.path = path
        self._identity = identity
        self._next = path.with_name(f"{int(path.stem) + 1}.json")

    def check(self) -> None:
        """Raises `LostClaimError` where the run is another's by now, or its folder was set aside."""
        if self._next.exists():
            other = read_json(self._next) or {}
            who = f"{other.get('host', 'another machine')}, process {other.get('pid', 'unknown')}"
            raise LostClaimError(
                f"run {self.path.parents[1].name} was taken over by {who}, while this process was silent"
            )
        if (read_json(self.path) or {}).get("token") != self._identity["token"]:
            raise LostClaimError(f"run {self.path.parents[1].name} was set aside and is no longer here")

    def release(self) -> None:
        """Frees the run, unless it is another's by now."""
        with contextlib.suppress(LostClaimError):
            self.check()
            write_json(self.path, {**self._identity, "released": True})


def acquire(folder: Path, watch: bool = False) -> Claim | None:
    """Claims the run in `folder`, or returns None where a live process holds it.

    With `watch` it takes the time to find out whether a holder on another machine lives: as long as it is
    silent, up to `SILENCE`. Without, a holder counts as alive until this process has watched for so long.
    Raises `StoreError` where the folder is another user's and not this one's to write.
    """
    try:
        return _acquire(folder, watch)
    except PermissionError as error:
        raise StoreError(
            f"run {folder.name}: {folder} is {owner_of(folder)}'s, and its claims are not yours to write "
            "(chmod -R g+rwX, and umask 002 from then on, share it with the group)"
        ) from error


def _acquire(folder: Path, watch: bool) -> Claim | None:
    claims = folder / "claims"
    claims.mkdir(parents=True, exist_ok=True)
    path = _highest(claims)
    while path is not None and _live(folder, path):
        if not watch or _same_machine(path) or _beat_since(folder, path):
            return None
        time.sleep(LOOK)
        path = _highest(claims)
    return _add(claims, path, {})


def free_if_dead(folder: Path) -> None:
    """Lets any process have the run whose holder, on another machine, this one takes for dead.

    Others, which have not watched it, would have to for as long.
    """
    claims = folder / "claims"
    path = _highest(claims) if claims.is_dir() else None
    if path is None or _same_machine(path) or (read_json(path) or {}).get("released"):
        return
    if not _live(folder, path):
        _add(claims, path, {"released": True})


def holder(folder: Path) -> dict[str, Any] | None:
    """The live holder of a run's claim: host, pid, since; None where there is none."""
    path = _highest(folder / "claims")
    return read_json(path) or {} if path is not None and _live(folder, path) else None


def describe(claim: dict[str, Any]) -> str:
    """A holder in words."""
    return f"process {claim.get('pid', 'unknown')} on {claim.get('host', 'an unknown machine')}"


def _add(claims: Path, highest: Path | None, extra: dict[str, Any]) -> Claim | None:
    """The next claim; None where another process was first."""
    identity = {**identify(os.getpid()), "since": time.time(), "token": uuid.uuid4().hex, **extra}
    path = claims / f"{int(highest.stem) + 1 if highest else 1}.json"
    aside = claims / f".{identity['token']}"
    try:
        write_json(aside, identity)
        try:
            os.link(aside, path)
        except OSError as error:
            if error.errno not in NO_LINKS:
                raise
            with path.open("x", encoding="utf-8") as file:
                file.write(aside.read_text(encoding="utf-8"))
    except FileExistsError:
        return None
    finally:
        aside.unlink(missing_ok=True)
    return Claim(path, identity)


def why_no_links(file: str) -> str | None:
    """Why no hard link can be made of a file, in the system's words; None where it can."""
    link = f"{file}.{uuid.uuid4().hex[:8]}"
    try:
        os.link(file, link)
    except OSError as error:
        return os.strerror(error.errno or 0) if error.errno in NO_LINKS else None
    os.unlink(link)
    return None


def _highest(claims: Path) -> Path | None:
    """The claim that counts; copies that a file synchroniser made under other names don't."""
    try:
        names = [name for name in os.listdir(claims) if re.fullmatch(r"[0-9]+\.json", name)]
    except OSError as error:
        if error.errno not in NO_FOLDER:
            raise
        return None
    return claims / max(names, key=lambda name: int(name.partition(".")[0])) if names else None


def _same_machine(path: Path) -> bool:
    return bool((read_json(path) or {}).get("machine") == _machine())


_seen: dict[Path, tuple[bytes, float, bool]] = {}
"""By claim: the heartbeat that this process saw last, since when, and whether it had changed before."""


def _live(folder: Path, path: Path) -> bool:
    claim = read_json(path)
    if claim is not None and claim.get("released"):
        return False
    if claim is not None and claim.get("machine") == _machine():
        return lives(claim)
    denied = claim is None and forbidden(path)
    if denied and (read_json(folder / "status.json") or {}).get("state") not in (None, "running"):
        return False
    now, beat = time.monotonic(), _beat(folder / "status.json")
    last, since, changed = _seen.get(path, (beat, now, False))
    if beat != last:
        since, changed = now, True
    _seen[path] = beat, since, changed
    return now - since < (SILENCE if claim is not None or denied else WRITING)


def _beat(status: Path) -> bytes:
    """What changes with each heartbeat: the file's content, or its time where it may not be read."""
    try:
        return status.read_bytes()
    except PermissionError:
        with contextlib.suppress(OSError):
            return str(status.stat().st_mtime_ns).encode()
    except OSError:
        pass
    return b""


def _beat_since(folder: Path, path: Path) -> bool:
    """Whether the heartbeat moved since this process first saw it."""
    return _seen[path][2]


def identify(pid: int) -> dict[str, Any]:
    """What tells a process of this machine from every other, before and after a restart."""
    return {"host": socket.gethostname(), "machine": _machine(), "pid": pid, "started": _started(pid)}


def lives(identity: dict[str, Any]) -> bool:
    """Whether the process with this identity is alive; of those on other machines nothing is known: False."""
    if identity.get("machine") != _machine():
        return False
    try:
        started = _started(int(identity.get("pid", 0)))
    except (TypeError, ValueError):
        return False
    return started is not None and started == identity.get("started")


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
    """When a process started, which tells it from a later one of the same number; None where it is dead.

    In ticks since the boot where the system says it, since a time of day moves when the clock is set.
    """
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
