"""What a run is: its resolved config, what of it has an effect, and the key that names it."""

import dataclasses
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from cbam_ablate.config.errors import ConfigError
from cbam_ablate.config.schema import OFF_UNSET, RunConfig
from cbam_ablate.registry import Attention, Backbone, Optimizer, Schedule, find, rows

SCHEMA_VERSION = 1
"""Part of every run key. It rises when a fix changes what a config measures."""

OUTSIDE = {"logger", "sweep", "table", "metrics", "figure"}
"""Sections that say how a run is watched or tabulated, not what it is."""

OFF_THE_SHELF = {"model.depth", "model.width"}
"""What others' networks have no options for: null says that these have no effect."""

GATES = {"block": {"block"}, "class": {"class"}, "both": {"block", "class"}}
"""The gates that a placement puts and `residual` adds to."""

ORDER_IGNORES = {
    "channel_only": {"kernel", "conv_bias", "spatial_norm", "descriptor"},
    "spatial_only": {"reduction", "pool", "mlp_bias"},
}


def leaves(section: Any, prefix: str = "") -> Iterator[tuple[str, dataclasses.Field[Any], Any]]:
    """Yields (dotted name, field, value) of every option below a config dataclass, in declared order."""
    for field in dataclasses.fields(section):
        value = getattr(section, field.name)
        if dataclasses.is_dataclass(value):
            yield from leaves(value, f"{prefix}{field.name}.")
        else:
            yield f"{prefix}{field.name}", field, value


def flatten(cfg: RunConfig) -> dict[str, Any]:
    """Every option by its dotted name."""
    return {name: value for name, _, value in leaves(cfg)}


def resolve(cfg: RunConfig) -> RunConfig:
    """Fills in, in place, the automatic values that don't depend on a machine."""
    backbone = rows(Backbone).get(cfg.model.backbone)
    if backbone is not None:
        if cfg.model.depth is None:
            cfg.model.depth = backbone.default_depth
        if cfg.model.width is None:
            cfg.model.width = backbone.width
    return cfg


def inert(cfg: RunConfig) -> set[str]:
    """Dotted names of the options that have no effect in this config."""
    names: set[str] = set()
    attention = cfg.model.attention
    fields = {f"{f.name}" for f in dataclasses.fields(attention)} - {"placement"}
    if attention.placement == "none":
        unused = fields
    else:
        unused = fields - {"kind", "residual"} - find(Attention, attention.kind).uses
        unused |= ORDER_IGNORES.get(attention.order, set()) if "order" not in unused else set()
    names |= {f"model.attention.{name}" for name in unused}

    common = {"backbone", "depth", "width", "attention"} | find(Backbone, cfg.model.backbone).uses
    names |= {f"model.{f.name}" for f in dataclasses.fields(cfg.model) if f.name not in common}

    used = find(Optimizer, cfg.optimizer.name).uses
    names |= {f"optimizer.{name}" for other in rows(Optimizer).values() for name in other.uses - used}
    if cfg.optimizer.momentum == 0:
        names.add("optimizer.nesterov")
    if cfg.optimizer.weight_decay == 0:
        names.add("optimizer.decay_norm_bias")

    used = find(Schedule, cfg.schedule.name).uses
    names |= {f"schedule.{name}" for other in rows(Schedule).values() for name in other.uses - used}

    if cfg.data.train_size is None:
        names.add("data.subset_seed")
    return names


def effective(cfg: RunConfig) -> dict[str, Any]:
    """The options that have an effect on what is measured, by dotted name.

    `residual` is as far as the placement has gates for it.
    """
    without = inert(cfg)
    found = {
        name: value
        for name, field, value in leaves(cfg)
        if name.split(".")[0] not in OUTSIDE and field.metadata["identity"] and name not in without
    }
    if "model.attention.residual" not in without:
        attention = cfg.model.attention
        reached = GATES.get(attention.placement, set()) & GATES.get(attention.residual, set())
        found["model.attention.residual"] = "both" if len(reached) == 2 else next(iter(reached), "none")
    return found


def canonical(cfg: RunConfig) -> dict[str, Any]:
    """The effective options less those at their off value: what the run key is made from."""
    off = {name: field.metadata["off"] for name, field, _ in leaves(cfg)}
    values = {
        name: value for name, value in effective(cfg).items() if off[name] is OFF_UNSET or value != off[name]
    }
    if "train.resume_from" in values:
        values["train.resume_from"] = parent_of(values["train.resume_from"])
    if values.get("model.pretrained") not in (None, "imagenet"):
        values["model.pretrained"] = _hash_of(Path(values["model.pretrained"]).expanduser())
    return values


def network_of(cfg: RunConfig) -> str:
    """A text that is the same for runs of the same network on images of the same size."""
    parts = {name: value for name, value in effective(cfg).items() if name.startswith("model.")}
    return json.dumps([cfg.data.name, parts], sort_keys=True)


def run_key(cfg: RunConfig) -> str:
    """16 hexadecimal digits that name what this config measures."""
    text = json.dumps({"schema": SCHEMA_VERSION, **canonical(cfg)}, sort_keys=True)
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
    return _hash_of(path)


def _hash_of(path: Path) -> str:
    try:
        known = path.stat()
    except OSError as error:
        said = f"{path}: can't be read, and what is in it is part of what the run is ({error.strerror})"
        raise ConfigError(said) from error
    return _hash(path, known.st_size, known.st_mtime_ns)


@cache
def _hash(path: Path, size: int, changed: int) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


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
