"""From a config to its network."""

import logging

import torch
from torch import nn

from cbam_ablate.config.own_rules import refuse_changed_code
from cbam_ablate.config.schema import RunConfig
from cbam_ablate.models.placement import put_all
from cbam_ablate.models.weights import Loaded, examine_pretrained, load_pretrained
from cbam_ablate.registry import Backbone, facts, find

log = logging.getLogger(__name__)


def build_model(cfg: RunConfig, *, pretrained: bool = True) -> nn.Module:
    """The network of `cfg`: images (N, C, H, W) to logits (N, classes), freshly initialised.

    The data set decides classes and input channels. Under `torch.device("meta")` nothing is allocated.
    Raises `ConfigError` where it has code of one's own that isn't what it was when `cfg` was made.
    `model.pretrained` is then loaded into it, unless `pretrained` is false (a checkpoint follows) or it is on
    the meta device; the log says what was and what wasn't loaded, and so does `loaded_into(network)`.
    """
    refuse_changed_code(cfg, ("model",))
    data, backbone = facts(cfg.data), find(Backbone, cfg.model.backbone)
    sizes = (data.classes, data.channels, data.size) if backbone.target else (data.classes, data.channels)
    network: nn.Module = backbone.load()(cfg.model, *sizes)
    if cfg.model.attention.placement == "at":
        put_all(network, cfg.model.attention, data.size)
    on_meta = any(parameter.is_meta for parameter in network.parameters())
    if pretrained and cfg.model.pretrained is not None and not on_meta:
        report = load_pretrained(network, cfg.model)
        log.info("%s", report)
        network.loaded_from = report  # type: ignore[assignment]
    return network


def loaded_into(network: nn.Module) -> Loaded | None:
    """What `build_model` loaded; None of a network that started fresh."""
    return getattr(network, "loaded_from", None)


def check_pretrained(cfg: RunConfig) -> Loaded | None:
    """What would be loaded, by the file's names and shapes; None where nothing is or it isn't here yet.

    Raises `ConfigError` where the weights are not this network's, or nobody publishes them.
    """
    if cfg.model.pretrained is None:
        return None
    with torch.device("meta"):
        network = build_model(cfg, pretrained=False)
    return examine_pretrained(network, cfg.model)
