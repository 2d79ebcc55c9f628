"""Sweeps on submitit: Slurm job arrays, or processes of this machine that outlive the sweep's own.

Nothing comes back from a job but what it writes to the store. Whether a job is still to be waited for is a
question to the queue, never to submitit's result files or `sacct`, which has no answer without accounting.
"""

import logging
import os
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cbam_ablate.errors import ConfigError, ServiceError
from cbam_ablate.runs import RunStore
from cbam_ablate.runs.writer import mark_ended
from cbam_ablate.sweep import slurm
from cbam_ablate.sweep.estimate import Guess
from cbam_ablate.sweep.ledger import Ledger, Waiting
from cbam_ablate.sweep.manifest import read
from cbam_ablate.sweep.pack import Pack
from cbam_ablate.sweep.slots import Slot

log = logging.getLogger(__name__)
CPUS_BESIDE_A_GPU = 4
"""CPUs of a run that has a GPU, where nothing else is asked for."""
UNKNOWN_MINUTES = 240
"""Slurm's time limit for a job of which nothing is known; a job that needs more goes on in the next."""
MARGIN_MINUTES, MARGIN = 10, 2.0
"""A job may take this factor times its estimate, and these minutes for starting and saving."""
POLLS = (1.0, 15.0)
"""Seconds between questions to the queue: at first, and after a while."""
ASKED = 4
"""How often a queue that doesn't answer is asked again before a submission is given up."""
ENDINGS = {
    "OUT_OF_MEMORY": ("out_of_memory", "Slurm ended its job, which took more memory than it asked for"),
    "TIMEOUT": ("killed", "Slurm ended its job at the time limit before it could save"),
    "NODE_FAIL": ("killed", "Slurm lost its node"),
    "CANCELLED": ("killed", "its Slurm job was cancelled"),
    "PREEMPTED": ("killed", "its Slurm job was preempted"),
}
FOREVER = 60 * 24 * 365
"""Minutes: processes of this machine have no time limit."""


def minutes(keys: list[str], guesses: Mapping[str, Guess]) -> int:
    """The time limit of a job that trains these runs one after another."""
    if not all(key in guesses for key in keys):
        return UNKNOWN_MINUTES
    return MARGIN_MINUTES + int(MARGIN * sum(guesses[key].seconds for key in keys) / 60) + 1


