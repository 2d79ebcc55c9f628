"""Residual blocks with attention before the addition.

Shapes: (N, inputs, H, W) to (N, outputs, H / stride, W / stride).
Sources: He et al., 2015, arXiv 1512.03385; pre-activation: He et al., 2016, arXiv 1603.05027; grouped: Xie et
al., 2016, arXiv 1611.05431.
"""

from collections.abc import Callable, Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from cbam_ablate.models.gates import Gates
from cbam_ablate.models.network import ConvNorm, conv


class Padded(nn.Module):
    """Every stride-th position of x, and zeros for the channels that are new, half before and half after."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.stride, self.before = stride, (outputs - inputs) // 2
        self.after = outputs - inputs - self.before

    def forward(self, x: Tensor) -> Tensor:
        picked = x[:, :, :: self.stride, :: self.stride]
        return F.pad(picked, (0, 0, 0, 0, self.before, self.after))


def shortcut(inputs: int, outputs: int, stride: int, *, pad: bool = False) -> nn.Module:
    """The identity, or where the shape changes a 1x1 convolution and BN, or zeros (`pad`)."""
    if stride == 1 and inputs == outputs:
        return nn.Identity()
    if pad:
        return Padded(inputs, outputs, stride)
    return ConvNorm(conv(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs))


class BasicBlock(nn.Module):
    """`relu(shortcut(x) + attention(BN(conv3x3(relu(BN(conv3x3(x)))))))`."""

    def __init__(self, inputs: int, outputs: int, stride: int, gates: Gates, *, pad: bool = False) -> None:
        super().__init__()
        self.conv1 = conv(inputs, outputs, 3, stride)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = conv(outputs, outputs, 3)
        self.bn2, self.attention = gates.around(nn.BatchNorm2d(outputs), outputs)
        self.shortcut = shortcut(inputs, outputs, stride, pad=pad)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        y = self.attention(self.bn2(self.conv2(y)))
        return F.relu(y + self.shortcut(x))


class Bottleneck(nn.Module):
    """`relu(shortcut(x) + attention(BN(conv1x1(relu(BN(conv3x3(relu(BN(conv1x1(x)))))))))`.

    The inner width is `inner`, or else `outputs // 4`, twice that with 32 groups (ResNeXt 32x4d). The stride
    is in the 3x3 convolution, or, as in the original paper, in the first 1x1.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        stride: int,
        gates: Gates,
        *,
        groups: int = 1,
        stride_in_1x1: bool = False,
        inner: int | None = None,
        pad: bool = False,
    ) -> None:
        super().__init__()
        width = inner or (outputs // 4 if groups == 1 else outputs // 2)
        first, second = (stride, 1) if stride_in_1x1 else (1, stride)
        self.conv1 = conv(inputs, width, 1, first)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = conv(width, width, 3, second, groups=groups)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = conv(width, outputs, 1)
        self.bn3, self.attention = gates.around(nn.BatchNorm2d(outputs), outputs)
        self.shortcut = shortcut(inputs, outputs, stride, pad=pad)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        y = F.relu(self.bn2(self.conv2(y)))
        y = self.attention(self.bn3(self.conv3(y)))
        return F.relu(y + self.shortcut(x))


class PreActivation(nn.Module):
    """`shortcut + attention(f(relu(BN(x))))` with a full pre-activation before every convolution of `f`.

    A shortcut that changes shape is a bare 1x1 convolution of the pre-activated input. Bottlenecks have the
    inner width `outputs // 4`; otherwise `f` is two 3x3 convolutions.
    """

    def __init__(self, inputs: int, outputs: int, stride: int, gates: Gates, *, bottleneck: bool) -> None:
        super().__init__()
        width = outputs // 4
        shapes = (
            [(inputs, width, 1, 1), (width, width, 3, stride), (width, outputs, 1, 1)]
            if bottleneck
            else [(inputs, outputs, 3, stride), (outputs, outputs, 3, 1)]
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(shape[0]) for shape in shapes)
        self.convs = nn.ModuleList(conv(*shape) for shape in shapes)
        self.attention = gates.block(outputs)
        changes = stride != 1 or inputs != outputs
        self.shortcut = conv(inputs, outputs, 1, stride) if changes else None

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.norms[0](x))
        straight = x if self.shortcut is None else self.shortcut(y)
        y = self.convs[0](y)
        for norm, convolution in zip(self.norms[1:], self.convs[1:], strict=True):
            y = convolution(F.relu(norm(y)))
        return straight + self.attention(y)


def residual_stages(
    block: Callable[[int, int, int, Gates], nn.Module],
    inputs: int,
    widths: Sequence[int],
    counts: Sequence[int],
    gates: Gates,
) -> list[list[nn.Module]]:
    """`counts[i]` blocks with `widths[i]` output channels for each stage; all but the first halve H and W."""
    stages: list[list[nn.Module]] = []
    for index, (width, count) in enumerate(zip(widths, counts, strict=True)):
        blocks: list[nn.Module] = []
        for number in range(count):
            stride = 2 if index > 0 and number == 0 else 1
            blocks.append(block(inputs, width, stride, gates))
            inputs = width
        stages.append(blocks)
    return stages
