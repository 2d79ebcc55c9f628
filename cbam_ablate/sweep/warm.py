"""The server that this machine's jobs are forked from: what they import is imported once, in there."""

import atexit
import contextlib
import multiprocessing
import os
import signal
import threading
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext

MODULES = ["cbam_ablate.sweep.preload"]


def warm_context() -> ForkServerContext:
    """The context whose processes are forked from the server."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(MODULES)
    return context


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
