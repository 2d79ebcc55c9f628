"""Files that a second process writes while this one goes on, where there is a core for it."""

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def beside(write: Callable[[], None]) -> Iterator[None]:
    """Has files written while the block runs, and ends when both have ended.

    A fork writes them where there are two cores and no other threads, else this process does after the block.
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
    if sys.platform != "linux" or len(os.sched_getaffinity(0)) < 2:
        return None
    try:
        if len(os.listdir("/proc/self/task")) > 1:  # a fork would wait for what another thread holds
            return None
        child = os.fork()
    except OSError:
        return None
    if child:
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
