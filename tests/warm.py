"""Commands of the program as processes of their own that needn't import it: forks of one that has.

`Server().start(words, env)` is like `subprocess.Popen` of `python -m cbam_ablate`: a process with a pid of
its own, that any signal ends, in that environment and this folder. The server behind it is this file,

    python warm.py FD

At the socket FD it listens for pytest's workers, which share it. Each message of theirs is a command's words,
environment and folder as JSON, with the file descriptors of its report, stdin, stdout and stderr. The report
gets the line "PID" at once and the line "CODE" at its end. The server imports when the first worker asks, and
ends when nobody holds the other end of its stdin. A sweep's own server, which its jobs are forked from, is a
fork of the sweep here.
"""

import atexit
import contextlib
import gc
import importlib.machinery
import json
import os
import pkgutil
import runpy
import select
import selectors
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from multiprocessing import forkserver, util

LIBRARIES = ["matplotlib.backends.backend_agg", "matplotlib.figure", "pandas", "scipy.stats"]
"""What commands import when they need it."""
LARGEST = 1 << 20
"""Bytes of a message."""


class Process:
    """One command, with what tests use of `subprocess.Popen`."""

    def __init__(self, args: list[str], report: int, out: int, err: int) -> None:
        self.args, self.returncode = args, None
        self._report = os.fdopen(report)
        pid = self._report.readline()
        if not pid:
            raise RuntimeError(f"{__file__} has ended: its own stderr says why")
        self.pid = int(pid)
        self._output = {os.fdopen(number, "rb", buffering=0): b"" for number in (out, err)}

    def poll(self) -> int | None:
        if self.returncode is None and select.select([self._report], [], [], 0)[0]:
            # Without a line, the server is gone, and with it the way to know how this ended.
            self.returncode = int(self._report.readline() or -signal.SIGKILL)
            self._report.close()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None and not select.select([self._report], [], [], timeout)[0]:
            raise subprocess.TimeoutExpired(self.args, timeout)
        return self.poll()

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        deadline = None if timeout is None else time.monotonic() + timeout
        while opened := [stream for stream in self._output if not stream.closed]:
            left = None if deadline is None else max(0, deadline - time.monotonic())
            ready = select.select(opened, [], [], left)[0]
            if not ready:
                raise subprocess.TimeoutExpired(self.args, timeout)
            for stream in ready:
                part = stream.read(1 << 16)
                self._output[stream] += part
                if not part:
                    stream.close()
        self.wait(None if deadline is None else max(0, deadline - time.monotonic()))
        out, err = (output.decode() for output in self._output.values())
        return out, err

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)


