"""What a network costs, without running it."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from cbam_ablate.config.canonical import images_of
from cbam_ablate.config.schema import AttentionConfig, RunConfig
from cbam_ablate.errors import ConfigError, UserError
from cbam_ablate.models.build import build_model
from cbam_ablate.models.network import Network
from cbam_ablate.own import place_of
from cbam_ablate.registry import Attention, Backbone, facts, own_target

MULTIPLYING = {
    operator
    for operator in flop_registry
    if str(operator).startswith("aten.") and "backward" not in operator.__name__
}
"""Convolutions, linear layers, matrix products of maps, and attention over tokens."""
POOLING = (torch.ops.aten.mean, torch.ops.aten._adaptive_avg_pool2d, torch.ops.aten.adaptive_avg_pool2d)
FILLS = (Tensor.normal_, Tensor.uniform_)


class ModelCost(NamedTuple):
    """`params`: trainable parameters. `macs`: multiply-accumulates of one image's forward pass, of
    convolutions, linear layers and products of matrices, which is what the field counts."""

    params: int
    macs: int


Size = tuple[int, int]
Look = tuple[ModelCost, Size | None, tuple[str, ...]]

_counted: dict[tuple[str, str], Look] = {}


class _Unfilled(TorchFunctionMode):
    """Leaves out what fills weights, which on the meta device is slow and does nothing."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Iterable[Any], args: Any = (), kwargs: Any = None
    ) -> Any:
        return args[0] if func in FILLS else func(*args, **(kwargs or {}))


