"""What a study has handed to an engine: which job has which runs, and whether that job is still alive.

`studies/<study>/jobs/` holds a file a submission, written once. How a run stands is never in it: the store
says that. It tells a run that waits in a queue from one that nobody has.
"""

import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from cbam_ablate.runs.claim import identify, lives
from cbam_ablate.runs.files import read_json, write_json
from cbam_ablate.sweep import slurm

BEAT = 5.0
"""Seconds between the beats of a process that looks after a submission to Ray."""
SILENCE = 60.0
"""Seconds without a beat after which it counts as gone."""


class Waiting(NamedTuple):
    """A live job that has a run: its engine, its id and its state as the engine calls it."""

    engine: str
    job: str
    state: str


class Ledger:
    """The submissions of one study, beside its manifest."""

    def __init__(self, manifest: Path) -> None:
        self.folder = manifest.with_name("jobs")

    def add(self, engine: str, jobs: Mapping[str, list[str]]) -> Path:
        """Notes a submission: the keys of the runs that each job has, by the job's id."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"{engine}-{uuid.uuid4().hex[:12]}.json"
        entry: dict[str, Any] = {"engine": engine, "jobs": jobs}
        if engine == "local":
            entry["processes"] = {job: identify(int(job)) for job in jobs}
        write_json(path, entry)
        return path

    def live(self, engine: str) -> dict[str, Waiting] | None:
        """By key, the runs that live jobs of an engine have; None where the engine doesn't answer."""
        entries = [(path, read_json(path)) for path in sorted(self.folder.glob(f"{engine}-*.json"))]
        submitted = [_Submission(path, entry) for path, entry in entries if entry is not None]
        if not submitted:
            return {}
        states = LIVE[engine](submitted)
        if states is None:
            return None
        return {
            key: Waiting(engine, job, states[job])
            for entry in submitted
            for job, keys in entry.jobs.items()
            if job in states
            for key in keys
        }

    def waiting(self) -> tuple[dict[str, Waiting], list[str]]:
        """By key, the runs that live jobs of any engine have; and the engines that didn't answer."""
        found: dict[str, Waiting] = {}
        silent = []
        for engine in LIVE:
            live = self.live(engine)
            if live is None:
                silent.append(engine)
            else:
                found.update(live)
        return found, silent


class _Submission:
    def __init__(self, path: Path, entry: dict[str, Any]) -> None:
        self.path = path
        self.processes: dict[str, dict[str, Any]] = entry.get("processes", {})
        self.jobs: dict[str, list[str]] = entry["jobs"]


def _in_slurm(submitted: list[_Submission]) -> dict[str, str] | None:
    return slurm.states(job for entry in submitted for job in entry.jobs)


def _processes(submitted: list[_Submission]) -> dict[str, str]:
    """Jobs of submitit_local are named by the process that looks after them."""
    return {job: "RUNNING" for entry in submitted for job in entry.jobs if lives(entry.processes[job])}


def _beating(submitted: list[_Submission]) -> dict[str, str]:
    """A submission to Ray is alive as long as the process that looks after it touches its file."""
    return {job: "SUBMITTED" for entry in submitted if _beats(entry.path) for job in entry.jobs}


def _beats(path: Path) -> bool:
    try:
        return time.time() - path.stat().st_mtime < SILENCE
    except FileNotFoundError:
        return False


LIVE: dict[str, Callable[[list[_Submission]], dict[str, str] | None]] = {
    "slurm": _in_slurm,
    "local": _processes,
    "ray": _beating,
}
"""The state of each live job by its id, for each engine; None where it can't be known."""
