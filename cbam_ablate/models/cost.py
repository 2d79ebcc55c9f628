"""What a network costs, without running it."""

import contextlib
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from cbam_ablate.config.canonical import images_of
from cbam_ablate.config.schema import RunConfig
from cbam_ablate.errors import ConfigError, UserError
from cbam_ablate.models.attended import gates_in, module_of
from cbam_ablate.models.build import build_model
from cbam_ablate.models.network import Network
from cbam_ablate.models.shapes import shaped
from cbam_ablate.own import reason_of
from cbam_ablate.registry import Attention, Backbone, facts, find, own_target

MULTIPLYING = {
    operator
    for operator in flop_registry
    if str(operator).startswith("aten.") and "backward" not in operator.__name__
}
"""Convolutions, linear layers, matrix products of maps, and attention over tokens."""
POOLING = (torch.ops.aten.mean, torch.ops.aten._adaptive_avg_pool2d, torch.ops.aten.adaptive_avg_pool2d)
FILLS = (Tensor.normal_, Tensor.uniform_)
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.LayerNorm)


class ModelCost(NamedTuple):
    """`params`: trainable parameters. `macs`: multiply-accumulates of one image's forward pass, of
    convolutions, linear layers and products of matrices, which is what the field counts."""

    params: int
    macs: int


Size = tuple[int, int]


class Attends(NamedTuple):
    """Attention in a network and the map that it is given.

    `module` is what it follows or precedes; the attention itself, where a block calls it.
    """

    module: str
    channels: int
    rows: int
    columns: int


class Look(NamedTuple):
    """What one run of a network tells: its cost, the size of its last map, and where its attention is."""

    cost: ModelCost
    last_map: Size | None
    places: tuple[Attends, ...]


_counted: dict[tuple[str, str], Look] = {}
_tried: set[str] = set()
"""Backbones and attention of one's own, their options and placements, that ran on a CPU."""