class _Multiplied(TorchDispatchMode):
    """Counts the FLOPs of everything that multiplies matrices, by PyTorch's own formulas.

    `pooled` is the size of the map that was averaged to a pixel last.
    """

    def __init__(self) -> None:
        super().__init__()
        self.flops = 0
        self.pooled: Size | None = None

    def __torch_dispatch__(self, func: Any, types: Iterable[Any], args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        operator = func.overloadpacket
        if operator in MULTIPLYING:
            self.flops += flop_registry[operator](*args, **(kwargs or {}), out_val=out)
        if operator in POOLING and args[0].ndim == 4 and out.numel() == out.shape[0] * out.shape[1]:
            self.pooled = (args[0].shape[2], args[0].shape[3])
        return out


def model_cost(cfg: RunConfig) -> ModelCost:
    """Parameters, and the MACs of convolutions, linear layers and products of matrices, of one image.

    Counted once in a process for each network. Raises `ConfigError` where the network, or an attention module
    in it, doesn't take what it is given.
    """
    return _look(cfg)[0]


def last_map_size(cfg: RunConfig) -> Size | None:
    """Rows and columns of the last feature map, before all pooling; None where there is no such map."""
    return _look(cfg)[1]


def places_of(cfg: RunConfig) -> tuple[str, ...]:
    """The names of the modules of a network that are attention. Raises as `model_cost` does."""
    return _look(cfg)[2]


def _look(cfg: RunConfig) -> Look:
    network = images_of(cfg.data), f"{cfg.model} {cfg.code}"
    if network not in _counted:
        _counted[network] = _count(cfg)
    return _counted[network]


def _count(cfg: RunConfig) -> Look:
    attention, own = cfg.model.attention, own_target(Backbone, cfg.model.backbone)
    try:
        network, out, flops, images, size = _run(cfg, "meta")
    except _Failed as failed:
        if not (own or own_target(Attention, attention.kind)):
            raise failed.told(cfg) from failed.error
        # What looks at values can't run on the meta device.
        try:
            network, out, flops, images, size = _run(cfg, "cpu")
        except _Failed as again:
            raise again.told(cfg) from again.error
    if own and (not isinstance(out, Tensor) or out.shape != (images, facts(cfg.data).classes)):
        given = tuple(out.shape) if isinstance(out, Tensor) else type(out).__name__
        raise ConfigError(
            f"model.backbone={cfg.model.backbone}: gives {given} for {images} images; it must give logits, "
            f"{(images, facts(cfg.data).classes)}"
        )
    places = tuple(name for name, module in network.named_modules() if hasattr(module, "is_gate"))
    if attention.placement != "none" and not places:
        raise ConfigError(
            f"model.attention.placement={attention.placement}: adds nothing to {cfg.model.backbone}; use "
            "another placement, or none"
        )
    params = sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)
    return ModelCost(params, flops // (2 * images)), size, places


@torch.inference_mode(False)  # that mode calls convolutions and linear layers by other names
def _run(cfg: RunConfig, device: str) -> tuple[nn.Module, Any, int, int, Size | None]:
    """The network, what it gives for a few images, its FLOPs for them, how many they are, and the size of
    the last feature map."""
    data = facts(cfg.data)
    # Two of them, where code of one's own may squeeze away a dimension of one.
    images = 2 if cfg.code else 1
    unfilled = _Unfilled() if device == "meta" else contextlib.nullcontext()
    with torch.device(device), torch.random.fork_rng([]), unfilled:
        network = build_model(cfg).eval()
        image = torch.zeros(images, data.channels, data.size, data.size)
    # On the meta device a batch norm takes longer than all else, and gives the shape that it is given.
    for module in network.modules():
        if type(module) is nn.BatchNorm2d and device == "meta":
            module.forward = partial(_same, module)  # type: ignore[method-assign]
        if cfg.code and hasattr(module, "is_gate"):
            module.register_forward_hook(partial(_refuse_other_map, cfg.model.attention.kind))
    stages: list[Size] = []
    if isinstance(network, Network):
        network.stages.register_forward_hook(lambda _, __, x: stages.append((x.shape[2], x.shape[3])))
    try:
        with torch.no_grad(), _Multiplied() as counter:
            out = network(image)
    except UserError:
        raise
    except Exception as error:  # timm's, torchvision's and one's own code raise errors of many kinds
        raise _Failed(network, image, error) from error
    return network, out, counter.flops, images, stages[-1] if stages else counter.pooled


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


def _same(norm: nn.BatchNorm2d, input: Tensor) -> Tensor:
    if input.dim() != 4 or input.shape[1] != norm.num_features:
        raise ValueError(f"a batch norm of {norm.num_features} channels is given {tuple(input.shape)}")
    return input


def _refused(cfg: RunConfig, network: nn.Module, image: Tensor, error: Exception) -> ConfigError:
    """The error in the user's words: which attention module stood at which map, or the network as a whole."""
    first = (str(error).strip().splitlines() or [type(error).__name__])[0]
    where = place_of(error)
    why = f" ({type(error).__name__} in {where}: {first})" if where else f" ({first})"
    model, attention = cfg.model, cfg.model.attention
    at = _attention_that_fails(cfg, network, image)
    if at is not None:
        place, shape = at
        said = f"timm={attention.timm}" if attention.kind == "timm" else f"kind={attention.kind}"
        return ConfigError(
            f"model.attention.{said}: takes no map of {_by(shape)} (channels, rows, columns), as at {place} "
            f"in {model.backbone}{why}; use another placement, another attention module or larger images"
        )
    named = {"timm": model.timm, "torchvision": model.torchvision}
    said = f"{model.backbone}={named[model.backbone]}" if model.backbone in named else f"depth={model.depth}"
    if own_target(Backbone, model.backbone):
        said = f"backbone={model.backbone}"
    return ConfigError(
        f"model.{said}: takes no images of {_by(image.shape)} (channels, rows, columns){why}; "
        "use another network or data set"
    )


def _attention_that_fails(cfg: RunConfig, network: nn.Module, image: Tensor) -> tuple[str, torch.Size] | None:
    """Runs it again: the attention module that was entered and not left, and the map it was given."""
    inside: list[tuple[str, torch.Size]] = []

    def watch(name: str, module: nn.Module) -> None:
        def enter(_: nn.Module, inputs: tuple[Any, ...]) -> None:
            inside.append((name, inputs[0].shape))

        def leave(*_: Any) -> None:
            inside.pop()

        module.register_forward_pre_hook(enter)
        module.register_forward_hook(leave)

    without = dataclasses.replace(cfg.model, attention=AttentionConfig(placement="none"))
    with torch.device(image.device):
        plain = dict(build_model(dataclasses.replace(cfg, model=without)).named_modules())
    for name, module in network.named_modules():
        if type(plain.get(name)) is not type(module):
            watch(name, module)
    with contextlib.suppress(Exception), torch.no_grad():
        network(image)
    return inside[0] if inside else None


def _by(shape: torch.Size) -> str:
    return "x".join(map(str, shape[1:]))
