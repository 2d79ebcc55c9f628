"""CBAM: Convolutional Block Attention Module (Woo et al., 2018, arXiv 1807.06521).

Shapes: x (N, C, H, W), channel gate (N, C, 1, 1), spatial gate (N, 1, H, W).
"""

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.amp import is_autocast_available

from cbam_ablate.config.schema import ORDERS, SPATIAL_DESCRIPTORS, AttentionConfig
from cbam_ablate.errors import ConfigError


def without_autocast(x: Tensor) -> contextlib.AbstractContextManager[Any]:
    """Computes in the layers' own type: rounded to bf16, a gate would keep 8 bits of what it multiplies."""
    kind = x.device.type
    return torch.autocast(kind, enabled=False) if is_autocast_available(kind) else contextlib.nullcontext()


def _average(x: Tensor) -> Tensor:
    # A sum accumulates in float32; `mean` would copy a bf16 map to float32 first.
    return x.sum((2, 3)) / (x.shape[2] * x.shape[3])


def _maximum(x: Tensor) -> Tensor:
    # As (N, HW, C), so that the gradient is laid out as a channels_last map. `amax` would split it among
    # ties; this gives it to one of them, as max pooling does.
    return x.permute(0, 2, 3, 1).flatten(1, 2).max(1).values


def _lp(x: Tensor) -> Tensor:
    return torch.linalg.vector_norm(x, dim=(2, 3))


def _log_sum_exp(x: Tensor) -> Tensor:
    return x.logsumexp((2, 3))


DESCRIPTORS: dict[str, Callable[[Tensor], Tensor]] = {
    "avg": _average,
    "max": _maximum,
    "lp": _lp,
    "lse": _log_sum_exp,
}


