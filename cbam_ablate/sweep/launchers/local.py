"""This machine's launchers: warm processes, see `cbam_ablate/sweep/local.py`."""

from pathlib import Path

from cbam_ablate.config.schema import RunConfig
from cbam_ablate.errors import ConfigError
from cbam_ablate.sweep.launchers.base import RunLauncher


class LocalLauncher(RunLauncher):
    """Trains the runs in `jobs` processes at a time."""

    def __init__(self, jobs: int | None) -> None:
        self.jobs = jobs

    def prepare(self, base: RunConfig) -> None:
        super().prepare(base)
        if self.jobs is not None and (type(self.jobs) is not int or self.jobs < 0):
            rule = "a whole number of at least 1, 0 to run in the sweep's own process, or null"
            raise ConfigError(f"hydra.launcher.jobs={self.jobs}: {rule}")

    def warm_up(self) -> None:
        from cbam_ablate.sweep.warm import warm_up

        if self.jobs != 0:
            warm_up()

    def launch(self, manifest: Path, keys: list[str]) -> None:
        from cbam_ablate.sweep.local import run_here, run_jobs
        from cbam_ablate.sweep.slots import make_slots

        if self.jobs == 0:
            run_here(manifest, self.divide(manifest, keys, 1))
        else:
            slots = make_slots(self.device, self.jobs)
            run_jobs(manifest, self.divide(manifest, keys, len(slots)), slots)

    def divide(self, manifest: Path, keys: list[str], slots: int) -> list[list[str]]:
        """The runs as jobs, of which so many are worked on at a time."""
        return [[key] for key in keys]


class FusedLauncher(LocalLauncher):
    """Trains runs that can be together, `width` at most, see `cbam_ablate/sweep/fused.py`."""

    def __init__(self, jobs: int | None, width: int | None) -> None:
        super().__init__(jobs)
        self.width = width

    def prepare(self, base: RunConfig) -> None:
        super().prepare(base)
        if self.width is not None and (type(self.width) is not int or self.width < 1):
            rule = "a whole number of at least 1, or null for no limit"
            raise ConfigError(f"hydra.launcher.width={self.width}: {rule}")

    def divide(self, manifest: Path, keys: list[str], slots: int) -> list[list[str]]:
        from cbam_ablate.sweep.fused import groups
        from cbam_ablate.sweep.manifest import read

        return groups(read(manifest), keys, self.width, slots)
