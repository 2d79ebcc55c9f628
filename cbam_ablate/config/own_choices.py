"""Choices of groups that have no file, `attention=my_gates:Triplet`: a config source of Hydra's.

Each sets the option that names it, and what its group's files set besides to something neutral.
"""

from collections.abc import Iterator
from typing import Any

from hydra._internal.sources_registry import SourcesRegistry
from hydra.core.object_type import ObjectType
from hydra.plugins.config_source import ConfigResult, ConfigSource
from omegaconf import OmegaConf

from cbam_ablate.registry import Part, find, kinds, own_target

SCHEME = "own"


class OwnChoices(ConfigSource):
    """Gives `attention/my_gates:Triplet` where a file of that name would be."""

    @staticmethod
    def scheme() -> str:
        return SCHEME

    def load_config(self, config_path: str) -> ConfigResult:
        kind, name = next(_named(config_path))
        package = kind.option.rpartition(".")[0]
        plain: Any = OmegaConf.create(kind.chosen(name))
        return ConfigResult(self.provider, f"{SCHEME}://{config_path}", plain, {"package": package})

    def available(self) -> bool:
        return True

    def is_group(self, config_path: str) -> bool:
        return False

    def is_config(self, config_path: str) -> bool:
        return any(_named(config_path))

    def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:
        return []


def _named(path: str) -> Iterator[tuple[type[Part], str]]:
    group, _, name = path.removesuffix(".yaml").partition("/")
    kind = kinds().get(group)
    if kind is not None and own_target(kind, name):
        yield kind, name


def is_own(group: str, choice: str) -> bool:
    """Whether a group's choice is a part of one's own. Raises `ConfigError` where it can't be used."""
    kind = kinds().get(group)
    if kind is None or not own_target(kind, choice):
        return False
    find(kind, choice, group)
    return True


def own_spelling(group: str, choice: str) -> str:
    """What `module.Name` is to be written as, where a group takes parts of one's own."""
    kind = kinds().get(group)
    module, dot, name = choice.rpartition(".")
    parts = [*module.split("."), name]
    if not dot or kind is None or not kind.owns or not all(part.isidentifier() for part in parts):
        return ""
    return f"; one of your own is written {group}={module}:{name}"


SourcesRegistry.instance().register(OwnChoices)
