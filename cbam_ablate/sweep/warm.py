"""The server that this machine's jobs are forked from: what they import is imported once, in there."""

import atexit
import contextlib
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext
from types import ModuleType

MODULES = ["cbam_ablate.sweep.preload"]


def warm_context() -> ForkServerContext:
    """The context whose processes are forked from the server."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(MODULES)
    return context


@contextmanager
def without_script() -> Iterator[None]:
    """What starts in here doesn't run the program's own script again, which may train this very sweep."""
    script = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = script


def warm_up() -> None:
    """Starts the server, so that it imports while this process plans."""
    warm_context()
    if threading.current_thread() is not threading.main_thread():
        return
    # Ctrl-C in the terminal is for the sweep: an import would end with a traceback.
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        forkserver.ensure_running()
    finally:
        signal.signal(signal.SIGINT, before)
    atexit.register(_end)


def _end() -> None:
    """Ends a server without jobs, which would finish importing and keep the terminal until then."""
    pid = getattr(forkserver._forkserver, "_forkserver_pid", None)
    if pid is not None and not multiprocessing.active_children():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
