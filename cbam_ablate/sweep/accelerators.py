"""What makes a run's steps faster, by name, for its provenance."""

import sys
from typing import Any

from cbam_ablate.training import Trainer

HOME = "cbam_ablate.accel."
"""Where the classes are defined whose forward is computed in few passes on a CPU."""
PASSES = "cbam_ablate.models.cpu"
"""The module by which networks without such classes choose their passes."""


def accelerators(trainer: Trainer) -> list[str]:
    """Those that have been at work so far: cpu passes, compiled, cuda graph; empty where none has."""
    steps: Any = getattr(trainer, "steps", trainer)
    found = ["cpu passes"] if trainer.device.type == "cpu" and _has_passes(trainer) else []
    if steps.network is not steps.model:
        found.append("compiled")
    if getattr(getattr(steps, "recorded", None), "loss", None) is not None:
        found.append("cuda graph")
    return found


def _has_passes(trainer: Trainer) -> bool:
    if any(type(module).__module__.startswith(HOME) for module in trainer.model.modules()):
        return True
    passes: Any = sys.modules.get(PASSES)
    return passes is not None and passes._library() is not None
