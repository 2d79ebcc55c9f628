"""Coordinate attention (Hou et al., 2021, arXiv 2103.02907)."""

import torch
from torch import Tensor, nn

from cbam_ablate.config.schema import AttentionConfig
from cbam_ablate.models.attention.cbam import hidden_channels

NARROWEST = 8


class CoordinateAttention(nn.Module):
    """`x * gh * gw`, one gate for rows, one for columns: x (N, C, H, W), gh (N, C, H, 1), gw (N, C, 1, W).

    Means over W and over H go together through a 1x1 convolution C -> h, BN and hard swish, then apart
    through 1x1 convolutions h -> C; `h = max(8, C // reduction)`.
    """

    def __init__(self, channels: int, reduction: int = 32) -> None:
        super().__init__()
        hidden = max(NARROWEST, hidden_channels(channels, reduction))
        self.squeeze = nn.Sequential(nn.Conv2d(channels, hidden, 1), nn.BatchNorm2d(hidden), nn.Hardswish())
        self.rows = nn.Conv2d(hidden, channels, 1)
        self.columns = nn.Conv2d(hidden, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[2:]
        both = torch.cat([x.mean(3, keepdim=True), x.mean(2, keepdim=True).transpose(2, 3)], dim=2)
        rows, columns = self.squeeze(both).split([height, width], dim=2)
        return x * self.rows(rows).sigmoid() * self.columns(columns.transpose(2, 3)).sigmoid()


def coordinate(channels: int, cfg: AttentionConfig) -> nn.Module:
    """Coordinate attention for a feature map of so many channels."""
    return CoordinateAttention(channels, cfg.ratio)
