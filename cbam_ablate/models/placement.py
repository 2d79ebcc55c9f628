"""Puts attention into anybody's network: finds blocks, stages and the last feature map by watching one image.

Feature maps are (N, C, H, W).
"""

import re
from collections.abc import Callable
from copy import deepcopy
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from cbam_ablate.config.errors import ConfigError

PLACES = ("block", "class", "both", "stage")
CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)
POOLING = (nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d)
SHORTCUTS = ("downsample", "shortcut", "proj", "skip")
"""How the common libraries begin the name of a block's other branch, whose norm is not the block's last."""

MOST_STAGES = 5


class Seen(NamedTuple):
    """A module as it last ran: its place in the order of completion, the shapes that went in and came out.

    `times` is how often it ran. `inputs` is None where it didn't take a single tensor, `outputs` where it
    didn't give one.
    """

    order: int
    times: int
    module: nn.Module
    inputs: torch.Size | None
    outputs: torch.Size | None


Trace = dict[str, Seen]


def attach(
    model: nn.Module, make: Callable[[int], nn.Module], where: str = "block", *, size: int = 224
) -> nn.Module:
    """Inserts `make(C)` into `model`, in place, and returns it: `attach(net, lambda c: CBAM(c), "class")`.

    `where`: `block` is after each residual block's last norm (in a plain network, before each pooling),
    `class` on the last feature map, `both`, or `stage`, after each stage but the last. The names of the
    network's own weights stay. `size` is the side of the images it is watched with, in pixels.
    Raises `ConfigError` where blocks, stages or the last map can't be told.
    """
    if where not in PLACES:
        raise ConfigError(f"where={where!r}: must be one of {', '.join(PLACES)}")
    trace = _watch(model, size)
    targets = []
    if where in ("block", "both"):
        targets += _block_ends(model, trace)
    if where in ("class", "both"):
        targets.append(_before_classifier(model, trace))
    if where == "stage":
        targets += _stage_ends(model, trace)[:-1]
        if not targets:
            raise _cant(model, "its blocks are all of one stage")
    shared = [name for name in targets if trace[name].times > 1]
    if shared:
        raise _cant(model, f"its {shared[0]} runs more than once, so attention after it would too")
    for name in dict.fromkeys(targets):
        shape = trace[name].outputs
        if shape is not None:
            _append(model.get_submodule(name), make(shape[1]))
    return model


def last_map(model: nn.Module, size: int) -> str:
    """The name of the module that gives the last feature map of more than one pixel, before any pooling.

    `size` is the side of the images, in pixels. Raises `ConfigError` where there is no such map.
    """
    return _last_map(model, _watch(model, size))


def _append(module: nn.Module, attention: nn.Module) -> None:
    if type(module).forward is nn.Sequential.forward:
        module.add_module("attention", attention)
    else:
        module.attention = attention
        module.register_forward_hook(_attend)


