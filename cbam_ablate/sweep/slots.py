"""How many jobs this machine runs at a time, and what each gets of it."""

import os
from dataclasses import dataclass

import torch

from cbam_ablate.errors import ConfigError
from cbam_ablate.training.device import pick_device


@dataclass(frozen=True)
class Slot:
    """A place for one job at a time."""

    device: str
    threads: int


def make_slots(device: str, jobs: int | None) -> list[Slot]:
    """Where jobs run at the same time: `jobs` places, spread over all GPUs or sharing the CPU's cores.

    By default one a GPU, or one a core on a CPU, where small networks gain little from threads.
    `device` is `train.device`; naming one GPU keeps all jobs on it.
    """
    if jobs is not None and not (isinstance(jobs, int) and jobs >= 1):
        raise ConfigError(f"hydra.launcher.jobs={jobs}: at least 1, or 0 to run in the sweep's own process")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    first = pick_device(device)
    devices = [str(first)]
    if first.type == "cuda" and device in ("auto", "cuda"):
        devices = [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    count = jobs or (cores if first.type == "cpu" else len(devices))
    return [Slot(devices[index % len(devices)], max(1, cores // count)) for index in range(count)]
