"""What a launcher of another Hydra plugin may be given, as the plugin itself declares it."""

from typing import Any

from hydra.core.config_store import ConfigNode, ConfigStore
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from cbam_ablate.config.options import spell
from cbam_ablate.errors import ConfigError

GROUP = "hydra/launcher"
REFUSED = {
    "hydra_plugins.hydra_ray_launcher.ray_aws_launcher.RayAWSLauncher": "the machines that it starts don't "
    "have the store; start them by `ray up` with a shared folder, and choose hydra/launcher=ray "
    "hydra.launcher.address=HOST:PORT"
}
"""Launchers that runs can't be trained by, and what to do instead."""


def check_plugin(hydra: DictConfig) -> None:
    """Raises `ConfigError` naming each option that a plugin's launcher doesn't have, or of another kind.

    Launchers of ours, and of plugins that declare nothing, are not judged here.
    """
    choice, target = hydra.runtime.choices[GROUP], str(hydra.launcher.get("_target_"))
    if target in REFUSED:
        raise ConfigError(f"{GROUP}={choice}: {REFUSED[target]}")
    full = _declared(target)
    if full is None:
        return
    found = []
    plain: Any = OmegaConf.to_container(hydra.launcher, resolve=False)
    for name, value in plain.items():
        option = f"hydra.launcher.{name}={spell(value)}"
        if name not in full:
            has = ", ".join(str(option) for option in full if option != "_target_") or "none"
            found.append(f"{option}: {GROUP}={choice} has no such option; it has {has}")
            continue
        try:
            OmegaConf.update(full, str(name), value)
        except OmegaConfBaseException as error:
            found.append(f"{option}: {str(error).splitlines()[0]}")
        else:
            kept: Any = OmegaConf.to_container(full, resolve=False)
            kept = kept[name]
            if isinstance(value, str) and not isinstance(kept, str):
                found.append(f"{option}: is text; write {spell(kept)} without quotes")
    if found:
        raise ConfigError("\n".join(found))


def _declared(target: str) -> Any:
    """A plugin's options of its launcher, the class `target`, at what they are by default; None without."""
    stored: Any = ConfigStore.instance().repo
    for part in GROUP.split("/"):
        stored = stored.get(part, {})
    nodes = [entry.node for entry in stored.values() if isinstance(entry, ConfigNode)]
    return next((node.copy() for node in nodes if node.get("_target_") == target), None)
