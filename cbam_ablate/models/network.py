"""What all classifiers here have in common: stem, stages, attention between and after them, a linear head."""

from collections import OrderedDict
from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from cbam_ablate.config.schema import ModelConfig
from cbam_ablate.errors import ConfigError
from cbam_ablate.models.gates import Gates
from cbam_ablate.registry import Backbone, find


class Network(nn.Module):
    """Images (N, channels, H, W) to logits (N, classes), at any H and W that the strides leave a pixel of.

    `stages` holds each stage's blocks, `widths` the channels of each stage's output; `pool` comes between the
    attention on the last map and global average pooling.
    """

    def __init__(
        self,
        stem: nn.Module,
        stages: Sequence[Sequence[nn.Module]],
        widths: Sequence[int],
        gates: Gates,
        classifier: nn.Module,
        pool: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.stem = stem
        self.stages = nn.Sequential()
        for index, (blocks, width) in enumerate(zip(stages, widths, strict=True)):
            named = OrderedDict((str(number), block) for number, block in enumerate(blocks))
            if index < len(stages) - 1:
                named["attention"] = gates.stage(width)
            self.stages.append(nn.Sequential(named))
        self.attention = gates.last(widths[-1])
        self.pool = nn.Identity() if pool is None else pool
        self.classifier = classifier

    def forward(self, images: Tensor) -> Tensor:
        x = self.attention(self.stages(self.stem(images)))
        return self.classifier(self.pool(x).mean((2, 3)))


class ConvNorm(nn.Sequential):
    """A convolution, its BN and, where there is a third module, ReLU."""


class StridedPointwise(nn.Conv2d):
    """A 1x1 convolution with a stride, as one without of every stride-th position.

    The same sums, since oneDNN's gradient of the weights writes beyond its workspace for fewer than 16
    channels in channels_last: it crashes, hangs or is wrong (oneDNN issue 6035).
    """

    def forward(self, x: Tensor) -> Tensor:
        rows, columns = self.stride
        return F.conv2d(x[:, :, ::rows, ::columns], self.weight, self.bias, groups=self.groups)


def conv(
    inputs: int,
    outputs: int,
    kernel: int,
    stride: int = 1,
    *,
    groups: int = 1,
    bias: bool = False,
    dilation: int = 1,
) -> nn.Conv2d:
    """A size-keeping convolution, initialised as in He et al. (2015): normal, by fan-out, biases 0."""
    padding = dilation * (kernel // 2)
    kind = StridedPointwise if kernel == 1 and stride > 1 and inputs < 16 else nn.Conv2d
    layer = kind(inputs, outputs, kernel, stride, padding, groups=groups, bias=bias, dilation=dilation)
    nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def depth_and_width(model: ModelConfig) -> tuple[int, int]:
    """Layers and channels of the first stage, the backbone's own where the config leaves them open."""
    backbone = find(Backbone, model.backbone)
    depth = backbone.default_depth if model.depth is None else model.depth
    width = backbone.width if model.width is None else model.width
    if depth is None or width is None or depth not in backbone.depths:
        legal = ", ".join(map(str, sorted(backbone.depths)))
        raise ConfigError(f"model.depth={depth}: backbone {model.backbone} has depths {legal}")
    return depth, width
