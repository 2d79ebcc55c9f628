"""The last feature map of a network, (N, C, H, W): what its classifier pools, and what Grad-CAM looks at."""

from torch import nn

from cbam_ablate.errors import ConfigError
from cbam_ablate.models.attended import gates_in
from cbam_ablate.models.trace import Trace, watch

POOLING = (nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d)


def before_classifier(model: nn.Module, trace: Trace) -> str:
    """The module that gives the map that the classifier takes."""
    name = _last_map(model, trace)
    if _taken(trace, name) is None:
        raise _no_map(model, f"its last feature map isn't what its classifier takes ({name})")
    return name


def last_map(model: nn.Module, size: int) -> str:
    """The name of the module that gives the last feature map of more than one pixel, before any pooling.

    `size` is the side of the images, in pixels. Raises `ConfigError` where there is no such map.
    """
    return _last_map(model, watch(model, size))


def _last_map(model: nn.Module, trace: Trace) -> str:
    # What a gate makes of a map within itself is no part of the network's way.
    gates = tuple(f"{name}." for name in gates_in(model))
    calls = [call for call in trace.last.values() if not call.name.startswith(gates)]
    if any(call.outputs is not None and len(call.outputs) == 3 for call in calls):
        raise _no_map(model, "it makes sequences, not feature maps")
    maps = [
        call
        for call in calls
        if call.outputs is not None
        and len(call.outputs) == 4
        and call.outputs[2] * call.outputs[3] > 1
        and not isinstance(call.module, POOLING)
    ]
    if not maps:
        raise _no_map(model, "it makes no feature map of more than one pixel")
    last, taken = maps[-1], _taken(trace, maps[-1].name)
    if taken is not None and last.outputs is not None and taken % last.outputs[1]:
        raise _no_map(model, f"its last feature map isn't what its classifier takes ({last.name})")
    return last.name


def _taken(trace: Trace, name: str) -> int | None:
    """What the first layer after this module takes, in features or channels; None where there is no layer."""
    for call in trace.last.values():
        if call.order > trace.last[name].order and isinstance(call.module, nn.Linear):
            return call.module.in_features
        if call.order > trace.last[name].order and isinstance(call.module, nn.Conv2d):
            return call.module.in_channels
    return None


def _no_map(model: nn.Module, reason: str) -> ConfigError:
    return ConfigError(
        f"no last feature map in {type(model).__name__}: {reason}; so neither placement=class nor Grad-CAM"
    )
