"""Jobs on this machine: a few warm processes, each of which does one after another.

A job is one run, or a group of runs that are trained together. A process ends with the first job that didn't
finish, and another takes its place: what a failure left behind is no start for the next.
"""

import contextlib
import logging
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from types import FrameType

from cbam_ablate.console import errors_to
from cbam_ablate.errors import StoreError
from cbam_ablate.runs import Run, RunStore
from cbam_ablate.runs.files import make_own
from cbam_ablate.runs.writer import mark_ended
from cbam_ablate.sweep.job import run_job
from cbam_ablate.sweep.manifest import read
from cbam_ablate.sweep.slots import Slot
from cbam_ablate.sweep.stop import OneSignal
from cbam_ablate.sweep.warm import warm_context, without_script

log = logging.getLogger(__name__)
GRACE = 30.0
"""Seconds that a job past its time limit has to end by itself before it is killed."""


@dataclass
class _Worker:
    """A process, and the runs of the job it is at."""

    slot: Slot
    process: ForkServerProcess
    jobs: Connection
    runs: list[Run] = field(default_factory=list)
    deadline: float = float("inf")


def run_jobs(manifest_path: Path, keys: Sequence[Sequence[str]], slots: Sequence[Slot]) -> None:
    """Runs jobs, each the keys of its runs, until all ended or the study was told to stop.

    How they ended is in the store.
    On Ctrl-C or SIGTERM running jobs save and end before KeyboardInterrupt goes on; a second one kills them.
    """
    pool = _Pool(manifest_path)
    with _interrupted_by_sigterm():
        try:
            pool.work([list(job) for job in keys], list(slots))
        except KeyboardInterrupt:
            pool.end()
            raise
        finally:
            pool.close()


@contextlib.contextmanager
def _interrupted_by_sigterm() -> Iterator[None]:
    one = OneSignal()

    def interrupt(number: int, frame: FrameType | None) -> None:
        if not one.again(number):
            raise KeyboardInterrupt

    ours = threading.current_thread() is threading.main_thread()
    if not ours or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        one.leave(signal.SIG_DFL)


def run_here(manifest_path: Path, keys: Sequence[Sequence[str]]) -> None:
    """Runs jobs one after another in this process, for debugging, unless the study was told to stop."""
    for job in keys:
        states = run_job(manifest_path, job)
        if manifest_path.with_name("stop").exists():
            return
        if any(state.name == "interrupted" for state in states):
            raise KeyboardInterrupt


class _Pool:
    def __init__(self, manifest_path: Path) -> None:
        self.path = manifest_path
        self.manifest = read(manifest_path)
        self.store = RunStore(self.manifest["constants"]["store"])
        self.stop_file = manifest_path.with_name("stop")
        self.context = warm_context()
        self.workers: list[_Worker] = []

    def work(self, waiting: list[list[str]], free: list[Slot]) -> None:
        while self.workers or waiting:
            if self.stop_file.exists():
                return self.end()
            while waiting and free:
                self.workers.append(self._start(free.pop(0)))
                self._give(self.workers[-1], waiting)
            free += self._collect(waiting)
        return None

    def end(self) -> None:
        """Asks running jobs to save and end, and waits for them; Ctrl-C while waiting kills them."""
        for worker in self.workers:
            if worker.process.pid is not None and worker.process.is_alive():
                os.kill(worker.process.pid, signal.SIGTERM)
        try:
            while self.workers:
                self._collect([])
        except KeyboardInterrupt:
            for worker in self.workers:
                worker.process.kill()
            while self.workers:
                self._collect([])

    def close(self) -> None:
        """Whatever went wrong, workers end with the job they have."""
        for worker in self.workers:
            worker.jobs.close()

    def _start(self, slot: Slot) -> _Worker:
        ours, theirs = self.context.Pipe()
        process = self.context.Process(target=_work, args=(theirs, str(self.path), slot.device, slot.threads))
        with without_script():
            process.start()
        theirs.close()
        return _Worker(slot, process, ours)

    def _give(self, worker: _Worker, waiting: list[list[str]]) -> None:
        """Has a worker do the next job, or end where there is none. One that has died leaves it there."""
        if not waiting:
            worker.jobs.close()
            return
        with contextlib.suppress(OSError):
            worker.jobs.send(waiting[0])
            keys = waiting.pop(0)
            minutes = self.manifest["sweep"]["timeout_minutes"]
            limit = float("inf") if minutes is None else 60 * minutes * len(keys) + GRACE
            worker.runs, worker.deadline = [self.store.run(key) for key in keys], time.monotonic() + limit

    def _collect(self, waiting: list[list[str]]) -> list[Slot]:
        """Waits a moment for jobs to end, and has others done; returns the slots of workers that ended."""
        heard = [worker.jobs for worker in self.workers if not worker.jobs.closed]
        wait([*heard, *(worker.process.sentinel for worker in self.workers)], timeout=0.5)
        free = []
        for worker in list(self.workers):
            if not worker.process.is_alive():
                self.workers.remove(worker)
                free.append(worker.slot)
                _record_end(worker)
            elif worker.jobs in heard and _has_done(worker):
                worker.runs = []
                self._give(worker, waiting)
            elif time.monotonic() > worker.deadline:
                worker.process.kill()
        return free


def _has_done(worker: _Worker) -> bool:
    """Whether a worker says that its job is done and that it can have another."""
    try:
        return worker.jobs.poll() and bool(worker.jobs.recv())
    except (EOFError, OSError):  # it is ending, and says nothing more
        worker.jobs.close()
        return False


def _record_end(worker: _Worker) -> None:
    """Says why a process ended that had no time to say it itself."""
    code = worker.process.exitcode or 0
    killed = [run for run in worker.runs if run.state().failure == "killed"] if code else []
    if not killed:
        return
    if time.monotonic() > worker.deadline:
        failure, error = "timeout", "did not end by itself after its time limit"
    elif code < 0:
        failure, error = "killed", f"its process was killed by {signal.Signals(-code).name}"
    else:
        failure, error = "bug", f"its process exited with code {code}"
    # On a full disk there is no writing it down; the run still shows as killed.
    with contextlib.suppress(OSError):
        for run in killed:
            mark_ended(run, failure, error)


def _work(jobs: Connection, manifest_path: str, device: str, threads: int) -> None:
    """A worker's life: jobs, each the keys of its runs, until there are no more or one doesn't finish."""
    # Ctrl-C in the terminal goes to the parent alone, which tells its jobs.
    os.setpgrp()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    errors_to(os.fdopen(os.dup(2), "w", errors="replace"))
    store = RunStore(read(Path(manifest_path))["constants"]["store"])
    while True:
        try:
            keys = jobs.recv()
        except (EOFError, OSError):
            return
        try:
            store.make_room(store.run(keys[0]))
            _write_to(store.run(keys[0]).path)
            states = run_job(Path(manifest_path), keys, device=device, threads=threads)
        except (OSError, StoreError) as error:
            # The store can't be written to, so the terminal is where this can be said.
            log.error("run %s: %s", keys[0], error)
            sys.exit(1)
        if any(state.name != "finished" for state in states):
            return
        with contextlib.suppress(OSError):
            jobs.send(True)


def _write_to(folder: Path) -> None:
    """Sends what this process prints to a run's output.log."""
    folder.mkdir(parents=True, exist_ok=True)
    make_own(folder / "output.log")
    output = os.open(folder / "output.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    for stream in (1, 2):
        os.dup2(output, stream)
    os.close(output)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)