class _Unfilled(TorchFunctionMode):
    """Leaves out what fills weights, which on the meta device is slow and does nothing."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Iterable[Any], args: Any = (), kwargs: Any = None
    ) -> Any:
        return args[0] if func in FILLS else func(*args, **(kwargs or {}))


class _Multiplied(TorchDispatchMode):
    """Counts the FLOPs of everything that multiplies matrices, by PyTorch's own formulas.

    `pooled` is the size of the map that was averaged to a pixel last. Without `values` shapes are enough.
    """

    def __init__(self, values: bool) -> None:
        super().__init__()
        self.values = values
        self.flops = 0
        self.pooled: Size | None = None

    def __torch_dispatch__(self, func: Any, types: Iterable[Any], args: Any = (), kwargs: Any = None) -> Any:
        out = None if self.values else shaped(func, args, kwargs)
        out = func(*args, **(kwargs or {})) if out is None else out
        operator = func.overloadpacket
        if operator in MULTIPLYING:
            self.flops += flop_registry[operator](*args, **(kwargs or {}), out_val=out)
        if operator in POOLING and args[0].ndim == 4:
            given = args[0].shape
            if out.shape[:2] == given[:2] and out.shape[2:].numel() == 1:
                self.pooled = (given[2], given[3])
        return out


def model_cost(cfg: RunConfig) -> ModelCost:
    """Parameters, and the MACs of convolutions, linear layers and products of matrices, of one image.

    Counted once in a process for each network. Raises `ConfigError` where the network, or an attention module
    in it, doesn't take what it is given.
    """
    return _look(cfg).cost


def last_map_size(cfg: RunConfig) -> Size | None:
    """Rows and columns of the last feature map, before all pooling; None where there is no such map."""
    return _look(cfg).last_map


def attention_places(cfg: RunConfig) -> tuple[Attends, ...]:
    """Where attention is in the network of a config, in the order in which it runs, on the data's images.

    Empty without attention. Raises `ConfigError` as `model_cost` does, and where a placement adds nothing.
    """
    return _look(cfg).places


def _look(cfg: RunConfig) -> Look:
    network = images_of(cfg.data), f"{cfg.model} {cfg.code}"
    if network not in _counted:
        _counted[network] = _count(cfg)
    return _counted[network]


def _count(cfg: RunConfig) -> Look:
    model, attention = cfg.model, cfg.model.attention
    own = own_target(Backbone, model.backbone)
    has_own = own or own_target(Attention, attention.kind)
    parts = str(
        (model.backbone, model.options, attention.kind, attention.options, attention.placement, cfg.code)
    )
    try:
        ran = _run(cfg, "meta")
    except _Failed as failed:
        if not has_own:
            raise failed.told(cfg) from failed.error
        ran = _run_on_cpu(cfg)  # what looks at values can't run on the meta device
    else:
        if has_own and parts not in _tried:
            _run_on_cpu(cfg)  # which sees mistakes that the meta device lets through
            _tried.add(parts)
    network, out, flops, images, size, places = ran
    if own and (not isinstance(out, Tensor) or out.shape != (images, facts(cfg.data).classes)):
        given = tuple(out.shape) if isinstance(out, Tensor) else type(out).__name__
        raise ConfigError(
            f"model.backbone={cfg.model.backbone}: gives {given} for {images} images; it must give logits, "
            f"{(images, facts(cfg.data).classes)}"
        )
    if attention.placement != "none":
        _check_added(cfg, [module_of(network, name) for name in gates_in(network)], places)
    params = sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)
    return Look(ModelCost(params, flops // (2 * images)), size, tuple(places))


def _check_added(cfg: RunConfig, gates: list[str], places: list[Attends]) -> None:
    """Raises `ConfigError` for a placement by which the network is what it is without, and spare kernels."""
    shown = f"model.attention.placement={cfg.model.attention.placement}"
    if not gates:
        raise ConfigError(f"{shown}: adds nothing to {name_of(cfg)}; use another placement, or none")
    ran = {place.module for place in places}
    idle = [name for name in gates if name not in ran]
    if idle:
        raise ConfigError(
            f"{shown}: {name_of(cfg)} never runs the attention at {idle[0]}; name other modules in "
            "model.attention.at"
        )
    kernels, widths = cfg.model.attention.kernels, dict.fromkeys(place.channels for place in places)
    if len(kernels) > max(1, len(widths)) and "kernels" in find(Attention, cfg.model.attention.kind).uses:
        raise ConfigError(
            f"model.attention.kernels=[{','.join(map(str, kernels))}]: {name_of(cfg)} has gated maps of "
            f"{len(widths)} widths ({', '.join(map(str, widths))}); one for each, or one for all"
        )


@torch.inference_mode(False)  # that mode calls convolutions and linear layers by other names
def _run(cfg: RunConfig, device: str) -> tuple[nn.Module, Any, int, int, Size | None, list[Attends]]:
    """The network, what it gives for a few images, its FLOPs for them, how many they are, the size of
    the last feature map, and the places of its attention."""
    data = facts(cfg.data)
    # Two of them, where code of one's own may squeeze away a dimension of one.
    images = 2 if cfg.code else 1
    unfilled = _Unfilled() if device == "meta" else contextlib.nullcontext()
    with torch.device(device), torch.random.fork_rng([]), unfilled:
        network = build_model(cfg, pretrained=False).eval()
        image = torch.zeros(images, data.channels, data.size, data.size)
    # On the meta device a norm takes longer than all else, and gives the shape that it is given.
    for module in network.modules():
        if device == "meta" and isinstance(module, NORMS) and type(module) in NORMS:
            module.forward = partial(_same, module)  # type: ignore[method-assign]
        if cfg.code and hasattr(module, "is_gate"):
            module.register_forward_hook(partial(_refuse_other_map, cfg.model.attention.kind))
    places: list[Attends] = []
    for name, gate in gates_in(network).items():
        gate.register_forward_pre_hook(partial(_note, places, module_of(network, name)))
    stages: list[Size] = []
    if isinstance(network, Network):
        network.stages.register_forward_hook(lambda _, __, x: stages.append((x.shape[2], x.shape[3])))
    try:
        with torch.no_grad(), _Multiplied(values=device != "meta") as counter:
            out = network(image)
    except UserError:
        raise
    except Exception as error:  # timm's, torchvision's and one's own code raise errors of many kinds
        raise _Failed(network, image, error) from error
    return network, out, counter.flops, images, stages[-1] if stages else counter.pooled, places


def _run_on_cpu(cfg: RunConfig) -> tuple[nn.Module, Any, int, int, Size | None, list[Attends]]:
    try:
        return _run(cfg, "cpu")
    except _Failed as failed:
        raise failed.told(cfg) from failed.error


def _note(places: list[Attends], name: str, _: nn.Module, inputs: tuple[Any, ...]) -> None:
    places.append(Attends(name, *inputs[0].shape[1:4]))


class _Failed(Exception):
    """A network that didn't run on its images."""

    def __init__(self, network: nn.Module, image: Tensor, error: Exception) -> None:
        self.network, self.image, self.error = network, image, error

    def told(self, cfg: RunConfig) -> ConfigError:
        return _refused(cfg, self.network, self.image, self.error)


