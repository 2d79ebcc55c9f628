"""The trainer's side of the loggers: a process each, started beside the run, ended within seconds of it."""

import contextlib
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, cast

from cbam_ablate.config.schema import LoggerConfig, RunConfig, WandbConfig
from cbam_ablate.registry import Logger, find
from cbam_ablate.runs import Run

DRAW = [sys.executable, "-m", "cbam_ablate.loggers.draw"]
PATIENCE = 25.0
"""Seconds that loggers may take after their run has ended. W&B's own limits add up to less."""
SWEEP_PATIENCE = 90.0
"""Seconds that what is left to draw or to send of a sweep may take at its end."""


def later(word: str, root: Path) -> str:
    """The command that sends to W&B what the store holds: `word` is run=KEY or study=NAME."""
    return shlex.join(["cbam-ablate", "wandb", "push", word, f"store={root}"])


@contextmanager
def following(run: Run, cfg: RunConfig, say: Callable[[str], None]) -> Iterator[None]:
    """Runs the loggers that `cfg` asks for beside the block, which must have ended the run in the store.

    Nothing that a logger does reaches the block. `say` takes at most one line from each.
    """
    processes: dict[str, subprocess.Popen[str]] = {}
    for name, target in _chosen(cfg.logger).items():
        try:
            processes[name] = _start(target, run)
        except OSError as error:
            _tell(say, f"{name}: could not be started ({error.strerror}){_hint(name, run)}")
    try:
        yield
    finally:
        for line in _end(processes, run):
            _tell(say, line)


@contextmanager
def viewing() -> Iterator[Callable[[Iterable[Run]], None]]:
    """A process beside the block makes the views of those runs it is given that have finished.

    It ends when it has made them, also where this process is killed. If it can't, stderr says so.
    """
    try:
        # A group of its own: Ctrl-C in the terminal is for the sweep.
        process = subprocess.Popen(DRAW, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, process_group=0)
    except OSError as error:
        print(f"no curves are drawn: {error}", file=sys.stderr)
        yield lambda runs: None
        return
    missed = 0
    try:
        with cast(IO[bytes], process.stdin) as asked:
            os.set_blocking(asked.fileno(), False)  # one that hangs isn't waited for

            def view(runs: Iterable[Run]) -> None:
                nonlocal missed
                for run in runs:
                    if run.result() is not None:
                        try:
                            os.write(asked.fileno(), f"{json.dumps(str(run.path.absolute()))}\n".encode())
                        except OSError:
                            missed += 1

            yield view
    finally:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(SWEEP_PATIENCE)
        if missed or process.returncode:
            print("not all curves are drawn; the next sweep of the study draws them", file=sys.stderr)


def wandb_mode(cfg: WandbConfig) -> Any:
    """online, offline or disabled; `auto` is online as far as W&B's own environment goes."""
    if not cfg.enabled:
        return "disabled"
    return os.environ.get("WANDB_MODE", "online") if cfg.mode == "auto" else cfg.mode


def _chosen(cfg: LoggerConfig) -> dict[str, str]:
    """`module:Class` of each logger by name."""
    found = dict(cfg.own)
    if cfg.tensorboard:
        found["tensorboard"] = "tensorboard"
    if wandb_mode(cfg.wandb) != "disabled":
        found["wandb"] = "wandb"
    return {name: find(Logger, target).builder for name, target in found.items()}


def _start(target: str, run: Run) -> "subprocess.Popen[str]":
    # A session of its own: Ctrl-C in the terminal is for the run, and the logger hears of its end.
    return subprocess.Popen(
        [sys.executable, "-m", "cbam_ablate.loggers.follow", target, str(run.path.absolute())],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )


def _end(processes: "dict[str, subprocess.Popen[str]]", run: Run) -> Iterator[str]:
    """Tells all that the run has ended, waits for them and yields what they have to say."""
    deadline = time.monotonic() + PATIENCE
    for process in processes.values():
        if process.stdin is not None:
            process.stdin.close()
            process.stdin = None
    try:
        for name, process in processes.items():
            try:
                said, _ = process.communicate(timeout=max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                yield f"{name}: took more than {PATIENCE:g} s after the run{_hint(name, run)}"
                continue
            if said.strip():
                yield said.strip()
            elif process.returncode:
                yield f"{name}: its process ended with code {process.returncode}{_hint(name, run)}"
    finally:
        for process in processes.values():
            if process.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.communicate()


def _hint(name: str, run: Run) -> str:
    return f"; to send it later: {later(f'run={run.key}', run.path.parents[1])}" if name == "wandb" else ""


def _tell(say: Callable[[str], None], line: str) -> None:
    # The log may be on a disk that is full; the run's outcome is written already.
    with contextlib.suppress(OSError):
        say(line)


def close_sweep(cfg: LoggerConfig, manifest: Path) -> str | None:
    """Sends W&B the study's table and what its runs could not send; the line that says how it went."""
    if wandb_mode(cfg.wandb) == "disabled":
        return None
    hint = later(f"study={manifest.parent.name}", manifest.parents[2])
    try:
        done = subprocess.run(
            [sys.executable, "-m", "cbam_ablate.loggers.wandb_push", str(manifest.absolute())],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SWEEP_PATIENCE,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"W&B: not all was sent ({type(error).__name__}); to send it later: {hint}"
    return done.stdout.strip() or f"W&B: not all was sent (code {done.returncode}); to send it later: {hint}"
