"""Weights trained elsewhere, into any of our networks: what is loaded, what is left, and why."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from cbam_ablate.config.canonical import names_published
from cbam_ablate.config.schema import ModelConfig
from cbam_ablate.errors import ConfigError
from cbam_ablate.models.network import Network
from cbam_ablate.models.pretrained.files import Weights, read_weights
from cbam_ablate.models.pretrained.layouts import LAYOUTS, Layout
from cbam_ablate.models.pretrained.published import check_published, download
from cbam_ablate.registry import Backbone, find

COUNTER = "num_batches_tracked"
"""Older files of torch don't have it, and nothing here reads it."""
GATE = re.compile(
    r"(^|\.)(attention\d?|cbam|bam\d|se|se_module|eca|channel|spatial|squeeze|rows|columns|key|transform)\.|"
    r"^stages\.\d+\.\d+\.conv\.weight$"
)
"""Names of attention in files of ours and of others."""


class Loaded(NamedTuple):
    """Names of tensors. `fresh` keep their initialisation, `unused` were offered and have no place.

    `layout` is whose keys the file has, `why` says of `fresh` and `unused` why they were left.
    """

    source: str
    loaded: list[str]
    fresh: list[str]
    unused: list[str]
    layout: str = "our own"
    why: tuple[str, ...] = ()

    def __str__(self) -> str:
        fresh, unused = _listed(self.fresh), _listed(self.unused)
        loaded = f"model.pretrained={self.source}: {len(self.loaded)} tensors loaded"
        return "; ".join([f"{loaded}; fresh: {fresh}; unused: {unused}; keys: {self.layout}", *self.why])

    def summary(self) -> dict[str, Any]:
        """As result.json has it."""
        left = {"fresh": _listed(self.fresh), "unused": _listed(self.unused), "why": list(self.why)}
        return {"source": self.source, "layout": self.layout, "loaded": len(self.loaded), **left}


def load_pretrained(network: nn.Module, model: ModelConfig) -> Loaded:
    """Loads `model.pretrained` (the name of published weights, or a file), in place.

    The attention's own weights start fresh, but where the file has them all, and no others, of the same names
    and shapes; the classifier does where the number of classes differs. Everything else must match by name
    and shape, or a `ConfigError` says what doesn't.
    """
    report, tensors = _fitted(network, model, _read(model))
    network.load_state_dict({name: tensors[name] for name in report.loaded}, strict=False)
    return report


def examine_pretrained(network: nn.Module, model: ModelConfig) -> Loaded | None:
    """What `load_pretrained` would say, for a network that may be on the meta device; nothing is downloaded.

    None of published weights, of which it is only known that there are such; raises `ConfigError` otherwise.
    """
    if names_published(model.pretrained):
        check_published(model)
        return None
    return _fitted(network, model, _read(model))[0]


def _read(model: ModelConfig) -> Weights:
    source = str(model.pretrained)
    if names_published(source):
        return Weights(download(model), [])
    return read_weights(Path(source).expanduser(), f"model.pretrained={source}")


def _fitted(network: nn.Module, model: ModelConfig, file: Weights) -> tuple[Loaded, dict[str, Tensor]]:
    own = network.state_dict()
    gates = gate_names(network)
    layout, offered = _best_layout(own, gates, file.tensors)
    source, why = str(model.pretrained), []
    anew = _head_anew(network, own, offered)
    if anew:
        why.append("the classifier is of other classes or layers")
    here = {name: own[name].shape for name in own if name in gates}
    there = {
        name: value.shape
        for name, value in offered.items()
        if name in gates or (name not in own and GATE.search(name))
    }
    if _without_counters(here) != _without_counters(there):
        anew |= gates
        if here:
            why.append(f"the attention starts fresh: the file has {'another' if there else 'none'}")
    loaded = [name for name in own if name in offered and name not in anew]
    there_too = set(loaded)
    fresh = [name for name in own if name not in there_too and (name in anew or not name.endswith(COUNTER))]
    unused = [name for name in offered if name not in there_too]
    wrong = [
        f"{name} is {tuple(own[name].shape)} here, {tuple(offered[name].shape)} there"
        for name in loaded
        if own[name].shape != offered[name].shape
    ]
    wrong += [f"{name} is missing" for name in fresh if name not in anew and name not in gates]
    wrong += [
        f"{name} has no place here" for name in unused if name not in anew and not _of_gate(name, gates)
    ]
    if wrong:
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        if wrong[0].startswith("stem.") and "stem" in find(Backbone, model.backbone).uses:
            other = "cifar" if model.stem == "imagenet" else "imagenet"
            more += f"; model.stem={other} is the other first layer"
        raise ConfigError(
            f"model.pretrained={source}: not the weights of {_described(model)}: {'; '.join(wrong[:3])}{more}"
        )
    _refuse_other_function(model, layout, source, [name for name in loaded if name in gates])
    if file.beside:
        why.append(f"{len(file.beside)} tensors beside the network, of {_listed(file.beside[:3])}")
        unused += file.beside
    return Loaded(source, loaded, fresh, unused, layout.name, tuple(why)), offered


