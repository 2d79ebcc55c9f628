"""MobileNet v1 (Howard et al., 2017, arXiv 1704.04861), the network of CBAM's Table 5.

Attention in a block stands after every norm, the stem's too: that is what the table's figures count.
"""

from torch import Tensor, nn
from torch.nn import functional as F

from cbam_ablate.config.schema import ModelConfig
from cbam_ablate.models.gates import Gates
from cbam_ablate.models.network import Network, conv, depth_and_width

STAGES = ((1, 1), (2, 2), (4, 2), (8, 6), (16, 2))
"""Width, in multiples of the first stage's, and number of blocks."""


class SeparableBlock(nn.Module):
    """Depthwise 3x3, then 1x1 convolution, each with BN, attention and ReLU.

    (N, inputs, H, W) to (N, outputs, H / stride, W / stride).
    """

    def __init__(self, inputs: int, outputs: int, stride: int, gates: Gates) -> None:
        super().__init__()
        self.depthwise = conv(inputs, inputs, 3, stride, groups=inputs)
        self.bn1, self.attention1 = gates.around(nn.BatchNorm2d(inputs), inputs)
        self.pointwise = conv(inputs, outputs, 1)
        self.bn2, self.attention2 = gates.around(nn.BatchNorm2d(outputs), outputs)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.attention1(self.bn1(self.depthwise(x))), inplace=True)
        return F.relu(self.attention2(self.bn2(self.pointwise(y))), inplace=True)


def mobilenet(model: ModelConfig, classes: int, channels: int) -> nn.Module:
    """Thirteen separable blocks; `model.multiplier` is the paper's alpha, which narrows every layer.

    The stem has a stride of 2, or with `model.stem=cifar` of 1, as in kuangliu/pytorch-cifar.
    """
    _, width = depth_and_width(model)
    widths = [int(factor * width * model.multiplier) for factor, _ in STAGES]
    inputs = int(width / 2 * model.multiplier)
    gates = Gates(model.attention)
    stem = nn.Sequential(
        conv(channels, inputs, 3, 1 if model.stem == "cifar" else 2),
        *gates.around(nn.BatchNorm2d(inputs), inputs),
        nn.ReLU(inplace=True),
    )
    stages: list[list[nn.Module]] = []
    for outputs, (_, count) in zip(widths, STAGES, strict=True):
        blocks: list[nn.Module] = []
        for number in range(count):
            stride = 2 if stages and number == 0 else 1
            blocks.append(SeparableBlock(inputs, outputs, stride, gates))
            inputs = outputs
        stages.append(blocks)
    return Network(stem, stages, widths, gates, nn.Linear(inputs, classes))
