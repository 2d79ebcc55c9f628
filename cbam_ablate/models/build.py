"""From a config to its network."""

from torch import nn

from cbam_ablate.config.facts import BACKBONES, DATASETS
from cbam_ablate.config.schema import RunConfig
from cbam_ablate.models.imports import load


def build_model(cfg: RunConfig) -> nn.Module:
    """The network of `cfg`: images (N, C, H, W) to logits (N, classes), freshly initialised.

    The data set decides classes and input channels. Under `torch.device("meta")` nothing is allocated.
    """
    data = DATASETS[cfg.data.name]
    network: nn.Module = load(BACKBONES[cfg.model.backbone].builder)(cfg.model, data.classes, data.channels)
    return network
