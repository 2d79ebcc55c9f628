"""What makes a run's steps faster, by name, for its provenance."""

from typing import Any

from cbam_ablate.accel import accelerated
from cbam_ablate.training import Trainer


def accelerators(trainer: Trainer) -> list[str]:
    """Those that have been at work so far: cpu passes, compiled, cuda graph; empty where none has."""
    steps: Any = trainer.steps
    on_cpu = trainer.device.type == "cpu"
    found = ["cpu passes"] if on_cpu and accelerated(trainer.model) else []
    if steps.network is not steps.model:
        found.append("compiled")
    if getattr(getattr(steps, "recorded", None), "loss", None) is not None:
        found.append("cuda graph")
    return found
