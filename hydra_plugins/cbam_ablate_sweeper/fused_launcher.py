"""`hydra/launcher=fused`: runs that can be are trained together, see `cbam_ablate/sweep/fused.py`."""

from dataclasses import dataclass
from pathlib import Path

from hydra.core.config_store import ConfigStore

from hydra_plugins.cbam_ablate_sweeper.local_launcher import LocalLauncher

MODULE = "hydra_plugins.cbam_ablate_sweeper"


@dataclass
class FusedLauncherConf:
    """Groups of at most `width` runs (null: no limit), in `jobs` processes at a time as for `local`."""

    _target_: str = f"{MODULE}.fused_launcher.FusedLauncher"
    jobs: int | None = None
    width: int | None = 16


ConfigStore.instance().store(
    group="hydra/launcher", name="fused", node=FusedLauncherConf, provider="cbam_ablate"
)


class FusedLauncher(LocalLauncher):
    """Runs the sweeper's jobs in groups that differ only in seed and scalar hyperparameters."""

    def __init__(self, jobs: int | None, width: int | None) -> None:
        super().__init__(jobs)
        self.width = width

    def divide(self, manifest: Path, keys: list[str], slots: int) -> list[list[str]]:
        from cbam_ablate.sweep.fused import groups
        from cbam_ablate.sweep.manifest import read

        return groups(read(manifest), keys, self.width, slots)