def _attend(module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor:
    # Through the module, so that a deep copy of the network attends with its own copy.
    attended: Tensor = module.get_submodule("attention")(output)
    return attended


def _watch(model: nn.Module, size: int) -> Trace:
    """Runs one image through a copy on the meta device, where it costs nothing."""
    copy = deepcopy(model).to("meta").eval()
    trace: Trace = {}

    def note(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
            taken = inputs[0].shape if len(inputs) == 1 and isinstance(inputs[0], Tensor) else None
            given = output.shape if isinstance(output, Tensor) else None
            before = trace.pop(name, None)
            trace[name] = Seen(len(trace), 1 + (before.times if before else 0), module, taken, given)

        return hook

    for name, module in copy.named_modules():
        if name:
            module.register_forward_hook(note(name))
    first = next((module for module in copy.modules() if isinstance(module, nn.Conv2d)), None)
    if first is None:
        raise _cant(model, "it has no convolution")
    try:
        with torch.no_grad():
            copy(torch.empty(1, first.in_channels, size, size, device="meta"))
    except (RuntimeError, AssertionError, ValueError, NotImplementedError) as error:
        raise _cant(model, f"it doesn't run on {size}x{size} images ({error})") from error
    return {name: seen._replace(order=order) for order, (name, seen) in enumerate(trace.items())}


def _block_ends(model: nn.Module, trace: Trace) -> list[str]:
    blocks = _blocks(model, trace)
    return [_last_norm(model, trace, name) for name in blocks] if blocks else _before_pooling(model, trace)


def _stage_ends(model: nn.Module, trace: Trace) -> list[str]:
    blocks = _blocks(model, trace)
    if not blocks:
        return _before_pooling(model, trace)
    sizes = [_map(trace[name])[2] for name in blocks]
    if sizes != sorted(sizes, reverse=True):
        raise _cant(model, "its blocks run in parallel, not in stages")
    return list(dict(zip(sizes, blocks, strict=True)).values())


def _blocks(model: nn.Module, trace: Trace) -> list[str]:
    """The modules with convolutions that stand in a series of like names, as `layer#.#`.

    The outermost series too long to be the stages, or else the longest.
    """
    series: dict[str, list[str]] = {}
    for name, seen in trace.items():
        if not isinstance(seen.module, CONTAINERS) and _convolutions(seen.module) > 1:
            series.setdefault(_pattern(name), []).append(name)
    series = {pattern: names for pattern, names in series.items() if len(names) > 1}
    if not series:
        return []
    long = [pattern for pattern, names in series.items() if len(names) > MOST_STAGES]
    if long:
        pattern = min(long, key=lambda pattern: pattern.count("."))
    else:
        pattern = max(series, key=lambda pattern: (len(series[pattern]), -pattern.count(".")))
    kinds = {type(trace[name].module) for name in series[pattern]}
    found = [
        name
        for name, seen in trace.items()
        if _pattern(name) == pattern
        and not isinstance(seen.module, CONTAINERS)
        and _convolutions(seen.module)
    ]
    strays = [name for name, seen in trace.items() if type(seen.module) in kinds and name not in found]
    if strays:
        raise _cant(model, f"its blocks follow no one pattern ({found[0]}, {strays[0]})")
    for name in found:
        if trace[name].inputs is None or trace[name].outputs is None:
            raise _cant(model, f"its block {name} doesn't map one tensor to one")
    return found


def _last_norm(model: nn.Module, trace: Trace, block: str) -> str:
    inside = [
        name
        for name, seen in trace.items()
        if name.startswith(f"{block}.")
        and not any(part.startswith(SHORTCUTS) for part in name.removeprefix(block).split("."))
        and isinstance(seen.module, nn.Conv2d | nn.BatchNorm2d)
    ]
    last = trace[inside[-1]] if inside else trace[block]
    if not isinstance(last.module, nn.BatchNorm2d) or last.outputs != trace[block].outputs:
        raise _cant(model, f"its block {block} doesn't end in a batch norm of its own shape")
    return inside[-1]


def _before_pooling(model: nn.Module, trace: Trace) -> list[str]:
    """In a plain network: what runs right before each pooling."""
    leaves = [name for name, seen in trace.items() if not any(seen.module.children())]
    ends = [
        before
        for before, name in pairwise(leaves)
        if isinstance(trace[name].module, nn.MaxPool2d | nn.AvgPool2d)
    ]
    if len(ends) < 2:
        raise _cant(model, "neither a series of blocks nor poolings that divide it into stages")
    return ends


def _before_classifier(model: nn.Module, trace: Trace) -> str:
    name = _last_map(model, trace)
    if _taken(trace, name) is None:
        raise _no_map(model, f"its last feature map isn't what its classifier takes ({name})")
    return name


def _last_map(model: nn.Module, trace: Trace) -> str:
    # What a gate makes of a map within itself is no part of the network's way.
    gates = tuple(f"{name}." for name, module in model.named_modules() if hasattr(module, "is_gate"))
    trace = {name: seen for name, seen in trace.items() if not name.startswith(gates)}
    if any(seen.outputs is not None and len(seen.outputs) == 3 for seen in trace.values()):
        raise _no_map(model, "it makes sequences, not feature maps")
    maps = [
        name
        for name, seen in trace.items()
        if seen.outputs is not None
        and len(seen.outputs) == 4
        and seen.outputs[2] * seen.outputs[3] > 1
        and not isinstance(seen.module, POOLING)
    ]
    if not maps:
        raise _no_map(model, "it makes no feature map of more than one pixel")
    taken = _taken(trace, maps[-1])
    if taken is not None and taken % _map(trace[maps[-1]])[1]:
        raise _no_map(model, f"its last feature map isn't what its classifier takes ({maps[-1]})")
    return maps[-1]


def _taken(trace: Trace, name: str) -> int | None:
    """What the first layer after this module takes, in features or channels; None where there is no layer."""
    for seen in trace.values():
        if seen.order > trace[name].order and isinstance(seen.module, nn.Linear):
            return seen.module.in_features
        if seen.order > trace[name].order and isinstance(seen.module, nn.Conv2d):
            return seen.module.in_channels
    return None


def _map(seen: Seen) -> torch.Size:
    return seen.outputs if seen.outputs is not None else torch.Size((0, 0, 0, 0))


def _pattern(name: str) -> str:
    return re.sub(r"\d+", "#", name)


def _convolutions(module: nn.Module) -> int:
    return sum(isinstance(inner, nn.Conv2d) for inner in module.modules()) if any(module.children()) else 0


def _cant(model: nn.Module, reason: str) -> ConfigError:
    return ConfigError(f"no place for attention in {type(model).__name__}: {reason}; use placement=none")


def _no_map(model: nn.Module, reason: str) -> ConfigError:
    return ConfigError(
        f"no last feature map in {type(model).__name__}: {reason}; so neither placement=class nor Grad-CAM"
    )