class Server:
    """The process that commands are forked from: one of our own, or one that listens at an address."""

    def __init__(self, address: str | None = None) -> None:
        self.address, self._socket = address, None

    def open(self) -> str:
        """Starts the process; returns the address at which it listens."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listening:
            listening.bind("")  # Linux finds a free name, which begins with a zero byte and is no file.
            listening.listen()
            self.address = listening.getsockname()[1:].decode()
            self._process = subprocess.Popen(
                [sys.executable, __file__, str(listening.fileno())],
                pass_fds=[listening.fileno()],
                stdin=subprocess.PIPE,
            )
        atexit.register(self.close)
        return self.address

    def start(self, words: list[str], env: dict[str, str]) -> Process:
        if self._socket is None:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            self._socket.connect(f"\0{self.address or self.open()}")
        ours, theirs = zip(*(os.pipe() for _ in range(3)), strict=True)
        stdin = os.open(os.devnull, os.O_RDONLY)
        message = json.dumps({"words": words, "env": env, "folder": os.getcwd()}).encode()
        socket.send_fds(self._socket, [message], [theirs[0], stdin, *theirs[1:]])
        for descriptor in (stdin, *theirs):
            os.close(descriptor)
        return Process(["cbam_ablate", *words], *ours)

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()


def serve(listening: socket.socket) -> dict:
    """The command that this process, forked from the server, is to be."""
    waiting = selectors.DefaultSelector()
    waiting.register(listening, selectors.EVENT_READ)
    waiting.register(sys.stdin, selectors.EVENT_READ)
    while True:
        for key, _ in waiting.select():
            if key.fileobj is sys.stdin:
                os._exit(0)
            elif key.fileobj is listening:
                control, _ = listening.accept()
                if user_of(control) == os.getuid():  # Anybody may connect to such an address.
                    waiting.register(control, selectors.EVENT_READ)
                else:
                    control.close()
            elif key.data:
                waiting.unregister(key.fileobj)
                ended(key.fileobj, *key.data)
            elif command := asked(waiting, key.fileobj):
                return command


def user_of(control: socket.socket) -> int:
    """Who is at the other end."""
    _, user, _ = struct.unpack("3i", control.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return user


def asked(waiting: selectors.BaseSelector, control: socket.socket) -> dict | None:
    """In a fork of its own, the command that a worker asks for."""
    message, descriptors, _, _ = socket.recv_fds(control, LARGEST, 4)
    if not message:
        waiting.unregister(control)
        control.close()
        return None
    report, *standard = descriptors
    pid = os.fork()
    if pid == 0:
        opened = [key.fileobj for key in waiting.get_map().values()]
        waiting.close()
        for one in opened:
            if isinstance(one, socket.socket):
                one.detach()
        keep_only(standard)
        for number, descriptor in enumerate(standard):
            os.dup2(descriptor, number)
            os.close(descriptor)
        return json.loads(message)
    for descriptor in standard:
        os.close(descriptor)
    tell(report, pid)
    waiting.register(os.pidfd_open(pid), selectors.EVENT_READ, (pid, report))
    return None


def ended(handle: int, pid: int, report: int) -> None:
    """Tells of a fork's end and closes what was open for it."""
    tell(report, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    os.close(report)
    os.close(handle)


def tell(report: int, number: int) -> None:
    with contextlib.suppress(BrokenPipeError):
        os.write(report, f"{number}\n".encode())


def keep_only(kept: list[int]) -> None:
    """Closes all other file descriptors but the standard ones, as the start of a program does."""
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 2 and int(name) not in kept:
            with contextlib.suppress(OSError):
                os.close(int(name))


def become(command: dict) -> None:
    """Environment, folder, streams, signals and paths, as a fresh interpreter of the command has them."""
    os.environ.clear()
    os.environ.update(command["env"])
    os.chdir(command["folder"])
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.stdin, sys.stdout = os.fdopen(0, closefd=False), os.fdopen(1, "w", closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, errors="backslashreplace", closefd=False)
    sys.argv = ["cbam_ablate", *command["words"]]
    sys.orig_argv = [sys.executable, "-m", *sys.argv]
    paths = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    sys.path[:] = [command["folder"], *paths, *sys.path[1:]]
    found = importlib.machinery.PathFinder.find_spec("sitecustomize", paths)
    if found and found.origin != getattr(sys.modules.get("sitecustomize"), "__file__", None):
        sys.modules.pop("sitecustomize", None)
        importlib.import_module("sitecustomize")
    util.spawnv_passfds = forking(util.spawnv_passfds)


def forking(plain):
    """Makes the server of a sweep's jobs a fork of the sweep, and starts all else as before."""

    def start(path, args, descriptors):
        if not args[-1].startswith("from multiprocessing.forkserver import"):
            return plain(path, args, descriptors)
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        pid = os.fork()
        if pid == 0:
            keep_only(descriptors)
            for number in signal.valid_signals():
                if callable(signal.getsignal(number)):
                    signal.signal(number, signal.SIG_DFL)
            forkserver._forkserver._lock = threading.Lock()
            try:
                exec(args[-1], {"__name__": "__main__"})
            finally:
                os._exit(0)
        return pid

    return start


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    listening = socket.socket(fileno=int(sys.argv[1]))
    if sys.stdin in select.select([listening, sys.stdin], [], [])[0]:
        sys.exit()
    from cbam_ablate import cli
    from cbam_ablate.sweep.warm import MODULES
    from cbam_ablate.torchvision_shim import import_torchvision

    import_torchvision()
    commands = [f"cbam_ablate.cli.{module.name}" for module in pkgutil.iter_modules(cli.__path__)]
    for name in [*commands, *MODULES, *LIBRARIES]:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()
    become(serve(listening))
    runpy.run_module("cbam_ablate", run_name="__main__", alter_sys=True)
