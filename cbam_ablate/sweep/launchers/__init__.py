"""Who trains the runs of a plan: ours are handed a manifest and keys, any other of Hydra's is wrapped."""

import importlib.util
from importlib import import_module
from inspect import signature
from typing import Any

from hydra._internal.callbacks import Callbacks
from omegaconf import OmegaConf

from cbam_ablate.errors import ConfigError
from cbam_ablate.sweep.asked import Outline
from cbam_ablate.sweep.launchers.base import RunLauncher

EXTRAS = {"joblib": "hydra_plugins.hydra_joblib_launcher", "slurm": "submitit", "ray": "ray"}
"""The package that each extra of ours is installed for."""
NEEDS = {"joblib_launcher": "joblib", "on_submitit": "slurm", "on_ray": "ray"}
"""The extra that a launcher's module needs."""


def make_launcher(asked: Outline, callbacks: Callbacks) -> RunLauncher:
    """The launcher that a command chose, ready to launch.

    Raises `ConfigError` for parameters that it doesn't take, and where it can't be used here.
    """
    node: Any = asked.composed.hydra.launcher
    choice, target = str(asked.composed.hydra.runtime.choices.get("hydra/launcher")), str(node._target_)
    require_extra(choice, target)
    module, _, name = target.rpartition(".")
    try:
        kind = getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"hydra/launcher={choice}: there is no {target} ({error})") from error
    launcher: RunLauncher
    if isinstance(kind, type) and issubclass(kind, RunLauncher):
        params: Any = OmegaConf.to_container(node, resolve=True)
        params.pop("_target_")
        try:
            signature(kind).bind(**params)
        except TypeError as error:
            takes = ", ".join(signature(kind).parameters)
            raise ConfigError(f"hydra/launcher={choice}: {error}; hydra.launcher has {takes}") from error
        launcher = kind(**params)
    else:
        from cbam_ablate.sweep.launchers.foreign import ForeignLauncher

        try:
            launcher = ForeignLauncher(asked, callbacks)
        except RuntimeError as error:
            raise ConfigError(f"hydra/launcher={choice}: {error}") from error
    if asked.base.sweep.detach and not launcher.leaves:
        raise ConfigError(
            f"detach=true: the jobs of hydra/launcher={choice} end with the command; submitit_slurm, "
            "submitit_local and ray (with hydra.launcher.address) can be left"
        )
    launcher.environment = asked.environment
    launcher.prepare(asked.base)
    return launcher


def require_extra(choice: str, target: str) -> None:
    """Raises `ConfigError` where the package that a launcher, the class `target`, needs isn't installed."""
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
