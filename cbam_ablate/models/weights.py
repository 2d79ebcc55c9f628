"""Weights trained elsewhere, into `resnet_imagenet` and `resnext`."""

import re
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from cbam_ablate.config.errors import ConfigError
from cbam_ablate.config.schema import ModelConfig
from cbam_ablate.torchvision_shim import import_torchvision

CLASSIFIER = ("classifier.weight", "classifier.bias")
FROM_TORCHVISION = (
    (r"^conv1\.", "stem.0."),
    (r"^bn1\.", "stem.1."),
    (r"^layer([1-4])\.", lambda found: f"stages.{int(found[1]) - 1}."),
    (r"\.downsample\.", ".shortcut."),
    (r"^fc\.", "classifier."),
)


class Loaded(NamedTuple):
    """Names of tensors. `fresh` keep their initialisation, `unused` were offered and have no place."""

    source: str
    loaded: list[str]
    fresh: list[str]
    unused: list[str]

    def __str__(self) -> str:
        fresh, unused = _listed(self.fresh), _listed(self.unused)
        loaded = f"model.pretrained={self.source}: {len(self.loaded)} tensors loaded"
        return f"{loaded}; fresh: {fresh}; unused: {unused}"


def load_pretrained(network: nn.Module, model: ModelConfig) -> Loaded:
    """Loads `model.pretrained` (`imagenet`, or a file of torchvision's or our own weights), in place.

    The attention's own weights start fresh, but where the file has them all, and no others, of the same names
    and shapes; the classifier does where the number of classes differs. Everything else must match by name
    and shape, or a `ConfigError` says what doesn't.
    """
    source = str(model.pretrained)
    offered = {_our_name(name): value for name, value in _read(source, model).items()}
    own = network.state_dict()
    anew: set[str] = {
        name for name in CLASSIFIER if name in offered and offered[name].shape != own[name].shape
    }
    if _shapes_of_attention(own) != _shapes_of_attention(offered):
        anew |= set(_shapes_of_attention(own))
    loaded = [name for name in own if name in offered and name not in anew]
    fresh = [name for name in own if name not in loaded]
    unused = [name for name in offered if name not in loaded]
    wrong = [
        f"{name} is {tuple(own[name].shape)} here, {tuple(offered[name].shape)} there"
        for name in loaded
        if own[name].shape != offered[name].shape
    ]
    wrong += [f"{name} is missing" for name in fresh if not _may_start_fresh(name, anew)]
    wrong += [f"{name} has no place here" for name in unused if not _may_start_fresh(name, anew)]
    if wrong:
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise ConfigError(
            f"model.pretrained={source}: not the weights of {model.backbone} of depth {model.depth}: "
            f"{'; '.join(wrong[:3])}{more}"
        )
    network.load_state_dict({name: offered[name] for name in loaded}, strict=False)
    return Loaded(source, loaded, fresh, unused)


def _may_start_fresh(name: str, anew: set[str]) -> bool:
    return name in anew or _of_attention(name)


def _of_attention(name: str) -> bool:
    return "attention" in name.split(".")


def _shapes_of_attention(state: dict[str, Tensor]) -> dict[str, torch.Size]:
    return {name: value.shape for name, value in state.items() if _of_attention(name)}


def _listed(names: list[str]) -> str:
    """Names one by one, but the attention's, of which there are hundreds, by their number."""
    others = [name for name in names if not _of_attention(name)]
    count = len(names) - len(others)
    return ", ".join([*others, *([f"{count} of attention"] if count else [])]) or "none"


def _our_name(name: str) -> str:
    for pattern, ours in FROM_TORCHVISION:
        name = re.sub(pattern, ours, name)
    return name


def _read(source: str, model: ModelConfig) -> dict[str, Tensor]:
    if source == "imagenet":
        return _download(model)
    path = Path(source).expanduser()
    if not path.is_file():
        raise ConfigError(f"model.pretrained={source}: no such file; give a file of weights, or imagenet")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        found = dict(state.get("model", state))
        if not all(isinstance(value, Tensor) for value in found.values()):
            raise TypeError("what it holds are not all tensors")
        return found
    except Exception as error:  # torch.load raises whatever its unpickler met
        raise ConfigError(f"model.pretrained={source}: not a file of weights ({error})") from error


def _download(model: ModelConfig) -> dict[str, Tensor]:
    name = f"resnet{model.depth}" if model.backbone == "resnet_imagenet" else f"resnext{model.depth}_32x4d"
    import_torchvision()
    from torchvision.models import get_model_weights

    try:
        return dict(get_model_weights(name).IMAGENET1K_V1.get_state_dict(check_hash=True, progress=False))
    except OSError as error:
        raise ConfigError(
            f"model.pretrained=imagenet: torchvision's {name} can't be downloaded ({error}); "
            "give the path of a local copy"
        ) from error
