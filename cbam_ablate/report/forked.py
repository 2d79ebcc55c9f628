"""Files that a second process writes while this one goes on, where there is a core for it."""

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator

from cbam_ablate.fork import fork


@contextlib.contextmanager
def beside(write: Callable[[], None]) -> Iterator[None]:
    """Has files written while the block runs, and ends when both have ended.

    A fork writes them, or where there can't be one this process does, after the block.
    After a fork that ended badly this process writes them too, so that what is in the way is raised as it is.
    When the block raises, the fork is ended first.
    """
    child, written = None, False
    try:
        with _uninterrupted() if sys.platform == "linux" else contextlib.nullcontext():
            child = _fork(write)
        yield
        written = child is not None and _ended_well(child)
    except BaseException:
        if child is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
            _ended_well(child)
        raise
    if not written:
        write()


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """Has Ctrl-C wait for the block's end: what a fork calls in libraries would print it and go on."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _fork(write: Callable[[], None]) -> int | None:
    """The process id of a fork that writes and ends; None where there is none."""
    child = fork()
    if child != 0:
        return child
    code = 1
    try:
        write()
        code = 0
    finally:
        os._exit(code)


def _ended_well(child: int) -> bool:
    try:
        return os.waitpid(child, 0)[1] == 0
    except ChildProcessError:  # where ended processes are not to be asked for (SIGCHLD is ignored)
        return False
