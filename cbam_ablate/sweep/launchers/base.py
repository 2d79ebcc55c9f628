"""What every launcher is to a sweep."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from cbam_ablate.config.schema import RunConfig


class RunLauncher:
    """Trains runs of a frozen plan; `conf/hydra/launcher/` has its class and parameters.

    `guesses` are the plan's estimates by key.
    """

    alone: ClassVar[bool] = True
    """Whether runs that were killed or starved are tried again one at a time, as on a machine they share."""
    leaves: ClassVar[bool] = False
    """Whether the runs may go on when the command has ended."""
    guesses: Mapping[str, Any] = {}
    environment: Mapping[str, str] = {}
    """What jobs see of the environment beside what they inherit from this process."""

    def prepare(self, base: RunConfig) -> None:
        """Takes note of the sweep's own options; raises `ConfigError` where the parameters don't fit."""
        self.device, self.detach = base.train.device, base.sweep.detach

    def warm_up(self) -> None:
        """Begins what the jobs need, while the sweep is planned."""

    def launch(self, manifest: Path, keys: list[str]) -> None:
        """Has the runs with these keys trained; returns when they have ended or, detached, are handed over.

        How they ended is read from the store.
        """
        raise NotImplementedError