def submit_slurm(
    manifest: Path, packs: list[Pack], limit: int, together: int, params: dict[str, Any]
) -> None:
    """Queues a job for each pack, in arrays of which `together` jobs run at a time.

    `limit` is the time limit in minutes; `params` are submitit's. Raises `ServiceError` where Slurm refuses
    the first array; where it refuses a later one, those before it stay.
    """
    import submitit
    from submitit.core.utils import FailedJobError, FailedSubmissionError

    ledger, size = Ledger(manifest), slurm.max_array()
    arrays = [packs[start : start + size] for start in range(0, len(packs), size)]
    folder = ledger.folder / "slurm"
    executor = submitit.SlurmExecutor(folder=folder, max_num_timeout=params.pop("max_num_timeout"))
    at_a_time = max(1, together // len(arrays))
    name = f"cbam-{manifest.parent.name}"
    try:
        executor.update_parameters(time=limit, job_name=name, array_parallelism=at_a_time, **params)
    except ValueError as error:
        raise ConfigError(f"hydra.launcher: {' '.join(str(error).split())}") from error
    for number, array in enumerate(arrays):
        try:
            jobs = executor.submit_array(array)
        except (FailedJobError, FailedSubmissionError) as error:
            if number:
                log.warning("Slurm refused the rest for now: %s", error)
                return
            raise ServiceError(f"hydra/launcher=submitit_slurm: Slurm refused the job: {error}") from error
        ids = [job.job_id for job in jobs]
        ledger.add("slurm", {job: pack.keys for job, pack in zip(ids, array, strict=True)})
        tasks, runs = f"_[0-{len(ids) - 1}]" if len(ids) > 1 else "", sum(len(pack.keys) for pack in array)
        log.info("Slurm job %s%s: %d runs, %d min a job", ids[0].partition("_")[0], tasks, runs, limit)


def submit_local(manifest: Path, keys: list[str], slots: list[Slot]) -> list[Any]:
    """Starts a process for each slot; all share the runs. Returns submitit's jobs."""
    import submitit

    ledger, jobs = Ledger(manifest), []
    lanes = slots[: len(keys)]
    for index, slot in enumerate(lanes):
        executor = submitit.LocalExecutor(folder=ledger.folder / "local")
        gpus = [_gpu(slot.device)] if slot.device.startswith("cuda:") else []
        executor.update_parameters(timeout_min=FOREVER, gpus_per_node=len(gpus), visible_gpus=gpus)
        own = keys[index :: len(lanes)]
        others = [key for key in keys if key not in set(own)]
        with _cut_off():
            device = None if gpus else "cpu"
            jobs.append(executor.submit(Pack(manifest, [*own, *others], slot.threads, device=device)))
    ledger.add("local", {job.job_id: keys for job in jobs})
    return jobs


def _gpu(device: str) -> int:
    """The number by which submitit makes `cuda:N` visible to a job, which this process may be kept from."""
    index, mask = int(device.partition(":")[2]), os.environ.get("CUDA_VISIBLE_DEVICES", "")
    visible = mask.split(",")[index].strip() if mask else str(index)
    if not visible.isdigit():
        raise ConfigError(
            f"CUDA_VISIBLE_DEVICES={mask}: hydra/launcher=submitit_local takes GPUs by number; choose local"
        )
    return int(visible)


@contextmanager
def _cut_off() -> Iterator[None]:
    """A process that is started here keeps no hold of the terminal or pipe, and outlives their closing."""
    streams = (0, 1, 2)
    kept = [os.dup(number) for number in streams]
    nowhere = os.open(os.devnull, os.O_RDWR)
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGHUP, signal.SIGINT)}
    try:
        for number in streams:
            os.dup2(nowhere, number)
        yield
    finally:
        for signalled, handler in before.items():
            signal.signal(signalled, handler)
        for number, own in zip(streams, kept, strict=True):
            os.dup2(own, number)
            os.close(own)
        os.close(nowhere)


def fresh(ledger: Ledger, engine: str, keys: list[str]) -> list[str]:
    """The runs that no live job has yet, so that the same command again queues nothing twice."""
    live = ledger.live(engine)
    for _ in range(ASKED):
        if live is None:
            time.sleep(POLLS[1])
            live = ledger.live(engine)
    if live is None:
        raise ServiceError(f"the queue doesn't answer ({engine}); nothing was submitted")
    store = RunStore(read(ledger.folder.with_name("manifest.json"))["constants"]["store"])
    there = {key for key in keys if key in live and store.run(key).state().name != "failed"}
    if there:
        log.info("%d runs are in the queue already (%s)", len(there), engine)
    return [key for key in keys if key not in there]


def wait(manifest: Path, engine: str, keys: list[str]) -> dict[str, Waiting]:
    """Waits until no live job of the engine has any of these runs; returns which job had each."""
    ledger, stop_file = Ledger(manifest), manifest.with_name("stop")
    had: dict[str, Waiting] = {}
    pause, cancelled, silent = POLLS[0], False, False
    while True:
        live = ledger.live(engine)
        if live is None and not silent:
            log.warning("the queue doesn't answer (%s); asking on", engine)
        silent = live is None
        if live is not None:
            mine = {key: live[key] for key in keys if key in live}
            had.update(mine)
            if not mine:
                return had
            if stop_file.exists() and not cancelled and engine == "slurm":
                slurm.cancel_pending(waiting.job for waiting in mine.values())
                cancelled = True
        time.sleep(pause)
        pause = min(POLLS[1], 1.2 * pause)


def explain_endings(manifest: Path, had: Mapping[str, Waiting]) -> None:
    """Records what Slurm knows of runs whose process ended without a word."""
    store = RunStore(read(manifest)["constants"]["store"])
    for key, waiting in had.items():
        run = store.run(key)
        if run.state().failure == "killed":
            known = ENDINGS.get(slurm.ending(waiting.job) or "")
            if known:
                mark_ended(run, *known)
