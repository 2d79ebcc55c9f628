"""What many tests share: the real program on a tiny run, and a stand-in for trained runs."""

import contextlib
import gc
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import hydra
import pytest

from tests.stand_in import StandIn
from tests.tiny import TINY

SERVER = "WARM_SERVER"
"""The environment variable that tells pytest's workers where the server that they share listens."""


def pytest_configure(config):
    """What all workers of a pytest have in common."""
    if getattr(config.option, "numprocesses", None) and SERVER not in os.environ:
        # Before torch is imported: processes with two threads each would wait for each other's.
        os.environ.setdefault("OMP_NUM_THREADS", "1")
        if hasattr(os, "pidfd_open"):
            os.environ[SERVER] = warm.Server().open()


def pytest_collection_finish():
    """What tests import is never searched for cycles again, which takes longer than many a test."""
    gc.collect()
    gc.freeze()


found = importlib.util.spec_from_file_location("warm", Path(__file__).with_name("warm.py"))
warm = importlib.util.module_from_spec(found)
found.loader.exec_module(warm)


@pytest.fixture(scope="session")
def stand_in_class():
    """For stores that several tests share."""
    return StandIn


@pytest.fixture
def stand_in(tmp_path):
    return StandIn(tmp_path / "store")


TIMES = ("seconds", "images_per_second", "train_seconds", "peak_memory_mib")


def _without_times(value):
    if isinstance(value, dict) and value.get("quantity") in TIMES:
        return value["quantity"]
    if isinstance(value, dict):
        return {name: _without_times(inner) for name, inner in value.items() if name not in TIMES}
    return [_without_times(inner) for inner in value] if isinstance(value, list) else value


def _last_of_each(words):
    """The words without those that a later one of the same name replaces, as tests vary a tiny run."""
    last = {word.partition("=")[0]: place for place, word in enumerate(words) if "=" in word}
    return [
        word for place, word in enumerate(words) if "=" not in word or last[word.partition("=")[0]] == place
    ]


class CommandLine:
    """The real program in a process of its own, with a store of its own.

    Importing it takes seconds, so the processes are forks of one that has. `cold` ones import it themselves:
    where a test is about that, or looks for processes by their command line; those of another `python` too.
    """

    server, tiny = warm.Server(os.environ.get(SERVER)), TINY

    def __init__(self, store: Path, cold: bool = False) -> None:
        self.store, self.cold, self.python = store, cold, sys.executable

    def start(self, *words: str, env=None, cold=False) -> "subprocess.Popen | warm.Process":
        words = (*_last_of_each(words), f"store={self.store}")
        env = {**os.environ, **(env or {})}
        # W&B removes its folder of media, made when it is imported, at the end of whichever process.
        cold = cold or self.cold or words[0] == "wandb" or self.python != sys.executable
        if not cold and hasattr(os, "pidfd_open"):
            return self.server.start(words, env)
        return subprocess.Popen(
            [self.python, "-m", "cbam_ablate", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=env,
            # A shell ignores Ctrl-C for what it starts in the background, and so would all that this starts.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )

    def __call__(self, *words: str, env=None, cold=False) -> subprocess.CompletedProcess:
        process = self.start(*words, env=env, cold=cold)
        out, err = process.communicate(timeout=600)
        return subprocess.CompletedProcess(words, process.returncode, out, err)

    def kill_when(self, process: subprocess.Popen, ready, number=signal.SIGKILL) -> int:
        """Sends a signal as soon as `ready()`; returns the exit code."""
        deadline = time.monotonic() + 300
        while not ready() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(number)
        process.communicate(timeout=600)
        return process.returncode

    def runs(self) -> dict[str, Path]:
        folder = self.store / "runs"
        return {path.name: path for path in folder.iterdir()} if folder.exists() else {}

    def result(self, key: str) -> dict:
        return json.loads((self.store / "runs" / key / "result.json").read_text())

    def history(self, key: str) -> list[dict]:
        lines = (self.store / "runs" / key / "history.jsonl").read_text().splitlines()
        return [json.loads(line) for line in lines]


@pytest.fixture(scope="session")
def command_line():
    """For runs that several tests share."""
    return CommandLine


@pytest.fixture
def cli(tmp_path):
    return CommandLine(tmp_path / "store")


@pytest.fixture
def tiny():
    return list(TINY)


@pytest.fixture(scope="session")
def tiny_words():
    """The same, for what several tests share."""
    return list(TINY)


@pytest.fixture
def version_base():
    """What a program tells Hydra 1.3 of the version whose defaults it wants; 1.4 warns of whoever says it."""
    return {"version_base": "1.3"} if hydra.__version__.startswith("1.3.") else {}


@pytest.fixture
def without_times():
    """Maps a JSON value to itself less whatever a clock or the memory meter put in it."""
    return _without_times


class SecondUser:
    """`with second_user():` makes this process another user's, in a group of theirs; so its files are."""

    user, group = 60_124, 60_123

    @contextlib.contextmanager
    def __call__(self):
        groups = os.getgroups()
        os.setgroups([self.group])
        os.setegid(self.user)
        os.seteuid(self.user)
        try:
            yield
        finally:
            os.seteuid(0)
            os.setegid(0)
            os.setgroups(groups)


@pytest.fixture(scope="session")
def second_user():
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        pytest.skip("only root can be a second user")
    for name in ("encodings.cp437", *warm.LIBRARIES):  # the second user may not reach this Python
        importlib.import_module(name)
    return SecondUser()


@pytest.fixture(scope="module")
def open_folder():
    """A folder that every user can reach, as the one of pytest can't be."""
    made = Path(tempfile.mkdtemp(prefix="cbam_ablate_"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)
