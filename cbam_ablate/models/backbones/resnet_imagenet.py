"""ResNets for large images: a 7x7 stem of stride 2 and a 3x3 max pooling of stride 2, then four stages.

`resnet_imagenet`: He et al., 2015, arXiv 1512.03385, the network of torchvision. Wide ResNet-18 x1.5 of
CBAM's Table 4 is width 96: the stem keeps its 64. `resnext`: Xie et al., 2016, arXiv 1611.05431, 32x4d. With
`model.stem=cifar` the stem is a 3x3 convolution of stride 1, and there is no pooling.
"""

from functools import partial

from torch import nn

from cbam_ablate.config.schema import ModelConfig
from cbam_ablate.models.backbones.resnet import BOTTLENECK_FROM, COUNTS, stage_widths
from cbam_ablate.models.blocks import BasicBlock, Bottleneck, residual_stages
from cbam_ablate.models.gates import Gates
from cbam_ablate.models.network import Network, conv, depth_and_width

STEM_WIDTH = 64


def resnet_imagenet(model: ModelConfig, classes: int, channels: int) -> nn.Module:
    """`model.stride_in_1x1` strides a bottleneck's first convolution, as the papers count their FLOPs."""
    return _build(model, classes, channels, groups=1)


def resnext(model: ModelConfig, classes: int, channels: int) -> nn.Module:
    """32 groups of 4 channels in the first stage's 3x3 convolutions."""
    return _build(model, classes, channels, groups=32)


def _build(model: ModelConfig, classes: int, channels: int, groups: int) -> nn.Module:
    depth, width = depth_and_width(model)
    bottleneck = partial(Bottleneck, groups=groups, stride_in_1x1=model.stride_in_1x1)
    block = bottleneck if depth >= BOTTLENECK_FROM else BasicBlock
    gates = Gates(model.attention)
    widths = stage_widths(depth, width)
    small = model.stem == "cifar"
    stem = nn.Sequential(
        conv(channels, STEM_WIDTH, 3) if small else conv(channels, STEM_WIDTH, 7, 2),
        nn.BatchNorm2d(STEM_WIDTH),
        nn.ReLU(inplace=True),
    )
    if not small:
        stem.append(nn.MaxPool2d(3, stride=2, padding=1))
    stages = residual_stages(block, STEM_WIDTH, widths, COUNTS[depth], gates)
    return Network(stem, stages, widths, gates, nn.Linear(widths[-1], classes))
