"""From a config to its network."""

import logging

from torch import nn

from cbam_ablate.config.schema import RunConfig
from cbam_ablate.models.weights import load_pretrained
from cbam_ablate.registry import Backbone, facts, find

log = logging.getLogger(__name__)


def build_model(cfg: RunConfig, *, pretrained: bool = True) -> nn.Module:
    """The network of `cfg`: images (N, C, H, W) to logits (N, classes), freshly initialised.

    The data set decides classes and input channels. Under `torch.device("meta")` nothing is allocated.
    `model.pretrained` is then loaded into it, unless `pretrained` is false (a checkpoint follows) or it is on
    the meta device; the log says what was and what wasn't loaded.
    """
    data, backbone = facts(cfg.data), find(Backbone, cfg.model.backbone)
    sizes = (data.classes, data.channels, data.size) if backbone.target else (data.classes, data.channels)
    network: nn.Module = backbone.load()(cfg.model, *sizes)
    on_meta = any(parameter.is_meta for parameter in network.parameters())
    if pretrained and cfg.model.pretrained is not None and "pretrained" in backbone.uses and not on_meta:
        log.info("%s", load_pretrained(network, cfg.model))
    return network
