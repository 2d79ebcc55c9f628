"""What the launchers over submitit and Ray share: see `cbam_ablate/sweep/submit.py` and `ray_jobs.py`."""

from collections.abc import Collection, Mapping
from typing import Any, ClassVar

from cbam_ablate.config.schema import RunConfig
from cbam_ablate.errors import ConfigError
from cbam_ablate.sweep.launchers.base import RunLauncher


class EngineLauncher(RunLauncher):
    """Hands runs to an engine; what becomes of them is read from the store."""

    leaves = True
    alone = False
    whole: ClassVar[Mapping[str, int]] = {}
    """Parameters that must be whole numbers, and the least that each may be."""
    real: ClassVar[Mapping[str, float]] = {}
    """Parameters that must be numbers, and the least that each may be."""
    needed: ClassVar[Collection[str]] = ()
    """Those of them that null says nothing for."""

    def __init__(self, **params: Any) -> None:
        self.params = params

    def prepare(self, base: RunConfig) -> None:
        super().prepare(base)
        bad = []
        for name, low in {**self.whole, **self.real}.items():
            value: Any = self.params.get(name)
            kind = "a whole number" if name in self.whole else "a number"
            fits = isinstance(value, int if name in self.whole else int | float)
            if value is None and name not in self.needed:
                continue
            if not (fits and not isinstance(value, bool) and value >= low):
                null = "" if name in self.needed else ", or null"
                bad.append(f"hydra.launcher.{name}={value}: must be {kind}, at least {low:g}{null}")
        if self.device.startswith("cuda:"):
            reason = "the engine gives each run its GPU; choose train.device=auto"
            bad.append(f"train.device={self.device}: {reason}")
        if bad:
            raise ConfigError("\n".join(bad))

    def refuse_cuda(self, name: str) -> None:
        """Raises `ConfigError` where runs without GPUs were asked to train on one."""
        if self.device.startswith("cuda"):
            raise ConfigError(
                f"train.device={self.device}: hydra.launcher.{name}=0 gives a run no GPU; leave that out, or "
                "choose train.device=cpu"
            )
