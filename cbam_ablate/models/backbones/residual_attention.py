"""Residual Attention Network (Wang et al., 2017, arXiv 1704.06904).

Shapes: every unit and module maps (N, C, H, W) to (N, C', H / stride, W / stride).
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cbam_ablate.config.schema import AttentionConfig, ModelConfig
from cbam_ablate.models.blocks import PreActivation
from cbam_ablate.models.gates import Gates
from cbam_ablate.models.network import Network, conv, depth_and_width

unit = partial(PreActivation, bottleneck=True)
UNGATED = Gates(AttentionConfig(placement="none"))


def _channel(x: Tensor) -> Tensor:
    """`x / |x|` with the length over channels: one gate for all of a place's channels together."""
    return F.normalize(x, dim=1)


def _spatial(x: Tensor) -> Tensor:
    """`sigmoid((x - mean) / sd)` of each map: a gate over places alone."""
    sd, mean = torch.std_mean(x, dim=(2, 3), correction=0, keepdim=True)
    return torch.sigmoid((x - mean) / (sd + 1e-5))


MASKS: dict[str, Callable[[Tensor], Tensor]] = {
    "mixed": torch.sigmoid,
    "channel": _channel,
    "spatial": _spatial,
}


def _units(channels: int, count: int) -> list[nn.Module]:
    return [unit(channels, channels, 1, UNGATED) for _ in range(count)]


class MaskBranch(nn.Module):
    """Bottom-up, top-down: `levels` max poolings, as many bilinear interpolations, then two 1x1 convolutions.

    Between two neighbouring poolings stands r = 1 unit, with a skip unit across; 2r at the lowest level.
    `forward` gives the mask before its activation.
    """

    def __init__(self, channels: int, levels: int) -> None:
        super().__init__()
        self.down = nn.ModuleList(_units(channels, levels - 1))
        self.skip = nn.ModuleList(_units(channels, levels - 1))
        self.lowest = nn.Sequential(*_units(channels, 2))
        self.up = nn.ModuleList(_units(channels, levels - 1))
        self.output = nn.Sequential(
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
            conv(channels, channels, 1),
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
            conv(channels, channels, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        skips = []
        sizes = [x.shape[2:]]
        for down, skip in zip(self.down, self.skip, strict=True):
            x = down(_halve(x))
            skips.append(skip(x))
            sizes.append(x.shape[2:])
        x = self.lowest(_halve(x))
        for up in self.up:
            x = up(_resize(x, sizes.pop()) + skips.pop())
        return self.output(_resize(x, sizes.pop()))


def _halve(x: Tensor) -> Tensor:
    return F.max_pool2d(x, 3, stride=2, padding=1)


def _resize(x: Tensor, size: torch.Size) -> Tensor:
    return F.interpolate(x, size=size, mode="bilinear", align_corners=True)


class AttentionModule(nn.Module):
    """`H = (1 + M(x)) T(x)` (mode arl) or `H = M(x) T(x)` (nal), between p = 1 unit before and one after.

    The trunk T is t = 2 units. Both modes have the same parameters.
    """

    def __init__(self, channels: int, levels: int, mode: str, mask: str, gates: Gates) -> None:
        super().__init__()
        self.mode = mode
        self.activation = MASKS[mask]
        self.before = unit(channels, channels, 1, gates)
        self.trunk = nn.Sequential(unit(channels, channels, 1, gates), unit(channels, channels, 1, gates))
        self.mask = MaskBranch(channels, levels)
        self.after = unit(channels, channels, 1, gates)

    def forward(self, x: Tensor) -> Tensor:
        return self.after(self.masked(self.before(x)))

    def masked(self, x: Tensor) -> Tensor:
        trunk = self.trunk(x)
        mask = self.activation(self.mask(x))
        return (1 + mask) * trunk if self.mode == "arl" else mask * trunk


class Sizes(NamedTuple):
    """Channels of the stem, of each stage of attention and of the last; modules and mask levels a stage."""

    stem: int
    widths: tuple[int, ...]
    modules: tuple[int, ...]
    levels: tuple[int, ...]
    last: int
    last_stride: int


def residual_attention(model: ModelConfig, classes: int, channels: int) -> nn.Module:
    """For 32x32 images: m modules in each stage, depth `36m + 20`.

    `model.widths`: published has three stages of attention, of 1, 2 and 4 times `model.width` (64; 1.9 M
    parameters at depth 92), and a last stage of 4 times. tensorflow has a wider stem with pooling, two stages
    of attention (128, 256) and a last stage of 1024.
    """
    depth, width = depth_and_width(model)
    m = (depth - 20) // 36
    if model.widths == "tensorflow":
        stem = _stem(channels, width // 2, 5)
        stem.append(nn.MaxPool2d(2))
        layout = Sizes(width // 2, (2 * width, 4 * width), (m, m), (2, 1), 16 * width, 2)
    else:
        stem = _stem(channels, width // 4, 3)
        layout = Sizes(width // 4, (width, 2 * width, 4 * width), (m, m, m), (3, 2, 1), 4 * width, 1)
    return _network(model, stem, layout, classes)


IMAGENET_MODULES = {56: (1, 1, 1), 92: (1, 2, 3)}


def residual_attention_imagenet(model: ModelConfig, classes: int, channels: int) -> nn.Module:
    """For 224x224 images, stages of 4 to 32 times `model.width` as in ResNet-50; depth 56 or 92."""
    depth, width = depth_and_width(model)
    stem = _stem(channels, width, 7, 2)
    stem.append(nn.MaxPool2d(3, stride=2, padding=1))
    widths = (4 * width, 8 * width, 16 * width)
    layout = Sizes(width, widths, IMAGENET_MODULES[depth], (3, 2, 1), 32 * width, 2)
    return _network(model, stem, layout, classes)


def _stem(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        conv(inputs, outputs, kernel, stride), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)
    )


def _network(model: ModelConfig, stem: nn.Module, layout: Sizes, classes: int) -> Network:
    """Each stage: a unit that changes the width (and from the second on halves H and W), then its modules.

    The last stage has three units and no module.
    """
    gates = Gates(model.attention)
    inputs = layout.stem
    stages: list[list[nn.Module]] = []
    for width, count, levels in zip(layout.widths, layout.modules, layout.levels, strict=True):
        modules = [AttentionModule(width, levels, model.mode, model.mask, gates) for _ in range(count)]
        stages.append([unit(inputs, width, 2 if stages else 1, gates), *modules])
        inputs = width
    last = layout.last
    final = [
        unit(inputs, last, layout.last_stride, gates),
        unit(last, last, 1, gates),
        unit(last, last, 1, gates),
    ]
    stages.append([*final, nn.BatchNorm2d(last), nn.ReLU(inplace=True)])
    classifier = nn.Sequential(nn.Dropout(model.dropout), nn.Linear(last, classes))
    return Network(stem, stages, [*layout.widths, last], gates, classifier)
