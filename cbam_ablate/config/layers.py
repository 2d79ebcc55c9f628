"""Many choices of groups from one composition, by knowing which of Hydra's layers writes which options.

Hydra lays files over each other in an order that the defaults list says; of several that write an option the
last counts. Choosing another file of a group exchanges one layer, as long as that file has no defaults of its
own and nothing refers to anything by interpolation.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from hydra.core.default_element import ResultDefault
from hydra.plugins.config_source import ConfigResult
from omegaconf import OmegaConf

from cbam_ablate.config.canonical import flatten
from cbam_ablate.config.compose import Loader, layers_of
from cbam_ablate.config.options import ALIASES, coerce, dotted_names
from cbam_ablate.config.overrides import Token
from cbam_ablate.config.schema import RunConfig
from cbam_ablate.config.where import SCHEMA

MISSING = "???"


class Unlayered(Exception):
    """These choices do more than exchange a layer each: Hydra has to compose every combination."""


class Layers:
    """What options become when groups are chosen anew and the rest of the command stays as it is.

    `base` is the typed composition of the `fixed` tokens, in which automatic values are as they are. `chosen`
    are the choices that there will be by group, `given` the dotted names that are set besides. Raises
    `Unlayered`.
    """

    def __init__(
        self,
        base: RunConfig,
        fixed: Sequence[Token],
        loader: Loader,
        chosen: Mapping[str, Collection[str]],
        given: Collection[str],
    ) -> None:
        entries = [
            entry for entry in layers_of(fixed, loader) if not str(entry.config_path).startswith("hydra/")
        ]
        self._sources = [source for source in loader.get_sources() if source.available()]
        self._layers = [(entry, self._read(str(entry.config_path), entry.package)) for entry in entries]
        self._files = {
            (group, choice): self._file(group, choice) for group, every in chosen.items() for choice in every
        }
        given = {*given, *(token.name for token in fixed)}
        self._free = {
            ALIASES[group]: group for group in chosen if group in ALIASES and ALIASES[group] not in given
        }
        for option, group in self._free.items():
            if any(option in file for entry, file in self._layers if not self._own(entry, group)):
                raise Unlayered(option)
        written = {option for file in self._files.values() for option in file}
        for group in chosen:
            written |= set(self._entry(group)[1])
        self._groups = {
            option: [group for group in chosen if self._writes(group, option)] for option in written - given
        }
        self._values: dict[tuple[str, ...], Any] = {}
        self._check(base, fixed)

    def values(self, choice: Mapping[str, str]) -> dict[str, Any]:
        """Typed values, by dotted name, of all options that depend on choices of groups."""
        return {option: self._value(option, choice) for option in self._groups}

    def _value(self, option: str, choice: Mapping[str, str]) -> Any:
        key = (option, *(choice.get(group, MISSING) for group in self._groups[option]))
        if key not in self._values:
            value = next(self._written(option, choice), MISSING)
            group = self._free.get(option, "")
            if group in choice and str(value) != choice[group]:
                # What a study's body sets gives way to the choice, as if there were no study.
                value = next(self._written(option, choice, without="study/"), value)
            self._values[key] = value if value == MISSING else coerce(option, value)
        return self._values[key]

    def _writes(self, group: str, option: str) -> bool:
        files = [file for (other, _), file in self._files.items() if other == group]
        return any(option in file for file in [self._entry(group)[1], *files])

    def _written(self, option: str, choice: Mapping[str, str], without: str = " ") -> Iterator[Any]:
        """What the layers write to an option, the last first."""
        for entry, file in reversed(self._layers):
            if str(entry.config_path).startswith(without):
                continue
            group = str(entry.override_key)
            own = self._files[group, choice[group]] if group in choice else file
            if option in own:
                yield own[option]

    def _own(self, entry: ResultDefault, group: str) -> bool:
        """Whether what names a group's choice may be written there: by its file, the schema or a study."""
        path = str(entry.config_path)
        return entry.override_key == group or path == SCHEMA or path.startswith("study/")

    def _entry(self, group: str) -> tuple[ResultDefault, dict[str, Any]]:
        found = [layer for layer in self._layers if layer[0].override_key == group]
        if len(found) != 1 or not str(found[0][0].config_path).startswith(f"{group}/"):
            raise Unlayered(group)
        return found[0]

    def _file(self, group: str, choice: str) -> dict[str, Any]:
        package = _package(group, self._load(f"{group}/{choice}"))
        entry, _ = self._entry(group)
        if _package(group, self._load(str(entry.config_path))) != entry.package:
            raise Unlayered(group)
        file = self._read(f"{group}/{choice}", package)
        options = dotted_names()
        if any(options.get(option) in (None, dict) for option in file):
            raise Unlayered(group)
        return file

    def _load(self, path: str) -> ConfigResult:
        for source in self._sources:
            if source.is_config(path):
                return source.load_config(path)
        raise Unlayered(path)

    def _read(self, path: str, package: str | None) -> dict[str, Any]:
        """The options that a file writes, by dotted name."""
        result = self._load(path)
        plain: Any = OmegaConf.to_container(result.config, resolve=False)
        defaults = plain.pop("defaults", None)
        plain.pop("hydra", None)
        if "${" in str(plain) or "${" in str(defaults):
            raise Unlayered(path)
        prefix = f"{package}." if package else ""
        return {name: value for name, value in _flat(plain, prefix) if value != MISSING}

    def _check(self, base: RunConfig, fixed: Sequence[Token]) -> None:
        """Raises `Unlayered` where the layers don't give what Hydra composed."""
        composed = flatten(base)
        if set(self._groups) & {ALIASES.get(token.name) for token in fixed}:
            raise Unlayered
        if any(self._value(option, {}) != composed[option] for option in self._groups):
            raise Unlayered


def _flat(plain: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    options = dotted_names()
    for name, value in plain.items():
        if isinstance(value, dict) and f"{prefix}{name}" not in options:
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _package(group: str, result: ConfigResult) -> str:
    """The section that a group's file writes to."""
    header = result.header.get("package")
    if "defaults" in result.config or (header and ("_group_" in header or "_name_" in header)):
        raise Unlayered(group)
    if header is None:
        return group.replace("/", ".")
    return header.removeprefix("_global_").removeprefix(".")
