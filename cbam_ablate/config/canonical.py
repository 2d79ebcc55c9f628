"""What a run is: its resolved config, what of it has an effect, and the key that names it."""

import dataclasses
import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from cbam_ablate.config.content import hash_of
from cbam_ablate.config.field import OFF_UNSET
from cbam_ablate.config.inert import INERT, inert_in, places_moved
from cbam_ablate.config.once import Once, each_time
from cbam_ablate.config.schema import (
    POOLS,
    DataConfig,
    ModelConfig,
    RunConfig,
)
from cbam_ablate.errors import ConfigError
from cbam_ablate.registry import (
    Attention,
    Backbone,
    Dataset,
    Part,
    code_of,
    facts,
    find,
    kinds,
    own_target,
    rows,
)

SCHEMA_VERSION = 1
"""Part of every run key. It rises when a fix changes what a config measures."""

OUTSIDE = {"logger", "sweep", "table", "metrics", "figure"}
"""Sections that say how a run is watched or tabulated, not what it is."""

SECTIONS = [field.name for field in dataclasses.fields(RunConfig) if dataclasses.is_dataclass(field.type)]
INSIDE = [name for name in SECTIONS if name not in OUTSIDE]
TOP = [field for field in dataclasses.fields(RunConfig) if field.name not in SECTIONS]
"""Options in no section."""

OFF_THE_SHELF = {"model.depth", "model.width"}
"""What others' networks have no options for: null says that these have no effect."""

GATES = {"block": {"block"}, "class": {"class"}, "both": {"block", "class"}, "at": {"block"}}
"""The gates that a placement puts and `residual` adds to."""


def leaves(section: Any, prefix: str = "") -> Iterator[tuple[str, dataclasses.Field[Any], Any]]:
    """Yields (dotted name, field, value) of every option below a config dataclass, in declared order."""
    for field in dataclasses.fields(section):
        value = getattr(section, field.name)
        if dataclasses.is_dataclass(value):
            yield from leaves(value, f"{prefix}{field.name}.")
        else:
            yield f"{prefix}{field.name}", field, value


@cache
def measured() -> frozenset[str]:
    """Dotted names of the options that can change what a run measures."""
    return frozenset(
        name
        for name, field, _ in leaves(RunConfig())
        if field.metadata["identity"] and name.partition(".")[0] not in OUTSIDE
    )


OPTIONS = {
    option: kind
    for kind in kinds().values()
    for option, _, _ in leaves(RunConfig())
    if option == f"{kind.option.rpartition('.')[0]}.options"
}
"""Where the options of one's own parts are."""
NAMING: dict[str, type[Part]] = {
    option: field.metadata["part"] for option, field, _ in leaves(RunConfig()) if field.metadata["part"]
}
"""The options that name a part."""


def value_of(cfg: RunConfig, option: str) -> Any:
    """An option's value by its dotted name."""
    found: Any = cfg
    for name in option.split("."):
        found = getattr(found, name)
    return found


def flatten(cfg: RunConfig) -> dict[str, Any]:
    """Every option by its dotted name."""
    return {name: value for name, _, value in leaves(cfg)}


def resolved(cfg: RunConfig) -> RunConfig:
    """The config with the automatic values that don't depend on a machine."""
    changes = {name: fill(getattr(cfg, name)) for name, fill in RESOLVED.items()}
    changes["model"] = with_stem(changes["model"], changes["data"])
    made = dataclasses.replace(cfg, **changes)
    return dataclasses.replace(made, code=own_code(made))


def own_code(cfg: RunConfig) -> dict[str, str]:
    """The sha256 of the source of each of one's own parts that has an effect, by the part's name."""
    found = {}
    for option, kind in NAMING.items():
        name = value_of(cfg, option)
        if not isinstance(name, str) or not own_target(kind, name):
            continue
        section = option.partition(".")[0]
        digest = None if option in inert_in(section, getattr(cfg, section)) else code_of(kind, name)
        if digest is not None:
            found[name] = digest
    return found


