"""Hydra's side of `cbam_ablate/sweep`: no torch at the top, since Hydra imports every plugin."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.types import Quote, QuotedString
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict

from hydra_plugins.cbam_ablate_sweeper.engine_launcher import EngineLauncher, require_extra
from hydra_plugins.cbam_ablate_sweeper.local_launcher import LocalLauncher

MODULE = "hydra_plugins.cbam_ablate_sweeper"


@dataclass
class AblationSweeperConf:
    """What a study declares: see `cbam_ablate/sweep/declare.py`."""

    _target_: str = f"{MODULE}.sweeper.AblationSweeper"
    params: dict[str, Any] = field(default_factory=dict)
    grids: list[Any] = field(default_factory=list)
    zip: list[Any] = field(default_factory=list)
    around: dict[str, Any] = field(default_factory=dict)
    exclude: list[Any] = field(default_factory=list)


@dataclass
class LocalLauncherConf:
    """`jobs` processes at a time: null is one a GPU or one a CPU core, 0 runs in the sweep's own process."""

    _target_: str = f"{MODULE}.local_launcher.LocalLauncher"
    jobs: int | None = None


ConfigStore.instance().store(
    group="hydra/sweeper", name="cbam_ablate", node=AblationSweeperConf, provider="cbam_ablate"
)
ConfigStore.instance().store(
    group="hydra/launcher", name="local", node=LocalLauncherConf, provider="cbam_ablate"
)


class AblationSweeper(Sweeper):
    """Plans the sweep, then hands its launcher one short job a run: the manifest and the run's key."""

    def __init__(self, **declared: Any) -> None:
        self.declared = declared
        self.words: list[str] = []
        self.launcher: Launcher | None = None

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        choice = str(config.hydra.runtime.choices.get("hydra/launcher"))
        require_extra(choice, str(config.hydra.launcher._target_))
        job_config = config.copy()
        with open_dict(job_config):
            job_config.hydra.job.config_name = "job"
            job_config.hydra.overrides.hydra = [
                word for word in config.hydra.overrides.hydra if not word.startswith("hydra.sweeper")
            ]
        self.words = list(config.hydra.overrides.hydra)
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=job_config
        )
        if config.sweep.detach and not isinstance(self.launcher, EngineLauncher):
            from cbam_ablate.config.errors import ConfigError

            raise ConfigError(
                f"detach=true: the jobs of hydra/launcher={choice} end with the command; submitit_slurm, "
                "submitit_local and ray (with hydra.launcher.address) can be left"
            )

    def sweep(self, arguments: list[str]) -> Any:
        """Returns the sweep's `Outcome`, or its `Plan` where `sweep.dry_run` asks for no more."""
        from cbam_ablate.runs.provenance import command
        from cbam_ablate.sweep.outline import make_outline

        asked = make_outline([*self.words, *arguments])
        if isinstance(self.launcher, LocalLauncher) and asked.unfinished():
            self.launcher.warm_up()

        from cbam_ablate.sweep.plan import plan_outline
        from cbam_ablate.sweep.run import run_plan

        plan = plan_outline(asked)
        if plan.base.sweep.dry_run:
            return plan
        if isinstance(self.launcher, EngineLauncher):
            self.launcher.guesses = plan.guesses
        return run_plan(plan, self._launch, command(), getattr(self.launcher, "alone", True))

    def _launch(self, manifest: Path, keys: Sequence[str]) -> None:
        if self.launcher is None:
            raise RuntimeError("the sweeper was not set up")
        quoted = QuotedString(str(manifest), Quote.single).with_quotes()
        self.launcher.launch([[f"manifest={quoted}", f"key='{key}'"] for key in keys], initial_job_idx=0)
