"""Launchers of Hydra's own and of others' plugins, which make a job's config when it runs."""

import copy
from pathlib import Path

from hydra._internal.callbacks import Callbacks
from hydra.core.override_parser.types import Quote, QuotedString
from hydra.core.plugins import Plugins
from hydra.types import HydraContext
from omegaconf import DictConfig, flag_override

from cbam_ablate.config.compose import compose, hydras_own
from cbam_ablate.config.where import JOB
from cbam_ablate.sweep.asked import Outline
from cbam_ablate.sweep.engine_job import train_cell
from cbam_ablate.sweep.launchers.base import RunLauncher


class ForeignLauncher(RunLauncher):
    """Gives a launcher two overrides a run, the manifest and its key, of `conf/cbam_ablate_job.yaml`."""

    def __init__(self, asked: Outline, callbacks: Callbacks) -> None:
        hydras = [token for token in asked.tokens if token.name.startswith("hydra")]
        settings = [token for token in hydras if not token.name.startswith("hydra.sweeper")]
        job = copy.deepcopy(compose(settings, asked.loader, JOB))
        context = HydraContext(config_loader=asked.loader, callbacks=callbacks)
        with hydras_own(), flag_override(job.hydra, ["readonly", "struct"], False):
            job.hydra.launcher = asked.composed.hydra.launcher
            self._launcher = Plugins.instance().instantiate_launcher(
                hydra_context=context, task_function=train_job, config=job
            )

    def launch(self, manifest: Path, keys: list[str]) -> None:
        quoted = QuotedString(str(manifest), Quote.single).with_quotes()
        with hydras_own():
            self._launcher.launch([[f"manifest={quoted}", f"key='{key}'"] for key in keys], initial_job_idx=0)


def train_job(cfg: DictConfig) -> None:
    """One job of a sweep, wherever a Hydra launcher runs it."""
    train_cell(Path(cfg.manifest), cfg.key, tell=False)
