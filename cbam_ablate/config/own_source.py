"""YAML files of the user's own as a config source of Hydra's: read so that what is written is what is meant.

YAML 1.1 takes 010 for 8, 12:30 for 750 and off for false; where that can't be meant it is told by file, line
and what to write. Names are text, numbers among them too, and a byte-order mark is none of the config's.
"""

import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from hydra._internal.core_plugins.file_config_source import FileConfigSource
from hydra._internal.sources_registry import SourcesRegistry
from hydra.plugins.config_source import ConfigLoadError, ConfigResult
from omegaconf import OmegaConf

from cbam_ablate.config.options import ALIASES, dotted_names
from cbam_ablate.config.own_files import decoded, prefix_of, shown
from cbam_ablate.errors import ConfigError

SCHEME = "conf"
BOOLEAN, NUMBERS = "tag:yaml.org,2002:bool", ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
NO_NAMES = (*NUMBERS, "tag:yaml.org,2002:null")
AXES = "write an axis by its name, as in {seed: '0,1'}"
OCTAL = re.compile(r"[-+]?0[0-7_]+")
OF_AXES = (
    *(f"hydra.sweeper.{name}" for name in ("params", "grids", "around", "exclude")),
    "table.baseline",
    "table.filters",
)
"""What holds values of axes, by names that begin anew."""


class OwnFiles(FileConfigSource):
    """A folder of the user's own configs."""

    @staticmethod
    def scheme() -> str:
        return SCHEME

    def load_config(self, config_path: str) -> ConfigResult:
        folder = Path(self.path)
        file = folder / self._normalize_file_name(config_path)
        if not file.is_file():
            raise ConfigLoadError(f"Config not found : {file}")
        return ConfigResult(self.provider, self.full_path(), *read_own(folder, file))


def read_own(folder: Path, file: Path) -> tuple[Any, dict[str, str | None]]:
    """A file's config and header. Raises `ConfigError` for values that YAML takes for something else."""
    text = decoded(file)
    wrong = list(_unclear(text, prefix_of(text, folder, file)))
    if wrong:
        raise ConfigError("\n".join(f"{shown(file)} line {line}: {what}" for line, what in wrong))
    config: Any = OmegaConf.load(io.StringIO(text))
    if OmegaConf.is_dict(config):
        config = OmegaConf.create(_by_text(OmegaConf.to_container(config)))
    return config, FileConfigSource._get_header_dict(text)


def _by_text(value: Any) -> Any:
    """The same with names that are text."""
    if isinstance(value, dict):
        return {_name(name): _by_text(inner) for name, inner in value.items()}
    return [_by_text(inner) for inner in value] if isinstance(value, list) else value


def _name(name: Any) -> str:
    return str(name).lower() if isinstance(name, bool) else str(name)


def _unclear(text: str, prefix: str) -> Iterator[tuple[int, str]]:
    """(line, what is wrong) for each value and name that YAML reads otherwise than it looks."""
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError:  # told by whoever loads it
        return
    if isinstance(node, yaml.MappingNode):
        yield from _in(node, prefix, "")


def _in(node: yaml.Node, prefix: str, option: str) -> Iterator[tuple[int, str]]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            name = f"{prefix}{key.value}"
            if option in OF_AXES and key.tag in NO_NAMES:
                yield key.start_mark.line + 1, f"{option}: {key.value or 'null'} is no option; {AXES}"
                continue
            yield from _scalar(key, "", key=True)
            if name != "defaults":
                inner = "" if name in OF_AXES else f"{name}."
                yield from _in(value, inner, name)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _in(item, prefix, option)
    else:
        yield from _scalar(node, option)


def _scalar(node: yaml.Node, option: str, key: bool = False) -> Iterator[tuple[int, str]]:
    if not isinstance(node, yaml.ScalarNode) or node.style is not None:
        return
    written, line = node.value, node.start_mark.line + 1
    shown = f"{option}: {written}" if option else written
    if node.tag == BOOLEAN:
        truth = str(yaml.SafeLoader("").construct_object(node)).lower()
        if (key and written.lower() != truth) or _takes_text(option):
            yield (
                line,
                f"{shown} is {truth} to YAML; write '{written}' in quotes{f', or {truth}' if key else ''}",
            )
    elif node.tag in NUMBERS and dotted_names().get(option) is bool and written not in ("0", "1"):
        yield line, f"{shown}: must be true or false"
    elif node.tag in NUMBERS and (OCTAL.fullmatch(written) or ":" in written):
        number = yaml.SafeLoader("").construct_object(node)
        why = "to the base 60" if ":" in written else "octal"
        others = [] if ":" in written else [written.lstrip("+-0_") or "0"]
        if _takes_text(option) or option not in dotted_names():
            others = [f"'{written}' in quotes"]
        yield line, f"{shown} is {number} to YAML, {why}; write {' or '.join([str(number), *others])}"


def _takes_text(option: str) -> bool:
    return option.startswith("table.labels.") or dotted_names().get(ALIASES.get(option, option)) in (
        str,
        str | None,
    )


SourcesRegistry.instance().register(OwnFiles)
