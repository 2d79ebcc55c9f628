"""Sweeps on Ray: a task a run, with CPUs, memory and a share of a GPU of its own.

Ray never tries a task again by itself: the store says what is missing. A sweep that left hands its runs to an
actor on the cluster, which submits them and touches the ledger's file as long as any is to come.
"""

import logging
import os
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import ray

from cbam_ablate.errors import ConfigError, ServiceError
from cbam_ablate.runs import RunStore
from cbam_ablate.runs.writer import mark_ended
from cbam_ablate.sweep.engine_job import train_cell
from cbam_ablate.sweep.ledger import BEAT, Ledger
from cbam_ablate.sweep.manifest import read

log = logging.getLogger(__name__)
NAMESPACE = "cbam_ablate"
LEAVING = 60.0
"""Seconds that running tasks have to save and end after Ctrl-C."""


class Share(NamedTuple):
    """What each run gets: CPUs, GPUs (a fraction shares one) and memory in GiB, None reserving none."""

    num_cpus: float
    num_gpus: float
    memory_gb: float | None

    def options(self) -> dict[str, Any]:
        memory = {} if self.memory_gb is None else {"memory": int(self.memory_gb * 2**30)}
        return {"num_cpus": self.num_cpus, "num_gpus": self.num_gpus, "max_retries": 0, **memory}


def connect(address: str | None, environment: Mapping[str, str] = {}) -> None:
    """Joins the cluster at `address`, or starts a Ray of this machine; tasks get that `environment` too.

    Raises `ServiceError` where none answers.
    """
    try:
        ray.init(
            address=address or "local",
            namespace=NAMESPACE,
            log_to_driver=False,
            logging_level="error",
            **({} if address else {"include_dashboard": False}),
            **({"runtime_env": {"env_vars": dict(environment)}} if environment else {}),
        )
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise ServiceError(
            f"hydra.launcher.address={address}: no Ray cluster answers ({str(error).splitlines()[0]}); "
            "start one with `ray start --head`, or leave the address out for a Ray of this machine"
        ) from error


def share(device: str, num_cpus: float | None, num_gpus: float | None, memory_gb: float | None) -> Share:
    """The share of each run, what isn't given chosen by `train.device` and the cluster's nodes.

    Raises `ConfigError` where no node has so much.
    """
    from cbam_ablate.sweep.submit import CPUS_BESIDE_A_GPU

    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    if num_gpus is None:
        there = any(node.get("GPU", 0) >= 1 for node in nodes)
        num_gpus = float(device.startswith("cuda") or (device == "auto" and there))
    if num_cpus is None:
        most = max((node.get("CPU", 0.0) for node in nodes), default=1.0)
        num_cpus = min(CPUS_BESIDE_A_GPU, most) if num_gpus >= 1 else 1
    wanted = {"CPU": num_cpus, "GPU": num_gpus, "memory": 2**30 * (memory_gb or 0)}
    if not any(all(node.get(name, 0) >= amount for name, amount in wanted.items()) for node in nodes):
        offered = "; ".join(
            f"{node.get('CPU', 0):g} CPUs, {node.get('GPU', 0):g} GPUs, "
            f"{node.get('memory', 0) / 2**30:.1f} GiB"
            for node in nodes
        )
        raise ConfigError(
            f"hydra.launcher: no node of Ray has what each run would get, num_cpus={num_cpus:g} "
            f"num_gpus={num_gpus:g} memory_gb={memory_gb or 0:g}; they have {offered}"
        )
    return Share(num_cpus, num_gpus, memory_gb)


def run_tasks(
    manifest: Path, keys: list[str], each: Share, folder: str, beat: Callable[[], None] = lambda: None
) -> None:
    """Has these runs trained and waits for them; `beat` is called every few seconds meanwhile.

    `folder` is where tasks work, which relative paths of the config refer to.
    """
    task = ray.remote(**each.options())(_run)
    threads = max(1, int(each.num_cpus))
    # Ray doesn't hide the machine's GPUs from a task that has none.
    device = None if each.num_gpus else "cpu"
    refs = {task.remote(str(manifest), key, folder, device, threads): key for key in keys}
    store = RunStore(Path(folder) / read(manifest)["constants"]["store"])
    try:
        while refs:
            beat()
            done, _ = ray.wait(list(refs), num_returns=min(len(refs), 100), timeout=BEAT / 5)
            for ref in done:
                _note_end(ref, store, refs.pop(ref))
    except KeyboardInterrupt:
        for ref in refs:
            ray.cancel(ref)
        ray.wait(list(refs), num_returns=len(refs), timeout=LEAVING)
        raise


def leave(manifest: Path, keys: list[str], each: Share, folder: str) -> None:
    """Hands these runs to an actor that stays on the cluster when this process has ended."""
    options = {"num_cpus": 0, "lifetime": "detached", "name": f"{manifest.parent.name} {time.time():.3f}"}
    keeper = ray.remote(**options)(_Keeper).remote()
    ray.get(keeper.start.remote(str(manifest), keys, each, folder))


class _Keeper:
    def start(self, manifest: str, keys: list[str], each: Share, folder: str) -> None:
        actor = ray.get_runtime_context().current_actor
        path = Ledger(Path(manifest)).add("ray", {ray.get_runtime_context().get_actor_id() or "": keys})

        def keep() -> None:
            try:
                run_tasks(Path(manifest), keys, each, folder, path.touch)
            finally:
                path.unlink(missing_ok=True)
                ray.kill(actor)

        threading.Thread(target=keep, daemon=True).start()


def _run(manifest: str, key: str, folder: str, device: str | None, threads: int) -> None:
    from cbam_ablate.console import set_up

    set_up()
    os.chdir(folder)
    train_cell(Path(manifest), key, device, threads)


def _note_end(ref: Any, store: RunStore, key: str) -> None:
    """Records what Ray knows of a run whose process ended without a word."""
    try:
        ray.get(ref)
    except ray.exceptions.RayError as error:
        run = store.run(key)
        starved = isinstance(error, ray.exceptions.OutOfMemoryError)
        if run.state().failure == "killed":
            first = str(error).strip().splitlines()[0]
            mark_ended(run, "out_of_memory" if starved else "killed", f"Ray: {first}")
        elif isinstance(error, ray.exceptions.RayTaskError):
            log.error("run %s: %s", key, error.cause)
