"""Where attention stands in a network: every backbone asks here, so none knows the modules."""

from dataclasses import replace

import torch
from torch import Tensor, nn

from cbam_ablate.config.schema import AttentionConfig
from cbam_ablate.errors import ConfigError
from cbam_ablate.models.attended import Attended
from cbam_ablate.registry import Attention, find

OF = {"block": ("block", "both"), "class": ("class", "both"), "stage": ("stage",)}
"""The placements that have places of a kind, and the values of `residual` that add the input there."""


class AddInput(nn.Module):
    """`x + attention(x)`: x (N, C, H, W), the same shape out."""

    def __init__(self, attention: nn.Module) -> None:
        super().__init__()
        self.attention = attention

    def forward(self, x: Tensor) -> Tensor:
        return x + self.attention(x)


class StartsAsIdentity(nn.Module):
    """`x + a (attention(x) - x)`: x (N, C, H, W), the same shape out; a is learned and starts at 0."""

    def __init__(self, attention: nn.Module) -> None:
        super().__init__()
        self.attention = attention
        self.scale = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.scale.to(x.dtype) * (self.attention(x) - x)


class Gates:
    """Makes the attention module of each place in a network; an identity where the placement has none.

    Placements: `block` is after a block's last normalisation and before its residual addition, `last` on
    the last feature map before global pooling (placement=class), `stage` after each stage but the last.
    """

    def __init__(self, cfg: AttentionConfig) -> None:
        self.cfg = cfg
        self.widths: list[int] = []

    def block(self, channels: int) -> nn.Module:
        if self.cfg.position == "before" and self.cfg.placement in OF["block"]:
            raise ConfigError(
                "model.attention.position=before: no norm ends this backbone's blocks; name the modules "
                "in model.attention.at=[...], or leave position out"
            )
        return self._at("block", channels)

    def around(self, norm: nn.Module, channels: int) -> tuple[nn.Module, nn.Module]:
        """A block's last norm and the attention after it; with `position=before` both in one, and nothing."""
        attention = self._at("block", channels)
        if self.cfg.position == "before" and self.cfg.placement in OF["block"]:
            return Attended(norm, attention, before=True), nn.Identity()
        return norm, attention

    def last(self, channels: int) -> nn.Module:
        return self._at("class", channels)

    def stage(self, channels: int) -> nn.Module:
        return self._at("stage", channels)

    def make(self, kind: str, channels: int) -> nn.Module:
        """The attention module of a place of this kind: block, class or stage."""
        attention: nn.Module = find(Attention, self.cfg.kind).load()(channels, self._for(channels))
        attention.is_gate = True  # type: ignore[assignment]
        if self.cfg.norm_momentum is not None:
            for module in attention.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.momentum = self.cfg.norm_momentum
        if self.cfg.residual in OF[kind]:
            attention = AddInput(attention)
        if self.cfg.start == "identity":
            attention = StartsAsIdentity(attention)
        attention.is_gate = True  # type: ignore[assignment]
        return attention

    def _at(self, kind: str, channels: int) -> nn.Module:
        return self.make(kind, channels) if self.cfg.placement in OF[kind] else nn.Identity()

    def _for(self, channels: int) -> AttentionConfig:
        """The options for a map of so many channels: of several kernels, its own."""
        kernels = self.cfg.kernels
        if len(kernels) < 2:
            return self.cfg
        if channels not in self.widths:
            self.widths.append(channels)
        place = self.widths.index(channels)
        if place >= len(kernels):
            raise ConfigError(
                f"model.attention.kernels=[{','.join(map(str, kernels))}]: one for each width of map that is "
                f"gated, of which there are more ({', '.join(map(str, self.widths))}), or one for all"
            )
        return replace(self.cfg, kernels=[kernels[place]])
