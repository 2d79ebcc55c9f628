"""Configs for tests that aren't about composing them, which takes a tenth of a second."""

import copy
import functools
from collections.abc import Iterable, Mapping
from dataclasses import Field
from typing import Any

import yaml

from cbam_ablate.config.canonical import leaves, resolved
from cbam_ablate.config.compose import compose, make_loader, typed
from cbam_ablate.config.layers import Layers
from cbam_ablate.config.overrides import parse, verify
from cbam_ablate.config.rules import check
from cbam_ablate.config.schema import RunConfig
from cbam_ablate.config.where import choices, conf_dirs, standing

FIELDS = {name: field for name, field, _ in leaves(RunConfig())}
STANDING = standing() - {"logger", "study"}
"""Groups whose choices exchange a file each."""


@functools.cache
def _base() -> tuple[RunConfig, Layers]:
    """The config of no words, and what each choice changes in it."""
    assert len(conf_dirs()) == 1, "configs of a test's own would stand in those of others"
    loader = make_loader()
    base = typed(compose([], loader))
    return base, Layers(base, [], loader, {group: choices(group) for group in STANDING}, given=())


@functools.cache
def _typed(words: tuple[str, ...]) -> RunConfig:
    choice = {word.partition("=")[0]: word.partition("=")[2] for word in words}
    if any(group not in STANDING or value not in choices(group) for group, value in choice.items()):
        tokens = parse(words)
        verify(tokens, sweeping=False)
        return typed(compose(tokens))
    base, layers = _base()
    return _with(base, layers.values(choice))


def _with(cfg: RunConfig, values: Mapping[str, Any]) -> RunConfig:
    """A copy with these options, by dotted name."""
    cfg = copy.deepcopy(cfg)
    for name, value in values.items():
        *sections, last = name.split(".")
        setattr(functools.reduce(getattr, sections, cfg), last, copy.deepcopy(value))
    return cfg


def _value(field: Field[Any], text: str) -> Any:
    value = text if field.type is str else yaml.safe_load(text)
    if "float" not in str(field.type):
        return value
    if isinstance(value, list):
        return [float(each) for each in value]
    return float(value) if isinstance(value, int | str) else value


def composed(words: Iterable[str] = ()) -> RunConfig:
    """What `load_config` makes of these words: Hydra composes the defaults once for all who ask, choices and
    options are set in a copy, which is then filled in and checked as ever.
    """
    words = list(words)
    options = [word.partition("=") for word in words if word.partition("=")[0] in FIELDS]
    groups = tuple(word for word in words if word.partition("=")[0] not in FIELDS)
    values = {name: _value(FIELDS[name], text) for name, _, text in options}
    return check(resolved(_with(_typed(groups), values)))