def hidden_channels(channels: int, reduction: int) -> int:
    """Width of a gate's bottleneck, `max(1, channels // reduction)`; raises `ConfigError` below 1."""
    if channels < 1 or reduction < 1:
        raise ConfigError(f"channels={channels} and reduction={reduction} must be at least 1")
    return max(1, channels // reduction)


class ChannelAttention(nn.Module):
    """`Mc = sigmoid(sum over pools of MLP(pool_HW(x)))`, one MLP C -> C//reduction -> C for all pools.

    `forward` maps x (N, C, H, W) to the gate (N, C, 1, 1); the caller multiplies. Pools: avg, max,
    lp (square root of the sum of squares), lse (log of the sum of exponentials).
    Raises `ConfigError` for an unknown, repeated or missing pool and for sizes below 1.
    """

    def __init__(
        self,
        channels: int,
        reduction: int = 16,
        *,
        pool: Sequence[str] = ("avg", "max"),
        mlp_bias: bool = True,
    ) -> None:
        super().__init__()
        if isinstance(pool, str) or not pool or len(set(pool)) < len(pool) or set(pool) - set(DESCRIPTORS):
            raise ConfigError(
                f"pool={pool!r}: must be one or more different ones of {', '.join(DESCRIPTORS)}"
            )
        hidden = hidden_channels(channels, reduction)
        self.pool = tuple(pool)
        self.mlp = nn.Sequential(
            nn.Linear(channels, hidden, bias=mlp_bias),
            nn.ReLU(),
            nn.Linear(hidden, channels, bias=mlp_bias),
        )
        for layer in self.mlp:
            if isinstance(layer, nn.Linear) and layer.bias is not None:
                nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.gate(*(DESCRIPTORS[name](x) for name in self.pool))

    def gate(self, *pooled: Tensor) -> Tensor:
        """The gate (N, C, 1, 1) from what each pool gives, (N, C)."""
        with without_autocast(pooled[0]):
            descriptors = torch.cat(pooled).to(next(self.mlp.parameters()).dtype)
            logits = self.mlp(descriptors).unflatten(0, (len(pooled), -1)).sum(0)
        return logits.sigmoid().to(pooled[0].dtype)[:, :, None, None]


class SpatialAttention(nn.Module):
    """`Ms = sigmoid(BN(conv_kxk([max_C(y), mean_C(y)])))`, the same size as y.

    `forward` maps y (N, C, H, W) to the gate (N, 1, H, W); the caller multiplies. With `spatial_norm`
    the gate starts at exactly 0.5, as in the official code. Given `projected` channels, a learned 1x1
    convolution C -> 1 takes the place of max and mean (the paper's Table 2). Raises `ConfigError` for an
    even kernel.
    """

    def __init__(
        self,
        kernel: int = 7,
        *,
        conv_bias: bool = False,
        spatial_norm: bool = True,
        projected: int | None = None,
    ) -> None:
        super().__init__()
        if kernel < 1 or kernel % 2 == 0:
            raise ConfigError(f"kernel={kernel}: must be odd and positive (3, 5, 7, 9, ...)")
        self.project = None if projected is None else nn.Conv2d(projected, 1, 1, bias=conv_bias)
        inputs = 2 if projected is None else 1
        self.conv = nn.Conv2d(inputs, 1, kernel, padding=kernel // 2, bias=conv_bias)
        nn.init.kaiming_normal_(self.conv.weight, mode="fan_out")
        if self.conv.bias is not None:
            nn.init.zeros_(self.conv.bias)
        self.norm = nn.BatchNorm2d(1, momentum=0.01) if spatial_norm else nn.Identity()
        if isinstance(self.norm, nn.BatchNorm2d):
            nn.init.zeros_(self.norm.weight)

    def forward(self, y: Tensor) -> Tensor:
        described = self.descriptor(y)
        with without_autocast(y):
            logits = self.norm(self.conv(described.to(self.conv.weight.dtype)))
        return logits.sigmoid().to(y.dtype)

    def descriptor(self, y: Tensor) -> Tensor:
        """What the convolution sees: maximum and mean over the channels (N, 2, H, W), or (N, 1, H, W)."""
        if self.project is not None:
            return self.project(y)
        pixels = y.permute(0, 2, 3, 1)
        maximum, mean = pixels.max(-1).values, y.sum(1) / y.shape[1]
        return torch.stack([maximum, mean], dim=-1).permute(0, 3, 1, 2)


class CBAM(nn.Module):
    """Both gates on x (N, C, H, W), the same shape out.

    `order`: channel_first `y = Mc(x) x, z = Ms(y) y` (the paper's choice), spatial_first the other way round,
    parallel `z = Mc(x) Ms(x) x`, or one gate alone. `residual` adds x to the result. `descriptor` is what the
    spatial gate sees: pool is max and mean over channels, conv a learned 1x1 convolution. The other options
    are those of `ChannelAttention` and `SpatialAttention`. Raises `ConfigError` for a value out of its range.
    """

    def __init__(
        self,
        channels: int,
        reduction: int = 16,
        kernel: int = 7,
        *,
        pool: Sequence[str] = ("avg", "max"),
        order: str = "channel_first",
        mlp_bias: bool = True,
        conv_bias: bool = False,
        spatial_norm: bool = True,
        residual: bool = False,
        descriptor: str = "pool",
    ) -> None:
        super().__init__()
        if order not in ORDERS:
            raise ConfigError(f"order={order!r}: must be one of {', '.join(ORDERS)}")
        if descriptor not in SPATIAL_DESCRIPTORS:
            raise ConfigError(f"descriptor={descriptor!r}: must be one of {', '.join(SPATIAL_DESCRIPTORS)}")
        self.order = order
        self.residual = residual
        if order != "spatial_only":
            self.channel = ChannelAttention(channels, reduction, pool=pool, mlp_bias=mlp_bias)
        if order != "channel_only":
            projected = channels if descriptor == "conv" else None
            self.spatial = SpatialAttention(
                kernel, conv_bias=conv_bias, spatial_norm=spatial_norm, projected=projected
            )

    def forward(self, x: Tensor) -> Tensor:
        if self.order == "channel_first":
            y = x * self.channel(x)
            z = y * self.spatial(y)
        elif self.order == "spatial_first":
            y = x * self.spatial(x)
            z = y * self.channel(y)
        elif self.order == "parallel":
            z = x * self.channel(x) * self.spatial(x)
        elif self.order == "channel_only":
            z = x * self.channel(x)
        else:
            z = x * self.spatial(x)
        return x + z if self.residual else z


def cbam(channels: int, cfg: AttentionConfig) -> nn.Module:
    """CBAM for a feature map of so many channels."""
    return CBAM(
        channels,
        cfg.ratio,
        cfg.kernel,
        pool=tuple(cfg.pool),
        order=cfg.order,
        mlp_bias=cfg.mlp_bias,
        conv_bias=cfg.conv_bias,
        spatial_norm=cfg.spatial_norm,
        descriptor=cfg.descriptor,
    )
