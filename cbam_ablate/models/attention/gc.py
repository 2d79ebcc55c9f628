"""GC: the global context block (Cao et al., 2019, arXiv 1904.11492)."""

import torch
from torch import Tensor, nn

from cbam_ablate.config.schema import AttentionConfig
from cbam_ablate.models.attention.cbam import hidden_channels


class GlobalContext(nn.Module):
    """`x + W2 relu(LN(W1 sum_j softmax(Wk x)_j x_j))`: x (N, C, H, W), the same shape out.

    W1 is C -> C // reduction and W2 back, both with biases; W2 starts at 0, so the block starts as the
    identity, as in the published code.
    """

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        hidden = hidden_channels(channels, reduction)
        self.key = nn.Conv2d(channels, 1, 1)
        nn.init.kaiming_normal_(self.key.weight, nonlinearity="relu")
        self.transform = nn.Sequential(
            nn.Linear(channels, hidden), nn.LayerNorm(hidden), nn.ReLU(), last := nn.Linear(hidden, channels)
        )
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)

    def forward(self, x: Tensor) -> Tensor:
        weights = self.key(x).flatten(2).softmax(-1)
        context = torch.einsum("ncp,nqp->nc", x.flatten(2), weights)
        return x + self.transform(context)[:, :, None, None]


def gc(channels: int, cfg: AttentionConfig) -> nn.Module:
    """The global context block for a feature map of so many channels."""
    return GlobalContext(channels, cfg.ratio)
