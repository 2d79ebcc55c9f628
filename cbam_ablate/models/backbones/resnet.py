"""ResNets for small images: a 3x3 stem without pooling, then four stages.

`resnet` (He et al., 2015, arXiv 1512.03385) is the network of kuangliu/pytorch-cifar, `resnet_preact` its
pre-activation form (He et al., 2016, arXiv 1603.05027).
"""

from functools import partial

from torch import nn

from cbam_ablate.config.schema import ModelConfig
from cbam_ablate.models.blocks import BasicBlock, Bottleneck, PreActivation, residual_stages
from cbam_ablate.models.gates import Gates
from cbam_ablate.models.network import ConvNorm, Network, conv, depth_and_width

COUNTS = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
}
BOTTLENECK_FROM = 50
"""The depth from which the blocks are bottlenecks, with four times the channels."""


def stage_widths(depth: int, width: int) -> list[int]:
    """Output channels of the four stages."""
    expansion = 4 if depth >= BOTTLENECK_FROM else 1
    return [expansion * width * factor for factor in (1, 2, 4, 8)]


def resnet(model: ModelConfig, classes: int, channels: int) -> nn.Module:
    """Stages of widths 1, 2, 4 and 8 times `model.width`, four times that in bottlenecks."""
    depth, width = depth_and_width(model)
    block = Bottleneck if depth >= BOTTLENECK_FROM else BasicBlock
    gates = Gates(model.attention)
    widths = stage_widths(depth, width)
    stem = ConvNorm(conv(channels, width, 3), nn.BatchNorm2d(width), nn.ReLU(inplace=True))
    stages = residual_stages(block, width, widths, COUNTS[depth], gates)
    return Network(stem, stages, widths, gates, nn.Linear(widths[-1], classes))


def resnet_preact(model: ModelConfig, classes: int, channels: int) -> nn.Module:
    """The same sizes as `resnet`, with BN and ReLU before each convolution and after the last stage.

    kuangliu/pytorch-cifar has none after it (`model.last_norm=false`).
    """
    depth, width = depth_and_width(model)
    block = partial(PreActivation, bottleneck=depth >= BOTTLENECK_FROM)
    gates = Gates(model.attention)
    widths = stage_widths(depth, width)
    stages = residual_stages(block, width, widths, COUNTS[depth], gates)
    if model.last_norm:
        stages[-1] += [nn.BatchNorm2d(widths[-1]), nn.ReLU(inplace=True)]
    return Network(conv(channels, width, 3), stages, widths, gates, nn.Linear(widths[-1], classes))
