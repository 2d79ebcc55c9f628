"""A second process of the same program, where it gains something and is safe."""

import os
import sys


def fork() -> int | None:
    """As `os.fork`: the fork's number, and 0 in the fork; but None, and no fork, without Linux and a second
    core, beside another thread, whose locks it would wait for, and where no process can be made.
    """
    if sys.platform != "linux" or len(os.sched_getaffinity(0)) < 2:
        return None
    try:
        return None if len(os.listdir("/proc/self/task")) > 1 else os.fork()
    except OSError:
        return None
