"""Configs for tests that aren't about composing them, which takes a tenth of a second."""

import copy
import functools
from collections.abc import Iterable
from dataclasses import Field
from typing import Any

import yaml

from cbam_ablate.config.canonical import leaves, resolved
from cbam_ablate.config.compose import compose, typed
from cbam_ablate.config.overrides import parse, verify
from cbam_ablate.config.rules import check
from cbam_ablate.config.schema import RunConfig

FIELDS = {name: field for name, field, _ in leaves(RunConfig())}


@functools.cache
def _typed(words: tuple[str, ...]) -> RunConfig:
    tokens = parse(words)
    verify(tokens, sweeping=False)
    return typed(compose(tokens))


def _value(field: Field[Any], text: str) -> Any:
    value = text if field.type is str else yaml.safe_load(text)
    if "float" not in str(field.type):
        return value
    if isinstance(value, list):
        return [float(each) for each in value]
    return float(value) if isinstance(value, int | str) else value


def composed(words: Iterable[str] = ()) -> RunConfig:
    """What `load_config` makes of these words: the groups among them are composed once for all who ask, the
    options set in a copy, which is then filled in and checked as ever.
    """
    words = list(words)
    options = [word.partition("=") for word in words if word.partition("=")[0] in FIELDS]
    groups = tuple(word for word in words if word.partition("=")[0] not in FIELDS)
    cfg = copy.deepcopy(_typed(groups))
    for name, _, text in options:
        *sections, last = name.split(".")
        setattr(functools.reduce(getattr, sections, cfg), last, _value(FIELDS[name], text))
    return check(resolved(cfg))
