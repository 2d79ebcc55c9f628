"""The default launcher: warm processes on this machine, see `cbam_ablate/sweep/local.py`."""

from collections.abc import Sequence
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class LocalLauncher(Launcher):
    """Runs the sweeper's jobs in `jobs` processes at a time."""

    def __init__(self, jobs: int | None) -> None:
        self.jobs = jobs

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.device = str(config.train.device)

    def warm_up(self) -> None:
        """Begins to import what the jobs need, in the process that they are forked from."""
        from cbam_ablate.sweep.warm import warm_up

        if self.jobs is None or self.jobs > 0:
            warm_up()

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        from cbam_ablate.sweep.local import run_here, run_jobs
        from cbam_ablate.sweep.slots import make_slots

        parser = OverridesParser.create()
        words = [dict(_pair(parser, word) for word in job) for job in job_overrides]
        manifest, keys = Path(words[0]["manifest"]), [word["key"] for word in words]
        if self.jobs == 0:
            run_here(manifest, self.divide(manifest, keys, 1))
        else:
            slots = make_slots(self.device, self.jobs)
            run_jobs(manifest, self.divide(manifest, keys, len(slots)), slots)
        return [JobReturn(overrides=list(job), status=JobStatus.COMPLETED) for job in job_overrides]

    def divide(self, manifest: Path, keys: list[str], slots: int) -> list[list[str]]:
        """The runs as jobs, of which so many are worked on at a time."""
        return [[key] for key in keys]


def _pair(parser: OverridesParser, word: str) -> tuple[str, str]:
    override = parser.parse_override(word)
    return override.key_or_group, str(getattr(override.value(), "text", override.value()))
