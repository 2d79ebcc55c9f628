"""The words of the command line: read, spelled as Hydra wants them, and checked against what exists."""

import dataclasses
import difflib
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob, Override, Quote, QuotedString, Sweep
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from cbam_ablate.config.errors import ConfigError, UserError
from cbam_ablate.config.schema import RunConfig

ALIASES = {
    "backbone": "model.backbone",
    "depth": "model.depth",
    "placement": "model.attention.placement",
    "attention": "model.attention.kind",
    "reduction": "model.attention.reduction",
    "kernel": "model.attention.kernel",
    "data": "data.name",
    "optimizer": "optimizer.name",
    "schedule": "schedule.name",
}
"""The dotted name that each group's choice decides, by which tables and manifests call the axis."""
GROUP_OF = {dotted: group for group, dotted in ALIASES.items()}

SINGLE = ("study", "store")
"""What a command has one of, swept or not."""

SHORT = {"detach": "sweep.detach"}
"""Options with a name of their own on the command line."""


def conf_dir() -> Path:
    """Where the package's own config groups are: inside an installed package, or beside it in a clone."""
    inside = Path(__file__).parents[1] / "conf"
    return inside if inside.is_dir() else Path(__file__).parents[2] / "conf"


def conf_dirs() -> list[Path]:
    """Folders that groups are looked up in: `conf` in the working folder, where there is one, and ours."""
    here = Path("conf").resolve()
    return [here, conf_dir()] if here.is_dir() and here != conf_dir().resolve() else [conf_dir()]


def choices(group: str) -> list[str]:
    """The choices of a group, numbers in order."""
    found = {path.stem for folder in conf_dirs() for path in (folder / group).glob("*.yaml")}
    return sorted(found, key=lambda name: (not name.isdigit(), int(name) if name.isdigit() else 0, name))


def groups() -> set[str]:
    """Our own config groups."""
    return {path.name for folder in conf_dirs() for path in folder.iterdir() if path.is_dir()} - {"hydra"}


class Word(NamedTuple):
    """One word of the command line, as the user said it and as Hydra reads it."""

    said: str
    override: Override

    @property
    def name(self) -> str:
        return self.override.key_or_group

    @property
    def spelled(self) -> str:
        """As Hydra accepts it: `depth=18,34` becomes `depth='18','34'`."""
        return self.override.input_line or ""

    @property
    def values(self) -> list[Any]:
        """The values it stands for, one or several; raises `ConfigError` for an open interval."""
        if not self.override.is_sweep_override():
            return [self.override.value()]
        value = self.override.value()
        if isinstance(value, Glob):
            return list(value.filter(choices(self.name)))
        if not self.override.is_discrete_sweep():
            raise ConfigError(f"{self.said}: an interval has no list of values; use range(a,b,step) or a,b,c")
        return [_plain(item) for item in self.override.sweep_iterator()]


def _plain(value: Any) -> Any:
    return value.text if isinstance(value, QuotedString) else value


def parse(words: Iterable[str]) -> list[Word]:
    """Hydra's reading of each word, choices of our groups as strings; of an option given twice, the last.

    A group replaces its option's dotted name before it; after it, that name changes what the group chose.
    Raises `ConfigError` listing every word that can't be read.
    """
    parser, errors = OverridesParser.create(), []
    last: dict[str, Word] = {}
    for said in words:
        name, equals, value = said.partition("=")
        word = f"{SHORT.get(name, name)}{equals}{value}"
        try:
            override = parser.parse_override(word)
            if _holder(override.key_or_group) and not (override.is_add() or override.is_force_add()):
                override = parser.parse_override(f"++{word}")
            found = Word(said, _quote_choice(parser, override))
            last.pop(ALIASES.get(found.name, ""), None)
            last[found.name] = found
        except HydraException as error:
            why = str(error.__cause__ or error).splitlines()[0]
            cause = f" ({why})" if why != "None" else ""
            errors.append(f"{said}: not a name=value that Hydra can read{cause}; {name}='...' quotes special "
                          "characters, within quotes for the shell")  # fmt: skip
    if errors:
        raise ConfigError("\n".join(errors))
    return list(last.values())


def _quote_choice(parser: OverridesParser, override: Override) -> Override:
    """Hydra refuses a number as a group's choice; as a string it is one."""
    if override.key_or_group not in groups() or override.is_delete():
        return override
    value = override.value()
    if isinstance(value, Sweep):
        if not override.is_discrete_sweep():
            return override
        values = list(override.sweep_iterator())
    else:
        values = [] if value is None else [value]
    if not any(isinstance(item, int | float) for item in values):
        return override
    quoted = ",".join(_element(item, quote=isinstance(item, int | float)) for item in values)
    head = (override.input_line or "").partition("=")[0]
    return parser.parse_override(f"{head}={quoted}")


def _element(item: Any, quote: bool) -> str:
    text = Override._get_value_element_as_str(item)
    return QuotedString(text, Quote.single).with_quotes() if quote else text


