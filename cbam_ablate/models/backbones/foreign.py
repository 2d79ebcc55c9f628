"""Any classifier of timm, torchvision or one's own, with attention put where its stages can be found."""

from torch import nn

from cbam_ablate.config.schema import AttentionConfig, ModelConfig
from cbam_ablate.errors import ConfigError
from cbam_ablate.models.made import made, own_made
from cbam_ablate.models.placement import put_all
from cbam_ablate.models.timm_import import import_timm
from cbam_ablate.registry import Backbone, find
from cbam_ablate.torchvision_shim import import_torchvision

AUXILIARY = {"googlenet", "inception_v3"}
"""torchvision's networks that in training give more than logits unless told not to."""


def timm(model: ModelConfig, classes: int, channels: int) -> nn.Module:
    """`timm.create_model(model.timm)`; raises `ConfigError` for a name it doesn't know."""
    library = import_timm()
    if not model.timm or not library.is_model(model.timm):
        near = ", ".join(library.list_models(f"*{model.timm}*")[:8]) or "see timm.list_models()"
        raise ConfigError(f"model.timm={model.timm}: timm has no such network ({near})")
    name = model.timm
    network = made(lambda: library.create_model(name, num_classes=classes, in_chans=channels))
    return _attended(network, model.attention)


def torchvision(model: ModelConfig, classes: int, channels: int) -> nn.Module:
    """`torchvision.models.get_model(model.torchvision)`, for images of three channels."""
    library = import_torchvision().models
    names = library.list_models(module=library)
    if model.torchvision not in names:
        near = ", ".join(name for name in names if str(model.torchvision) in name) or ", ".join(names)
        raise ConfigError(
            f"model.torchvision={model.torchvision}: torchvision has no such classifier ({near})"
        )
    if channels != 3:
        raise ConfigError(f"backbone=torchvision takes 3 input channels, the data has {channels}")
    extra = {"aux_logits": False, "init_weights": True} if model.torchvision in AUXILIARY else {}
    network = made(lambda: library.get_model(model.torchvision, num_classes=classes, **extra))
    return _attended(network, model.attention)


def own(model: ModelConfig, classes: int, channels: int, size: int) -> nn.Module:
    """A network of one's own for images of `size` pixels a side, with attention put where it is told to."""
    row = find(Backbone, model.backbone)
    given = {"depth": model.depth, "width": model.width}
    known = {name: value for name, value in given.items() if value is not None}
    network = own_made(
        f"model.backbone={model.backbone}",
        lambda: row.call(options=model.options, num_classes=classes, in_channels=channels, **known),
    )
    return _attended(network, model.attention, size)


def _attended(network: nn.Module, cfg: AttentionConfig, size: int = 224) -> nn.Module:
    return network if cfg.placement in ("none", "at") else put_all(network, cfg, size)
