"""ResNet-20 to -110 for CIFAR (He et al., 2015, arXiv 1512.03385, section 4.2).

Where a shortcut changes shape it is a 1x1 convolution and BN (their option B).
"""

from torch import nn

from cbam_ablate.config.schema import ModelConfig
from cbam_ablate.models.blocks import BasicBlock, residual_stages
from cbam_ablate.models.gates import Gates
from cbam_ablate.models.network import ConvNorm, Network, conv, depth_and_width


def resnet_cifar(model: ModelConfig, classes: int, channels: int) -> nn.Module:
    """Three stages of `n` basic blocks, depth `6n + 2`, widths 1, 2 and 4 times `model.width`."""
    depth, width = depth_and_width(model)
    gates = Gates(model.attention)
    widths = [width, 2 * width, 4 * width]
    stem = ConvNorm(conv(channels, width, 3), nn.BatchNorm2d(width), nn.ReLU(inplace=True))
    stages = residual_stages(BasicBlock, width, widths, [(depth - 2) // 6] * 3, gates)
    return Network(stem, stages, widths, gates, nn.Linear(widths[-1], classes))