def verify(words: Iterable[Word], sweeping: bool) -> None:
    """Checks names, choices and types of all words at once; raises one `ConfigError` naming every bad one."""
    found: list[str] = []
    for word in words:
        name, override = word.name, word.override
        if name.startswith("hydra"):
            continue
        try:
            if override.is_delete() or override.package or (override.is_add() and not _holder(name)):
                found.append(f"{word.said}: options are set by name=value, without ~, + or @")
            elif override.is_sweep_override() and name in SINGLE:
                found.append(f"{word.said}: one {name} at a time; give one value")
            elif override.is_sweep_override() and not sweeping:
                found.append(f"{word.said}: several values make a sweep; add -m to run it, or give one value")
            else:
                found += _bad_choices(word) if name in groups() else _bad_values(word)
        except UserError as error:
            found.append(str(error))
    if found:
        raise ConfigError("\n".join(found))


def _bad_choices(word: Word) -> list[str]:
    group, found = word.name, []
    legal = choices(group)
    single = group in ALIASES or group in SINGLE
    for value in word.values if single else _flat(word.values):
        if isinstance(value, list):
            sweep = f"; a sweep is {group}={','.join(map(str, value))} with -m" if group in ALIASES else ""
            found.append(f"{word.said}: takes one{sweep}")
        elif str(value) not in legal:
            dotted = ALIASES.get(group)
            free = group in ("depth", "reduction", "kernel")
            hint = f"; any other value goes by its dotted name, {dotted}={value}" if free else ""
            found.append(f"{group}={value}: not one of {', '.join(legal)}{_near(str(value), legal)}{hint}")
    return found


def _flat(values: list[Any]) -> Iterator[Any]:
    for value in values:
        yield from value if isinstance(value, list) else [value]


def _bad_values(word: Word) -> list[str]:
    key, known = word.name, dotted_names()
    if _holder(key):
        return []
    if key not in known:
        inside = [name for name in known if name.startswith(f"{key}.")]
        if inside:
            return [f"{word.said}: {key} is a section; set its options: {', '.join(inside)}"]
        return [f"{word.said}: no option or group is called {key}{_near_name(key)}"]
    found = []
    for value in word.values:
        try:
            coerce(key, value)
        except UserError as error:
            found.append(str(error))
    return found


def spell(value: Any) -> str:
    """A config value as the command line spells it."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list | tuple):
        return "+".join(spell(item) for item in value)
    return str(value)


def same(value: Any, other: Any) -> bool:
    """Whether two config values are the same, however they were spelled (16, "16", 16.0)."""
    if spell(value) == spell(other):
        return True
    try:
        return float(value) == float(other) and not isinstance(value, bool) and not isinstance(other, bool)
    except (TypeError, ValueError):
        return False


def short_name(dotted: str, among: Iterable[str]) -> str:
    """What people call an option: its group, else the last part, or all where another of these shares it."""
    last = dotted.rpartition(".")[2]
    shared = any(other != dotted and other.rpartition(".")[2] == last for other in among)
    return GROUP_OF.get(dotted) or (dotted if shared else last)


def _holder(key: str) -> bool:
    """Whether the key is, or is inside, an option that holds free keys, as `table.labels` does."""
    if key.startswith(("hydra.sweeper.around", "hydra.sweeper.params")):
        return True
    return any(kind is dict and f"{key}.".startswith(f"{name}.") for name, kind in dotted_names().items())


def _near_name(key: str) -> str:
    known = [*dotted_names(), *groups()]
    tails = [name for name in known if name.rpartition(".")[2] == key.rpartition(".")[2]]
    close = tails or difflib.get_close_matches(key, known, n=3, cutoff=0.6)
    if close:
        return f"; did you mean {' or '.join(close)}?"
    sections = sorted({name.partition(".")[0] for name in known})
    return f"; the sections and groups are {', '.join(sections)}"


def _near(text: str, legal: list[str]) -> str:
    close = difflib.get_close_matches(text, legal, n=1)
    return f"; did you mean {close[0]}?" if close else ""


@cache
def dotted_names() -> dict[str, Any]:
    """Every option's dotted name, and `dict` for those that hold free keys."""
    found: dict[str, Any] = {}

    def walk(section: Any, prefix: str) -> None:
        for field in dataclasses.fields(section):
            value = getattr(section, field.name)
            if dataclasses.is_dataclass(value):
                walk(value, f"{prefix}{field.name}.")
            else:
                found[f"{prefix}{field.name}"] = dict if isinstance(value, dict) else field.type

    walk(RunConfig(), "")
    return found


@cache
def _schema() -> Any:
    return OmegaConf.structured(RunConfig)


def coerce(key: str, value: Any) -> Any:
    """The value as the schema types it. Raises `ConfigError` naming value and type."""
    section, _, name = key.rpartition(".")
    node = OmegaConf.select(_schema(), section).copy() if section else _schema().copy()
    try:
        node[name] = value
        made = node[name] if not (isinstance(value, str) and "${" in value) else value
    except (OmegaConfBaseException, ValueError) as error:
        kind = dotted_names()[key]
        said = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}.get(kind)
        wanted = said or str(kind).replace(" | None", ", or null").replace("int", "a whole number")
        raise ConfigError(f"{key}={value}: must be {wanted}") from error
    return OmegaConf.to_container(made) if OmegaConf.is_config(made) else made