def _refuse_other_map(kind: str, module: nn.Module, inputs: tuple[Any, ...], out: Any) -> None:
    given = inputs[0].shape
    if not isinstance(out, Tensor) or out.shape != given:
        made = f"{_by(out.shape)}" if isinstance(out, Tensor) else type(out).__name__
        raise ConfigError(
            f"model.attention.kind={kind}: makes {made} of a map of {_by(given)} (channels, rows, columns); "
            "attention must give a map of the same shape"
        )


def _same(norm: nn.BatchNorm1d | nn.BatchNorm2d | nn.LayerNorm, input: Tensor) -> Tensor:
    given = tuple(input.shape)
    if isinstance(norm, nn.LayerNorm):
        own = tuple(norm.normalized_shape)
        if given[-len(own) :] != own:
            raise ValueError(f"a layer norm of {own} is given {given}")
    elif (
        len(given) not in ((4,) if isinstance(norm, nn.BatchNorm2d) else (2, 3))
        or given[1] != norm.num_features
    ):
        raise ValueError(f"a batch norm of {norm.num_features} channels is given {given}")
    return input


def _refused(cfg: RunConfig, network: nn.Module, image: Tensor, error: Exception) -> ConfigError:
    """The error in the user's words: which attention module stood at which map, or the network as a whole."""
    why = f" ({reason_of(error)})"
    model, attention = cfg.model, cfg.model.attention
    at = _attention_that_fails(network, image)
    if at is not None:
        place, shape = at
        named = f"timm={attention.timm}" if attention.kind == "timm" else f"kind={attention.kind}"
        return ConfigError(
            f"model.attention.{named}: takes no map of {_by(shape)} (channels, rows, columns), as at {place} "
            f"in {model.backbone}{why}; use another placement, another attention module or larger images"
        )
    named = f"depth={model.depth}" if model.depth is not None else name_of(cfg)
    if own_target(Backbone, model.backbone):
        named = f"backbone={model.backbone}"
    return ConfigError(
        f"model.{named}: takes no images of {_by(image.shape)} (channels, rows, columns){why}; "
        "use another network or data set"
    )


def name_of(cfg: RunConfig) -> str:
    """The network as the options name it: `timm=resnet50`, `resnet`."""
    named = {"timm": cfg.model.timm, "torchvision": cfg.model.torchvision}
    backbone = cfg.model.backbone
    return f"{backbone}={named[backbone]}" if backbone in named else backbone


def _attention_that_fails(network: nn.Module, image: Tensor) -> tuple[str, torch.Size] | None:
    """Runs it again: the attention module that was entered and not left, and the map it was given."""
    inside: list[tuple[str, torch.Size]] = []

    def watch(name: str, module: nn.Module) -> None:
        def enter(_: nn.Module, inputs: tuple[Any, ...]) -> None:
            inside.append((name, inputs[0].shape))

        def leave(*_: Any) -> None:
            inside.pop()

        module.register_forward_pre_hook(enter)
        module.register_forward_hook(leave)

    for name, module in gates_in(network).items():
        watch(name, module)
    with contextlib.suppress(Exception), torch.no_grad():
        network(image)
    return inside[0] if inside else None


def _by(shape: torch.Size) -> str:
    return "x".join(map(str, shape[1:]))
