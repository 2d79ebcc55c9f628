"""ECA: Efficient Channel Attention (Wang et al., 2019, arXiv 1910.03151)."""

import math

from torch import Tensor, nn

from cbam_ablate.config.schema import AttentionConfig


class ECA(nn.Module):
    """`x * sigmoid(conv1d(avgpool_HW(x)))`, the convolution running over channels: x (N, C, H, W), same out.

    Its kernel, where none is given, is the odd number next to `(log2(C) + 1) / 2`, at least 3. The published
    ECA-Net50 has 3, 5, 5, 7 instead.
    """

    def __init__(self, channels: int, kernel: int | None = None) -> None:
        super().__init__()
        if kernel is None:
            size = int((math.log2(channels) + 1) / 2)
            kernel = max(3, size if size % 2 else size + 1)
        self.conv = nn.Conv1d(1, 1, kernel, padding=kernel // 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        logits = self.conv(x.mean((2, 3))[:, None])
        return x * logits.sigmoid().transpose(1, 2)[..., None]


def eca(channels: int, cfg: AttentionConfig) -> nn.Module:
    """ECA for a feature map of so many channels."""
    return ECA(channels, cfg.kernels[0] if cfg.kernels else None)
