"""Residual blocks (He et al., 2015, arXiv 1512.03385) with attention before the addition.

Shapes: (N, inputs, H, W) to (N, expansion * width, H / stride, W / stride).
"""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from cbam_ablate.models.gates import Gates
from cbam_ablate.models.network import conv


def shortcut(inputs: int, outputs: int, stride: int) -> nn.Module:
    """The identity, or a 1x1 convolution and BN where the shape changes."""
    if stride == 1 and inputs == outputs:
        return nn.Identity()
    return nn.Sequential(conv(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs))


class BasicBlock(nn.Module):
    """`relu(shortcut(x) + attention(BN(conv3x3(relu(BN(conv3x3(x)))))))`."""

    expansion = 1

    def __init__(self, inputs: int, width: int, stride: int, gates: Gates) -> None:
        super().__init__()
        self.conv1 = conv(inputs, width, 3, stride)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = conv(width, width, 3)
        self.bn2 = nn.BatchNorm2d(width)
        self.attention = gates.block(width)
        self.shortcut = shortcut(inputs, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)), inplace=True)
        y = self.attention(self.bn2(self.conv2(y)))
        return F.relu(self.shortcut(x) + y, inplace=True)


class Bottleneck(nn.Module):
    """`relu(shortcut(x) + attention(BN(conv1x1(relu(BN(conv3x3(relu(BN(conv1x1(x)))))))))`."""

    expansion = 4

    def __init__(self, inputs: int, width: int, stride: int, gates: Gates) -> None:
        super().__init__()
        outputs = self.expansion * width
        self.conv1 = conv(inputs, width, 1)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = conv(width, width, 3, stride)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = conv(width, outputs, 1)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.attention = gates.block(outputs)
        self.shortcut = shortcut(inputs, outputs, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)), inplace=True)
        y = F.relu(self.bn2(self.conv2(y)), inplace=True)
        y = self.attention(self.bn3(self.conv3(y)))
        return F.relu(self.shortcut(x) + y, inplace=True)


def residual_stages(
    block: type[BasicBlock] | type[Bottleneck],
    inputs: int,
    widths: Sequence[int],
    counts: Sequence[int],
    gates: Gates,
) -> list[list[nn.Module]]:
    """`counts[i]` blocks of `widths[i]` for each stage; all but the first stage halve H and W."""
    stages: list[list[nn.Module]] = []
    for index, (width, count) in enumerate(zip(widths, counts, strict=True)):
        blocks: list[nn.Module] = []
        for number in range(count):
            stride = 2 if index > 0 and number == 0 else 1
            blocks.append(block(inputs, width, stride, gates))
            inputs = block.expansion * width
        stages.append(blocks)
    return stages
