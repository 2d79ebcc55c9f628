"""What many tests share: the real program on a tiny run, and a stand-in for trained runs."""

import contextlib
import hashlib
import importlib.util
import itertools
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

if "PYTEST_XDIST_WORKER" in os.environ:
    # Before torch is imported: processes with two threads each would wait for each other's.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

found = importlib.util.spec_from_file_location("warm", Path(__file__).with_name("warm.py"))
warm = importlib.util.module_from_spec(found)
found.loader.exec_module(warm)

CONSTANTS = {
    "model.backbone": "resnet_cifar",
    "model.depth": 20,
    "data.name": "cifar10",
    "train.epochs": 5,
    "train.batch_size": 128,
    "train.device": "cpu",
    "optimizer.name": "sgd",
    "optimizer.lr": 0.1,
    "schedule.name": "cosine",
    "store": "outputs",
}
PLACEMENT = "model.attention.placement"
WITHOUT = {"model.attention.reduction", "model.attention.kernel"}
"""What placement=none leaves without effect."""


class StandIn:
    """A store with one study. `score(axes)` gives a run's test accuracy in percent, or a status to leave."""

    def __init__(self, root: Path, study: str = "trial") -> None:
        self.root, self.study = root, study

    @property
    def folder(self) -> Path:
        return self.root / "studies" / self.study

    def run(self, key: str) -> Path:
        return self.root / "runs" / key

    def build(self, axes, score, table=None, constants=None, command=None, epochs=5):
        """Writes the manifest and every run; returns run keys by the axis values, seed last."""
        keys, cells, runs = {}, [], {}
        for values in itertools.product(*axes.values()):
            chosen = dict(zip(axes, values, strict=True))
            if chosen.get(PLACEMENT) == "none":
                chosen = {name: None if name in WITHOUT else value for name, value in chosen.items()}
            text = json.dumps(chosen, sort_keys=True)
            key = hashlib.sha256(text.encode()).hexdigest()[:16]
            if {"axes": chosen, "key": key} in cells:
                continue
            cells.append({"axes": chosen, "key": key})
            runs[key] = {name: value for name, value in chosen.items() if value is not None}
            keys[tuple(chosen.values())] = key
            outcome = score(chosen)
            if isinstance(outcome, dict):
                self.fail(key, **outcome)
            elif outcome is not None:
                self.finish(key, outcome, epochs=epochs)
        every = {**CONSTANTS, **(constants or {})}
        if "seed" not in axes:
            every["seed"] = 0
        self.write_manifest(
            {
                "schema": 1,
                "study": self.study,
                "command": command or ["cbam-ablate", "train", f"study={self.study}"],
                "axes": axes,
                "constants": every,
                "runs": runs,
                "costs": {key: {"params": 272_474, "macs": 40_813_184} for key in runs},
                "cells": cells,
                "sweep": {},
                "table": table or {},
            }
        )
        return keys

    def write_manifest(self, manifest) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "manifest.json").write_text(json.dumps(manifest))

    def manifest(self) -> dict:
        return json.loads((self.folder / "manifest.json").read_text())

    def finish(self, key, top1, epochs=5, **changes) -> dict:
        """Writes a finished run's result, history and status. `changes` replace sections or update them."""
        folder = self.run(key)
        folder.mkdir(parents=True, exist_ok=True)
        metrics = {"test_top1": top1, "test_top5": min(100.0, top1 + 4), "test_loss": 2 - top1 / 100}
        metrics |= {
            "last_test_top1": top1 - 0.1,
            "val_top1": top1 + 0.3,
            "val_loss": 1.5,
            "train_top1": top1 + 2,
        }
        result = {
            "schema": 1,
            "key": key,
            "metrics": metrics,
            "selection": {"rule": "highest validation top-1", "epoch": 4, "epochs": epochs},
            "cost": {
                "params": 272_474, "macs": 40_813_184, "train_seconds": 31.5, "images_per_second": 1234.5,
                "peak_memory_mib": 812.0,
            },
            "parent": None,
            "provenance": {
                "git_commit": "0561ceb" + 33 * "0", "git_dirty": False, "code_sha256": 64 * "a",
                "versions": {"python": "3.11.7", "torch": "2.13.0"}, "device": "cpu: Some CPU",
                "precision": "fp32", "threads": 2, "dataset_sha256": 64 * "d", "host": "somewhere",
                "command": ["cbam-ablate", "train"], "finished": "2026-11-21T10:00:00+00:00",
            },
        }  # fmt: skip
        for name, value in changes.items():
            result[name] = {**result[name], **value} if isinstance(value, dict) else value
        (folder / "result.json").write_text(json.dumps(result))
        (folder / "status.json").write_text(json.dumps({"state": "finished"}))
        (folder / "config.json").write_text(json.dumps({"seed": 0, "model": {"backbone": "resnet_cifar"}}))
        lines = [
            {
                "epoch": epoch, "train_loss": 2 / epoch, "train_top1": top1 * epoch / epochs,
                "val_loss": 2.1 / epoch, "val_top1": (top1 + 0.3) * epoch / epochs, "val_top5": 89.0,
                "lr": 0.1, "seconds": 6.0, "images_per_second": 1200.0,
            }
            for epoch in range(1, epochs + 1)
        ]  # fmt: skip
        (folder / "history.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        return result

    def fail(self, key, state="failed", failure="diverged", error="loss is nan at epoch 2, step 7") -> None:
        folder = self.run(key)
        folder.mkdir(parents=True, exist_ok=True)
        status = {"state": state, "class": failure, "error": error}
        (folder / "status.json").write_text(json.dumps(status))


@pytest.fixture(scope="session")
def stand_in_class():
    """For stores that several tests share."""
    return StandIn


@pytest.fixture
def stand_in(tmp_path):
    return StandIn(tmp_path / "store")


TINY = [
    "data=synthetic",
    "data.train_size=128",
    "backbone=resnet_cifar",
    "model.width=4",
    "reduction=4",
    "train.epochs=3",
    "train.batch_size=64",
    "train.precision=fp32",
    "train.device=cpu",
    "train.threads=1",
]
"""A run of half a second."""
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

    server, tiny = warm.Server(), TINY

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
