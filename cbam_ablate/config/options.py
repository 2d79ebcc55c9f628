"""Options by their dotted names: what they are called, how they are typed and spelled."""

import copy
import dataclasses
import re
from collections.abc import Iterable, Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from cbam_ablate.config.schema import RunConfig
from cbam_ablate.errors import ConfigError

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
    "loss": "loss.name",
}
"""The dotted name that each group's choice decides, by which tables and manifests call the axis."""
GROUP_OF = {dotted: group for group, dotted in ALIASES.items()}
SHORT = {"detach": "sweep.detach", "study.name": "name", "attention.start": "model.attention.start"}
"""Options with a name of their own on the command line."""
SHORT_SECTIONS = {"attention.options.": "model.attention.options.", "backbone.options.": "model.options."}

LEADING_ZERO = re.compile(r"[+-]?0\d+")


NUMBER_OR_KEYS = {"table.digits"}
"""Options that are one number, or hold free keys."""


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


def holder_of(key: str) -> str | None:
    """The option with free keys that a dotted name is, or is inside."""
    names = (name for name, kind in dotted_names().items() if kind is dict or name in NUMBER_OR_KEYS)
    return next((name for name in names if f"{key}.".startswith(f"{name}.")), None)


_made = cache(partial(OmegaConf.structured, RunConfig))


def schema_node() -> Any:
    """OmegaConf's `RunConfig`, all options at their defaults: a copy, five times as fast as a new one."""
    return copy.deepcopy(_made())


_schema = cache(schema_node)


PLAINLY: dict[Any, str] = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "text",
    dict: "a mapping, say {name: value}",
}
"""Types as errors call them."""


def coerce(key: str, value: Any) -> Any:
    """The value as the schema types it. Raises `ConfigError` naming value and type."""
    section, _, name = key.rpartition(".")
    kind: Any = dotted_names().get(key)
    if kind is bool and isinstance(value, int) and value not in (0, 1):
        raise ConfigError(f"{key}={value}: must be true or false")
    if kind in (int, int | None) and isinstance(value, str) and LEADING_ZERO.fullmatch(value):
        raise ConfigError(f"{key}={value}: {int(value)} or, by YAML, octal; write it without the leading 0")
    node = OmegaConf.select(_schema(), section) if section else _schema()
    if node is None:  # inside a free key
        return value
    try:
        OmegaConf.update(node, name, value, merge=False)  # of an assignment's conversions OmegaConf 2.4 warns
        made = node[name] if not (isinstance(value, str) and "${" in value) else value
    except (OmegaConfBaseException, ValueError, OverflowError) as error:
        wanted = PLAINLY.get(kind) or str(kind).replace(" | None", ", or null").replace(
            "int", "a whole number"
        )
        wanted = re.sub(r"^list\[.*?\]+", "a list, say [a,b]", wanted)
        if wanted == PLAINLY[float] and isinstance(value, int):
            wanted = "a smaller number"
        shown = text if len(text := str(value)) < 60 else f"{text[:20]}..."
        raise ConfigError(f"{key}={shown}: must be {wanted}") from error
    return OmegaConf.to_container(made) if OmegaConf.is_config(made) else made


def spell(value: Any) -> str:
    """A config value as the command line spells it."""
    if isinstance(value, str):
        return str(value)
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        short = f"{value:g}"
        return short if float(short) == value else repr(value)
    if isinstance(value, list | tuple):
        return "+".join(spell(item) for item in value)
    return str(value)


def same(value: Any, other: Any) -> bool:
    """Whether two config values are the same, however they were spelled (16, "16", 16.0)."""
    if spell(value) == spell(other):
        return True
    try:
        return float(value) == float(other) and not isinstance(value, bool) and not isinstance(other, bool)
    except (TypeError, ValueError, OverflowError):
        return False


def long_name(name: str) -> str:
    """An option's dotted name where it has a short one."""
    bare = name.lstrip("+~")
    for short, long in SHORT_SECTIONS.items():
        if bare.startswith(short):
            return name.replace(short, long, 1)
    return SHORT.get(name, name)


def short_name(dotted: str, among: Iterable[str]) -> str:
    """What people call an option: its group, else the last part, or all where another of these shares it."""
    last = dotted.rpartition(".")[2]
    shared = any(other != dotted and other.rpartition(".")[2] == last for other in among)
    return GROUP_OF.get(dotted) or (dotted if shared else last)


def as_typed(axes: Mapping[str, Any]) -> str:
    """Options by the names that a command line has for them: `placement=block data.label_noise=0.1`.

    What has no effect, None, is left out.
    """
    shown = {GROUP_OF.get(name, name): value for name, value in axes.items() if value is not None}
    return " ".join(f"{name}={spell(value)}" for name, value in shown.items())


def difference(one: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    """The options in which two configs differ, by dotted name: `optimizer.lr 0.1 and 0.001`."""
    names = [name for name in {**one, **other} if one.get(name) != other.get(name)]
    return ", ".join(f"{name} {spell(one.get(name))} and {spell(other.get(name))}" for name in names)


def check_store(text: str) -> str:
    """A store's folder. Raises `ConfigError` for what names none, as a shell's unset variable does."""
    if not text.strip():
        raise ConfigError("store=: names no folder (is a variable of the shell unset?); say store=outputs")
    try:
        return str(Path(text).expanduser())
    except RuntimeError as error:
        raise ConfigError(f"store={text}: there is no such user; give a folder") from error
