"""BAM: Bottleneck Attention Module (Park et al., 2018, arXiv 1807.06514)."""

from torch import Tensor, nn

from cbam_ablate.config.schema import AttentionConfig
from cbam_ablate.models.attention.cbam import hidden_channels
from cbam_ablate.models.network import conv

DILATION = 4


class BAM(nn.Module):
    """`(1 + sigmoid(Mc + Ms)) * x`, or Mc Ms: x (N, C, H, W), the same shape out; h = C // reduction.

    Mc (N, C, 1, 1): mean over H and W, Linear C -> h, BN, ReLU, Linear h -> C.
    Ms (N, 1, H, W): 1x1 convolution C -> h, two dilated 3x3 h -> h, each with BN and ReLU, 1x1 h -> 1.
    The paper adds the two; its published code multiplies them (`combine`).
    """

    def __init__(self, channels: int, reduction: int = 16, *, combine: str = "add") -> None:
        super().__init__()
        self.combine = combine
        hidden = hidden_channels(channels, reduction)
        self.channel = nn.Sequential(
            nn.Linear(channels, hidden), nn.BatchNorm1d(hidden), nn.ReLU(), nn.Linear(hidden, channels)
        )
        self.spatial = nn.Sequential(
            *_conv_norm_relu(channels, hidden, 1, 1),
            *_conv_norm_relu(hidden, hidden, 3, DILATION),
            *_conv_norm_relu(hidden, hidden, 3, DILATION),
            conv(hidden, 1, 1, bias=True),
        )

    def forward(self, x: Tensor) -> Tensor:
        channel, spatial = self.channel(x.mean((2, 3)))[:, :, None, None], self.spatial(x)
        logits = channel + spatial if self.combine == "add" else channel * spatial
        return (1 + logits.sigmoid()) * x


def _conv_norm_relu(inputs: int, outputs: int, kernel: int, dilation: int) -> tuple[nn.Module, ...]:
    convolution = conv(inputs, outputs, kernel, bias=True, dilation=dilation)
    return convolution, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)


def bam(channels: int, cfg: AttentionConfig) -> nn.Module:
    """BAM for a feature map of so many channels."""
    return BAM(channels, cfg.ratio, combine=cfg.combine)
