"""The trainer's side of the loggers: a process each, started beside the run, ended within seconds of it."""

import contextlib
import logging
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cbam_ablate.config.schema import LoggerConfig, WandbConfig
from cbam_ablate.registry import Logger, find
from cbam_ablate.runs import Run
from cbam_ablate.runs.writer import RunWriter

log = logging.getLogger(__name__)
PATIENCE = 25.0
"""Seconds that each logger may take after its run has ended. W&B's own limits add up to less."""
SWEEP_PATIENCE = 90.0
"""Seconds that what is left to send of a sweep may take at its end."""


def later(word: str, root: Path) -> str:
    """The command that sends to W&B what the store holds: `word` is run=KEY or study=NAME."""
    return shlex.join(["cbam-ablate", "wandb", "push", word, f"store={root}"])


@contextmanager
def following(writer: RunWriter) -> Iterator[None]:
    """Runs a run's loggers beside the block, which must have ended the run in the store.

    Nothing that a logger does reaches the block; each has at most one line in the run's log. A run that was
    lost to another process has other loggers by now, so these end without a word.
    """
    run, log = writer.run, writer.logger
    processes: dict[str, subprocess.Popen[str]] = {}
    for name, target in _chosen(writer.cfg.logger).items():
        try:
            processes[name] = _start(target, run)
        except OSError as error:
            log.warning("%s: could not be started (%s)%s", name, error.strerror, _hint(name, run))
    try:
        yield
    finally:
        with ThreadPoolExecutor(max(1, len(processes))) as pool:
            if writer.lost:
                list(pool.map(_kill, processes.values()))
            else:
                ends = pool.map(lambda name: _end(name, processes[name], run), processes)
                for line in filter(None, ends):
                    log.info("%s", line)


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


def _end(name: str, process: "subprocess.Popen[str]", run: Run) -> str:
    """Tells a logger that its run has ended and waits for it; what it has to say, in one line."""
    try:
        if process.stdin is not None:
            process.stdin.close()
            process.stdin = None
        line, _ = process.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        _kill(process)
        return f"{name}: took more than {PATIENCE:g} s after the run{_hint(name, run)}"
    except BaseException:
        _kill(process)
        raise
    if process.returncode and not line.strip():
        return f"{name}: its process ended with code {process.returncode}{_hint(name, run)}"
    return line.strip()


def _kill(process: "subprocess.Popen[str]") -> None:
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def _hint(name: str, run: Run) -> str:
    return f"; to send it later: {later(f'run={run.key}', run.path.parents[1])}" if name == "wandb" else ""


def close_sweep(cfg: LoggerConfig, manifest: Path) -> None:
    """Sends W&B the study's table and what its runs could not send, and says how it went."""
    if wandb_mode(cfg.wandb) == "disabled":
        return
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
        log.warning("W&B: not all was sent (%s); to send it later: %s", type(error).__name__, hint)
        return
    line = done.stdout.strip()
    if line:
        log.info("%s", line)
    else:
        log.warning("W&B: not all was sent (code %d); to send it later: %s", done.returncode, hint)
