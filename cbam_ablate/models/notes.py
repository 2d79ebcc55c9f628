"""What is worth a word of a network before it is trained."""

from cbam_ablate.config.canonical import images_of
from cbam_ablate.config.schema import RunConfig
from cbam_ablate.models.build import check_pretrained
from cbam_ablate.models.cost import last_map_size
from cbam_ablate.registry import Backbone, find

_noted: dict[tuple[str, ...], tuple[str, ...]] = {}


def notes_on(cfg: RunConfig) -> tuple[str, ...]:
    """Sentences on the weights that it starts from and on a last feature map of one pixel.

    Raises `ConfigError` or `DataError` where the weights are not this network's.
    """
    network = cfg.data.name, images_of(cfg.data), f"{cfg.model} {cfg.code}"
    if network not in _noted:
        _noted[network] = tuple(_notes(cfg))
    return _noted[network]


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
