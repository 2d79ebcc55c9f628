"""What is worth a word of a network before it is trained."""

import torch

from cbam_ablate.config.canonical import images_of
from cbam_ablate.config.schema import RunConfig
from cbam_ablate.errors import ConfigError
from cbam_ablate.models.build import build_model, check_pretrained
from cbam_ablate.models.cost import last_map_size, name_of
from cbam_ablate.registry import Backbone, facts, find

_noted: dict[tuple[str, ...], tuple[str, ...]] = {}


def notes_on(cfg: RunConfig) -> tuple[str, ...]:
    """Sentences on the weights that it starts from and on a last feature map of one pixel.

    Raises `ConfigError` or `DataError` where the weights are not this network's.
    """
    network = cfg.data.name, images_of(cfg.data), f"{cfg.model} {cfg.code}"
    if network not in _noted:
        _noted[network] = tuple(_notes(cfg))
    return _noted[network]


def refuse_single_image(cfg: RunConfig) -> None:
    """Raises `ConfigError` where batches are of one image and the network can't be trained on such.

    Batch norm has no spread to divide by where a channel has one value: a map of one pixel of one image.
    """
    if cfg.train.batch_size > 1:
        return
    data = facts(cfg.data)
    try:
        with torch.device("meta"), torch.no_grad():
            build_model(cfg, pretrained=False).train()(torch.empty(1, data.channels, data.size, data.size))
    except Exception as error:  # what else is wrong with it is told where its cost is counted
        if "more than 1 value per channel" in str(error):
            raise ConfigError(
                f"train.batch_size={cfg.train.batch_size}: {name_of(cfg)} normalises maps of one pixel over "
                "the batch, which takes 2 images or more; use a larger batch, or another attention or network"
            ) from error


def _notes(cfg: RunConfig) -> list[str]:
    model, found = cfg.model, []
    report = check_pretrained(cfg)
    if report is not None:
        found.append(str(report))
    elif model.pretrained is not None:
        found.append(f"model.pretrained={model.pretrained}: published weights, downloaded when a run starts")
    if last_map_size(cfg) == (1, 1):
        named = model.timm or model.torchvision or model.backbone
        stem = " (or model.stem=cifar)" if "stem" in find(Backbone, model.backbone).uses else ""
        found.append(
            f"{named} on {cfg.data.name}: its last feature map is a single pixel, so that spatial attention "
            f"sees nothing there; use larger images, or a network{stem} for small ones"
        )
    return found
