"""Where attention stands in a network: every backbone asks here, so none knows the modules."""

from torch import Tensor, nn

from cbam_ablate.config.schema import AttentionConfig
from cbam_ablate.registry import Attention, find


class AddInput(nn.Module):
    """`x + attention(x)`: x (N, C, H, W), the same shape out."""

    def __init__(self, attention: nn.Module) -> None:
        super().__init__()
        self.attention = attention

    def forward(self, x: Tensor) -> Tensor:
        return x + self.attention(x)


class Gates:
    """Makes the attention module of each place in a network; an identity where the placement has none.

    Placements: `block` is after a block's last normalisation and before its residual addition, `last` on
    the last feature map before global pooling (placement=class), `stage` after each stage but the last.
    """

    def __init__(self, cfg: AttentionConfig) -> None:
        self.cfg = cfg

    def block(self, channels: int) -> nn.Module:
        return self._at(("block", "both"), channels)

    def last(self, channels: int) -> nn.Module:
        return self._at(("class", "both"), channels)

    def stage(self, channels: int) -> nn.Module:
        return self._at(("stage",), channels)

    def _at(self, placements: tuple[str, ...], channels: int) -> nn.Module:
        if self.cfg.placement not in placements:
            return nn.Identity()
        attention: nn.Module = find(Attention, self.cfg.kind).load()(channels, self.cfg)
        attention.is_gate = True  # type: ignore[assignment]
        return AddInput(attention) if self.cfg.residual in placements else attention
