"""Jobs on this machine: a process each, forked from a warm server, so that imports are paid once.

A job is one run, or a group of runs that are trained together.
"""

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import wait
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path

from cbam_ablate.runs import Run, RunStore
from cbam_ablate.runs.writer import mark_ended
from cbam_ablate.sweep.fused import run_group
from cbam_ablate.sweep.manifest import read
from cbam_ablate.sweep.slots import Slot

GRACE = 30.0
"""Seconds that a job past its time limit has to end by itself before it is killed."""
WARM = ["cbam_ablate.sweep.local", "cbam_ablate.loggers.curves", "torch._dynamo", "torch.utils.flop_counter"]
"""What jobs import: done once, in the server they are forked from."""


@dataclass
class _Job:
    process: ForkServerProcess
    slot: Slot
    runs: list[Run]
    deadline: float


def run_jobs(manifest_path: Path, keys: Sequence[Sequence[str]], slots: Sequence[Slot]) -> None:
    """Runs jobs, each the keys of its runs, until all ended or the study was told to stop.

    How they ended is in the store.
    On Ctrl-C running jobs save and end before KeyboardInterrupt goes on; a second one kills them.
    """
    pool = _Pool(manifest_path)
    try:
        pool.work([list(job) for job in keys], list(slots))
    except KeyboardInterrupt:
        pool.end()
        raise


def run_here(manifest_path: Path, keys: Sequence[Sequence[str]]) -> None:
    """Runs jobs one after another in this process, for debugging."""
    for job in keys:
        if any(state.name == "interrupted" for state in run_group(manifest_path, job, print)):
            raise KeyboardInterrupt


class _Pool:
    def __init__(self, manifest_path: Path) -> None:
        self.path = manifest_path
        self.manifest = read(manifest_path)
        self.store = RunStore(self.manifest["constants"]["store"])
        self.stop_file = manifest_path.with_name("stop")
        self.context: ForkServerContext = multiprocessing.get_context("forkserver")
        self.context.set_forkserver_preload(WARM)
        self.jobs: list[_Job] = []

    def work(self, waiting: list[list[str]], free: list[Slot]) -> None:
        while self.jobs or waiting:
            if self.stop_file.exists():
                return self.end()
            while waiting and free:
                self.jobs.append(self._start(waiting.pop(0), free.pop(0)))
            free += self._collect()
        return None

    def end(self) -> None:
        """Asks running jobs to save and end, and waits for them; Ctrl-C while waiting kills them."""
        for job in self.jobs:
            if job.process.pid is not None and job.process.is_alive():
                os.kill(job.process.pid, signal.SIGTERM)
        try:
            while self.jobs:
                self._collect()
        except KeyboardInterrupt:
            for job in self.jobs:
                job.process.kill()
            while self.jobs:
                self._collect()

    def _start(self, keys: list[str], slot: Slot) -> _Job:
        process = self.context.Process(
            target=_job_process, args=(str(self.path), keys, slot.device, slot.threads)
        )
        process.start()
        minutes = self.manifest["sweep"]["timeout_minutes"]
        limit = float("inf") if minutes is None else 60 * minutes * len(keys) + GRACE
        return _Job(process, slot, [self.store.run(key) for key in keys], time.monotonic() + limit)

    def _collect(self) -> list[Slot]:
        """Waits a moment; returns the slots of jobs that ended."""
        wait([job.process.sentinel for job in self.jobs], timeout=0.5)
        ended = [job for job in self.jobs if not job.process.is_alive()]
        for job in ended:
            self.jobs.remove(job)
            _record_end(job)
        for job in self.jobs:
            if time.monotonic() > job.deadline:
                job.process.kill()
        return [job.slot for job in ended]


def _record_end(job: _Job) -> None:
    """Says why a process ended that had no time to say it itself."""
    code = job.process.exitcode or 0
    killed = [run for run in job.runs if run.state().failure == "killed"] if code else []
    if not killed:
        return
    if time.monotonic() > job.deadline:
        failure, error = "timeout", "did not end by itself after its time limit"
    elif code < 0:
        failure, error = "killed", f"its process was killed by {signal.Signals(-code).name}"
    else:
        failure, error = "bug", f"its process exited with code {code}"
    # On a full disk there is no writing it down; the run still shows as killed.
    with contextlib.suppress(OSError):
        for run in killed:
            mark_ended(run, failure, error)


def _job_process(manifest_path: str, keys: list[str], device: str, threads: int) -> None:
    # Ctrl-C in the terminal goes to the parent alone, which tells its jobs.
    os.setpgrp()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    terminal = os.dup(2)
    try:
        folder = RunStore(read(Path(manifest_path))["constants"]["store"]).run(keys[0]).path
        folder.mkdir(parents=True, exist_ok=True)
        output = os.open(folder / "output.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(output, 1)
        os.dup2(output, 2)
        run_group(Path(manifest_path), keys, device=device, threads=threads)
    except OSError as error:
        # The store can't be written to, so the terminal is where this can be said.
        os.write(terminal, f"run {keys[0]}: {error}\n".encode())
        sys.exit(1)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)