def _best_layout(
    own: Mapping[str, Tensor], gates: Iterable[str], tensors: Mapping[str, Tensor]
) -> tuple[Layout, dict[str, Tensor]]:
    """The layout under which most tensors have a place, and the tensors under our names."""
    plain = [name for name in own if name not in gates]
    found: list[tuple[int, Layout, dict[str, Tensor]]] = []
    for layout in LAYOUTS:
        offered = {
            name: _reshaped(value, own[name].shape) if name in own else value
            for name, value in layout.renamed(tensors, plain).items()
        }
        count = sum(name in own and own[name].shape == value.shape for name, value in offered.items())
        found.append((count, layout, offered))
    _, layout, offered = max(found, key=lambda each: each[0])
    return layout, offered


def _reshaped(value: Tensor, shape: torch.Size) -> Tensor:
    """A 1x1 convolution as a linear layer, or the other way round."""
    pointwise = value.ndim in (2, 4) and len(shape) in (2, 4)
    return value.reshape(shape) if pointwise and value.squeeze().shape == _squeezed(shape) else value


def _squeezed(shape: torch.Size) -> torch.Size:
    return torch.Size(side for side in shape if side != 1)


def gate_names(network: nn.Module) -> set[str]:
    """Names of the tensors of attention modules."""
    inside = [name for name, module in network.named_modules() if hasattr(module, "is_gate")]
    return {name for name in network.state_dict() if any(name.startswith(f"{gate}.") for gate in inside)}


def _of_gate(name: str, gates: Iterable[str]) -> bool:
    return name in gates or GATE.search(name) is not None


def _without_counters(shapes: Mapping[str, torch.Size]) -> dict[str, torch.Size]:
    return {name: shape for name, shape in shapes.items() if not name.endswith(COUNTER)}


def _head_anew(network: nn.Module, own: Mapping[str, Tensor], offered: Mapping[str, Tensor]) -> set[str]:
    """Tensors of the classifier that start fresh: its last layer, or all where others differ too."""
    heads = _heads(network)
    here = {name for name in own if name.startswith(heads)}
    there = {name for name in offered if name.startswith(heads)}
    differ = {
        name for name in here | there if name not in here & there or own[name].shape != offered[name].shape
    }
    if not differ or not there:
        return set()
    last = [name for name in own if name in here][-1].rpartition(".")[0]
    return differ if all(name.rpartition(".")[0] == last for name in differ) else here | there


def _heads(network: nn.Module) -> tuple[str, ...]:
    """How the names of the classifier's tensors begin."""
    if isinstance(network, Network):
        return ("classifier.",)
    known = getattr(network, "pretrained_cfg", None) or {}
    named = known.get("classifier") if isinstance(known, dict) else None
    if named:
        return tuple(f"{name}." for name in ((named,) if isinstance(named, str) else named))
    gates = gate_names(network)
    last = [name for name, _ in network.named_parameters() if name not in gates][-1]
    return (f"{last.rpartition('.')[0]}.",)


def _refuse_other_function(model: ModelConfig, layout: Layout, source: str, gates: list[str]) -> None:
    attention = model.attention
    for name, value in layout.needs.items():
        if gates and getattr(attention, name) != value:
            raise ConfigError(
                f"model.pretrained={source}: weights of the {layout.name} are those of "
                f"model.attention.{name}={value}, not of {getattr(attention, name)}"
            )


def _described(model: ModelConfig) -> str:
    named = {"timm": model.timm, "torchvision": model.torchvision}.get(model.backbone)
    return str(named) if named else f"{model.backbone} of depth {model.depth}"


def _listed(names: list[str]) -> str:
    """Names one by one, but the attention's, of which there are hundreds, by their number."""
    others = [name for name in names if not GATE.search(name)]
    count = len(names) - len(others)
    return ", ".join([*others, *([f"{count} of attention"] if count else [])]) or "none"