def resolved_model(model: ModelConfig) -> ModelConfig:
    """The network with the backbone's own depth and width, and the attention's own reduction, where they were
    left open. Where modules are named for attention, that is the placement.
    """
    attention = model.attention
    if attention.at and attention.placement == "none":
        attention = dataclasses.replace(attention, placement="at")
        model = dataclasses.replace(model, attention=attention)
    if attention.reduction is None:
        row = rows(Attention).get(attention.kind)
        ratio = attention.ratio if row is None else row.reduction
        model = dataclasses.replace(model, attention=dataclasses.replace(attention, reduction=ratio))
    backbone = rows(Backbone).get(model.backbone)
    if backbone is None:
        return model
    depth = backbone.default_depth if model.depth is None else model.depth
    width = backbone.width if model.width is None else model.width
    return dataclasses.replace(model, depth=depth, width=width)


SMALL = 64
"""Pixels a side up to which images are small."""


def with_stem(model: ModelConfig, data: DataConfig) -> ModelConfig:
    """The network with the stem that its images ask for where it was left open.

    Published weights have the stem for large images. What has no choice of stems has the off value.
    """
    if model.stem != "auto":
        return model
    backbone, small = rows(Backbone).get(model.backbone), False
    named = model.pretrained is not None and names_published(model.pretrained)
    if backbone is not None and "stem" in backbone.uses and not named and data.name in rows(Dataset):
        small = 0 < facts(data).size <= SMALL
    return dataclasses.replace(model, stem="cifar" if small else "imagenet")


def resolved_data(data: DataConfig) -> DataConfig:
    """The data set with what is found out by looking at its files. Raises `DataError` where that fails."""
    if data.name not in rows(Dataset) and not own_target(Dataset, data.name):
        return data
    row = find(Dataset, data.name)
    if row.discover is None or (data.root is None and not row.target):
        return data
    found: DataConfig = import_module(row.discover).resolved(data)
    return found


RESOLVED: dict[str, Callable[[Any], Any]] = {"model": resolved_model, "data": resolved_data}


def inert(cfg: RunConfig) -> set[str]:
    """Dotted names of the options that have no effect in this config."""
    return {option for name in INERT for option in inert_in(name, getattr(cfg, name))}


def effective_in(name: str, section: Any) -> dict[str, Any]:
    """The options of one section that have an effect, by dotted name."""
    without = inert_in(name, section)
    found: dict[str, Any] = {
        option: value + 0.0 if isinstance(value, float) else value  # of -0.0 the same is meant as of 0.0
        for option, field, value in leaves(section, f"{name}.")
        if field.metadata["identity"] and option not in without
    }
    if "model.attention.pool" in found:
        found["model.attention.pool"] = sorted(found["model.attention.pool"], key=POOLS.index)
    if name == "model" and "model.attention.residual" not in without:
        attention = section.attention
        reached = GATES.get(attention.placement, set()) & GATES.get(attention.residual, set())
        found["model.attention.residual"] = "both" if len(reached) == 2 else next(iter(reached), "none")
    for option in [option for option in found if option in OPTIONS]:
        kind, given = OPTIONS[option], found.pop(option)
        part = find(kind, found[kind.option])
        values = {**part.defaults, **part.typed_options(given)}
        found |= {f"{option}.{name}": value for name, value in values.items()}
    return found


def effective_top(cfg: RunConfig) -> dict[str, Any]:
    values = {field: getattr(cfg, field.name) for field in TOP if field.metadata["identity"]}
    return {field.name: value for field, value in values.items() if value != field.metadata["off"]}


def effective(cfg: RunConfig, once: Once = each_time) -> dict[str, Any]:
    """The options that have an effect on what is measured, by dotted name.

    `residual` is as far as the placement has gates for it.
    """
    found = effective_top(cfg)
    for name in INSIDE:
        found |= once(effective_in, name, getattr(cfg, name))
    return found


