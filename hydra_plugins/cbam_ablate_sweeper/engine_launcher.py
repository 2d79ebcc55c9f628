"""What the launchers over submitit and Ray share: see `cbam_ablate/sweep/submit.py` and `ray_jobs.py`."""

import importlib.util
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from hydra_plugins.cbam_ablate_sweeper.local_launcher import _pair

EXTRAS = {"joblib": "hydra_plugins.hydra_joblib_launcher", "slurm": "submitit", "ray": "ray"}
"""The package that each extra of ours is installed for."""
NEEDS = {"joblib_launcher": "joblib", "submitit_launcher": "slurm", "ray_launcher": "ray"}
"""The extra that a launcher's module needs."""


def require_extra(choice: str, target: str) -> None:
    """Raises `ConfigError` where the package that a launcher, the class `target`, needs isn't installed."""
    from cbam_ablate.errors import ConfigError

    extra = NEEDS.get(target.split(".")[-2])
    if extra is None:
        return
    try:
        there = importlib.util.find_spec(EXTRAS[extra]) is not None
    except ModuleNotFoundError:
        there = False
    if not there:
        raise ConfigError(
            f"hydra/launcher={choice}: its package is not installed; pip install 'cbam_ablate[{extra}]', "
            "or choose local or basic, which need nothing more"
        )


class EngineLauncher(Launcher):
    """Hands the sweeper's jobs to an engine as (manifest, keys); what they find is read from the store.

    `guesses` are the plan's estimates by key, which the sweeper sets.
    """

    whole: ClassVar[Mapping[str, int]] = {}
    """Parameters that must be whole numbers, and the least that each may be."""
    real: ClassVar[Mapping[str, float]] = {}
    """Parameters that must be numbers, and the least that each may be."""

    needed: ClassVar[Collection[str]] = ()
    """Those of them that null says nothing for."""
    alone: ClassVar[bool] = False
    """Whether runs that were killed or starved are tried again one at a time, as on a machine they share."""

    def __init__(self, **params: Any) -> None:
        self.params: dict[str, Any] = {
            name: OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
            for name, value in params.items()
        }
        self.guesses: dict[str, Any] = {}

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.device = str(config.train.device)
        self.detach = bool(config.sweep.detach)
        self._check()

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        parser = OverridesParser.create()
        words = [dict(_pair(parser, word) for word in job) for job in job_overrides]
        self.submit(Path(words[0]["manifest"]), [word["key"] for word in words])
        return [JobReturn(overrides=list(job), status=JobStatus.COMPLETED) for job in job_overrides]

    def submit(self, manifest: Path, keys: list[str]) -> None:
        """Has these runs trained; returns when they have ended or, detached, when they are queued."""
        raise NotImplementedError

    def refuse_cuda(self, name: str) -> None:
        """Raises `ConfigError` where runs without GPUs were asked to train on one."""
        from cbam_ablate.errors import ConfigError

        if self.device.startswith("cuda"):
            raise ConfigError(
                f"train.device={self.device}: hydra.launcher.{name}=0 gives a run no GPU; leave that out, or "
                "choose train.device=cpu"
            )

    def _check(self) -> None:
        from cbam_ablate.errors import ConfigError

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
            why = "the engine gives each run its GPU; say train.device=auto"
            bad.append(f"train.device={self.device}: {why}")
        if bad:
            raise ConfigError("\n".join(bad))
