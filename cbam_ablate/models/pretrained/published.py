"""Weights that torchvision and timm publish, by name: which there are, known without a download."""

import logging
from typing import Any

from torch import Tensor

from cbam_ablate.config.schema import ModelConfig
from cbam_ablate.errors import ConfigError, ServiceError
from cbam_ablate.models.timm_import import import_timm
from cbam_ablate.torchvision_shim import import_torchvision

NAMES = {
    "resnet_imagenet": "resnet{depth}",
    "resnext": "resnext{depth}_32x4d",
    "vgg": "vgg{depth}_bn",
}
"""torchvision's names of our networks."""
FIRST = "IMAGENET1K_V1"


def check_published(model: ModelConfig) -> None:
    """Raises `ConfigError` where nobody publishes weights of this network under `model.pretrained`."""
    if model.backbone == "timm":
        _timm_name(model)
    else:
        _torchvision_weights(model)


def download(model: ModelConfig) -> dict[str, Tensor]:
    """The published weights under their own names, from the cache or the network.

    Raises `ServiceError` where they can't be had.
    """
    retries = logging.getLogger("huggingface_hub")
    level = retries.level
    retries.setLevel(logging.ERROR)
    try:
        if model.backbone == "timm":
            name = _timm_name(model)
            tensors: dict[str, Tensor] = import_timm().create_model(name, pretrained=True).state_dict()
        else:
            name, weights = _torchvision_weights(model)
            tensors = dict(weights.get_state_dict(check_hash=True, progress=False))
    except ConfigError:
        raise
    except Exception as error:  # hosts, proxies and caches fail in many ways
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ServiceError(
            f"model.pretrained={model.pretrained}: {name} can't be downloaded ({reason}); "
            "give the path of a local copy"
        ) from error
    finally:
        retries.setLevel(level)
    return tensors


def _torchvision_weights(model: ModelConfig) -> tuple[str, Any]:
    import_torchvision()
    from torchvision.models import get_model_weights

    name = model.torchvision or NAMES[model.backbone].format(depth=model.depth)
    known = get_model_weights(name).__members__
    wanted = FIRST if model.pretrained == "imagenet" else model.pretrained
    if wanted in known:
        return name, known[wanted]
    there = f"there are imagenet ({FIRST}), {', '.join(known)}" if known else "it has none"
    raise ConfigError(
        f"model.pretrained={model.pretrained}: torchvision has no such weights of {name}; {there}"
    )


def _timm_name(model: ModelConfig) -> str:
    library = import_timm()
    bare, _, tag = str(model.timm).partition(".")
    known = [name.partition(".")[2] for name in library.list_pretrained(f"{bare}.*")]
    if model.pretrained == "imagenet" and known:
        tag = tag or library.get_pretrained_cfg(bare).tag
        if tag in known:
            return f"{bare}.{tag}" if tag else bare
    elif model.pretrained in known:
        return f"{bare}.{model.pretrained}"
    there = f"there are imagenet (timm's own choice), {', '.join(known)}" if known else "it has none"
    raise ConfigError(f"model.pretrained={model.pretrained}: timm has no such weights of {bare}; {there}")
