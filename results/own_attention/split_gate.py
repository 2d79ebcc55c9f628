import torch
from torch import Tensor, nn


class Split(nn.Module):
    """Gates each channel by the mean of its map, in groups of channels."""

    def __init__(self, channels: int, groups: int = 4) -> None:
        super().__init__()
        self.mix = nn.Conv2d(channels, channels, 1, groups=groups)

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(self.mix(x.mean((2, 3), keepdim=True)))