def canonical_in(name: str, section: Any) -> dict[str, Any]:
    """The effective options of one section less those at their off value."""
    off = {option: field.metadata["off"] for option, field, _ in leaves(section, f"{name}.")}
    found = effective_in(name, section)
    for option, kind in OPTIONS.items():
        if option in off and isinstance(found.get(kind.option), str) and own_target(kind, found[kind.option]):
            defaults = find(kind, found[kind.option]).defaults
            off |= {f"{option}.{one}": value for one, value in defaults.items()}
    values = {option: value for option, value in found.items() if value != off.get(option, OFF_UNSET)}
    if "train.resume_from" in values:
        values["train.resume_from"] = parent_of(values["train.resume_from"])
    if "model.pretrained" in values and not names_published(values["model.pretrained"]):
        values["model.pretrained"] = hash_of(Path(values["model.pretrained"]).expanduser())
    if name == "model" and places_moved(section):
        values["model.attention.places"] = 2
    return values


def names_published(pretrained: str | None) -> bool:
    """Whether `model.pretrained` is a name (imagenet, or a library's own), not a file."""
    return re.fullmatch(r"\w+", str(pretrained)) is not None and not os.path.isfile(str(pretrained))


def canonical(cfg: RunConfig) -> dict[str, Any]:
    """The effective options less those at their off value: what the run key is made from."""
    found = effective_top(cfg)
    for name in INSIDE:
        found |= canonical_in(name, getattr(cfg, name))
    return found


def _json_in(name: str, section: Any) -> str:
    return json.dumps(canonical_in(name, section), sort_keys=True)[1:-1]


def canonical_json(cfg: RunConfig, once: Once = each_time, **more: Any) -> str:
    """The canonical form, and `more` options beside it, as JSON with sorted names."""
    parts = {f"{name}.": once(_json_in, name, getattr(cfg, name)) for name in INSIDE}
    more |= effective_top(cfg)
    parts |= {name: f'"{name}": {json.dumps(value)}' for name, value in more.items()}
    return "{" + ", ".join(parts[name] for name in sorted(parts) if parts[name]) + "}"


def network_of(cfg: RunConfig, once: Once = each_time) -> str:
    """A text that is the same for runs of the same network on images of the same size."""
    text: str = once(_network_in, images_of(cfg.data), cfg.model)
    return text


def _network_in(images: str, model: ModelConfig) -> str:
    return json.dumps([images, effective_in("model", model)], sort_keys=True)


def images_of(data: DataConfig) -> str:
    """A text that is the same for data sets whose images and classes take the same network."""
    if find(Dataset, data.name).discover is None:
        return data.name
    known = facts(data)
    return f"{known.classes} classes of {known.channels}x{known.size}x{known.size}"


def run_key(cfg: RunConfig, once: Once = each_time) -> str:
    """16 hexadecimal digits that name what this config measures."""
    text = canonical_json(cfg, once, schema=SCHEMA_VERSION)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def is_run_key(text: str) -> bool:
    return re.fullmatch("[0-9a-f]{16}", text) is not None


def parent_of(source: str) -> str:
    """What a checkpoint is called in a run key: its run's key, or the file's hash where it has none."""
    if is_run_key(source):
        return source
    path = Path(source)
    if path.name == "last.pt" and path.parent.name == "checkpoints" and is_run_key(path.parents[1].name):
        return path.parents[1].name
    return hash_of(path)


def to_dict(cfg: RunConfig) -> dict[str, Any]:
    """The whole config as nested plain values, fit for JSON."""
    return dataclasses.asdict(cfg)


def from_dict(values: Mapping[str, Any]) -> RunConfig:
    """The inverse of `to_dict`; options unknown to this version are refused, missing ones take defaults."""
    return _build(RunConfig, values, "")


def _build(kind: Any, values: Mapping[str, Any], prefix: str) -> Any:
    fields = {field.name: field for field in dataclasses.fields(kind)}
    unknown = sorted(set(values) - set(fields))
    if unknown:
        raise ConfigError(f"{prefix}{unknown[0]}: this version of cbam_ablate has no such option")
    made = kind()
    for name, value in values.items():
        current = getattr(made, name)
        nested = dataclasses.is_dataclass(current)
        setattr(made, name, _build(type(current), value, f"{prefix}{name}.") if nested else value)
    return made
