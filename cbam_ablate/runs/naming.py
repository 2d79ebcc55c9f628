"""A run in words, for the places where people compare runs."""

from collections.abc import Mapping
from typing import Any

from cbam_ablate.config.canonical import effective, from_dict
from cbam_ablate.config.options import ALIASES
from cbam_ablate.config.schema import RunConfig
from cbam_ablate.errors import UserError


def config_of(cfg: RunConfig) -> dict[str, Any]:
    """The options that have an effect, by dotted name; and by the groups' short names, to group runs by."""
    values = effective(cfg)
    return {**values, **{short: values.get(dotted) for short, dotted in ALIASES.items()}}


def name_of(cfg: RunConfig) -> str:
    """A run's name for people: `resnet18 cbam block r16 k7 seed 0`."""
    if cfg.name:
        return cfg.name[:128]
    values, model = config_of(cfg), cfg.model
    theirs = model.timm or model.torchvision
    network = f"{model.backbone} {theirs}" if theirs else f"{model.backbone}{model.depth}"
    gate = [values["attention"], values.get("model.attention.timm"), values["placement"]]
    numbers = [f"{short[0]}{values[short]}" for short in ("reduction", "kernel") if values[short] is not None]
    return " ".join(filter(None, [network, *gate, *numbers, f"seed {cfg.seed}"]))


def names_of(config: Mapping[str, Any] | None) -> list[str]:
    """What a run of this config.json is called: its given name, and the one that is made of its options.

    None of a config that this version can't read, as others' are.
    """
    try:
        cfg = from_dict(config or {})
        cfg.name, given = None, cfg.name
        return [*([given] if given else []), name_of(cfg)] if config else []
    except (UserError, ValueError, KeyError, TypeError, AttributeError):
        return []
