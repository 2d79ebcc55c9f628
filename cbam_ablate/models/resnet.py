"""ResNet-18 to -152 (He et al., 2015, arXiv 1512.03385) with a 3x3 stem for small images.

The same networks as kuangliu/pytorch-cifar.
"""

from torch import nn

from cbam_ablate.config.schema import ModelConfig
from cbam_ablate.models.blocks import BasicBlock, Bottleneck, residual_stages
from cbam_ablate.models.gates import Gates
from cbam_ablate.models.network import Network, conv, depth_and_width

COUNTS = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
}


def resnet(model: ModelConfig, classes: int, channels: int) -> nn.Module:
    """Four stages of widths 1, 2, 4 and 8 times `model.width`; bottlenecks from depth 50 on."""
    depth, width = depth_and_width(model)
    block = BasicBlock if depth < 50 else Bottleneck
    gates = Gates(model.attention)
    widths = [width * factor for factor in (1, 2, 4, 8)]
    stem = nn.Sequential(conv(channels, width, 3), nn.BatchNorm2d(width), nn.ReLU(inplace=True))
    stages = residual_stages(block, width, widths, COUNTS[depth], gates)
    outputs = [block.expansion * width for width in widths]
    return Network(stem, stages, outputs, gates, nn.Linear(outputs[-1], classes))
