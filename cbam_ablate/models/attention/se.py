"""SE: Squeeze-and-Excitation (Hu et al., 2018, arXiv 1709.01507): CBAM's channel gate from the mean alone."""

from torch import Tensor, nn

from cbam_ablate.config.schema import AttentionConfig
from cbam_ablate.models.attention.cbam import ChannelAttention


class SE(nn.Module):
    """`x * sigmoid(MLP(avgpool_HW(x)))`: x (N, C, H, W), the same shape out. MLP C -> C//reduction -> C."""

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        self.channel = ChannelAttention(channels, reduction, pool=("avg",))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.channel(x)


def se(channels: int, cfg: AttentionConfig) -> nn.Module:
    """SE for a feature map of so many channels."""
    return SE(channels, cfg.ratio)
