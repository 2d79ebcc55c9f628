"""What torch.compile is given in place of the plain blocks: the same numbers, in fewer kernels.

Counted in kernels and bytes for an H100, not timed: `benchmarks/README.md`. Maps are (N, C, H, W).
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cbam_ablate.models.attention.cbam import DESCRIPTORS, ChannelAttention, SpatialAttention
from cbam_ablate.models.blocks import BasicBlock, Bottleneck


class Highest(torch.autograd.Function):
    """The maxima along a dimension, each with its gradient for one of equals.

    The gradient is found by comparing places, which a compiler makes part of the pass around it. That of
    PyTorch's own maximum is a map of zeros, into which it is scattered.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, dim: int) -> Tensor:
        values, where = x.max(dim)
        ctx.save_for_backward(where)
        ctx.dim, ctx.size = dim, x.shape[dim]
        return values

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (where,) = ctx.saved_tensors
        places = torch.arange(ctx.size, device=gradient.device)
        places = places.view(-1, *[1] * (where.ndim - ctx.dim))
        here = places == where.unsqueeze(ctx.dim)
        return torch.where(here, gradient.unsqueeze(ctx.dim), 0), None


class Stored(torch.autograd.Function):
    """x, whose gradient torch.compile stores once and as it is.

    Of itself it would compute it anew for each of its uses, or store it in float32.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, dx: Tensor) -> Tensor:
        # Inductor writes to memory what it is to see with given strides.
        return dx.as_strided(dx.shape, dx.stride())


class CompiledChannelAttention(ChannelAttention):
    """`ChannelAttention` with `Highest`."""

    def forward(self, x: Tensor) -> Tensor:
        if not torch.compiler.is_compiling():
            return super().forward(x)
        pixels = x.permute(0, 2, 3, 1).flatten(1, 2)
        return self.gate(
            *(Highest.apply(pixels, 1) if name == "max" else DESCRIPTORS[name](x) for name in self.pool)
        )


class CompiledSpatialAttention(SpatialAttention):
    """`SpatialAttention` with `Highest`."""

    def descriptor(self, y: Tensor) -> Tensor:
        if self.project is not None or not torch.compiler.is_compiling():
            return super().descriptor(y)
        maximum, mean = Highest.apply(y.permute(0, 2, 3, 1), 3), y.sum(1) / y.shape[1]
        return torch.stack([maximum, mean], dim=-1).permute(0, 3, 1, 2)


class CompiledBasicBlock(BasicBlock):
    """`BasicBlock` whose gradients at its end are stored."""

    def forward(self, x: Tensor) -> Tensor:
        if not torch.compiler.is_compiling():
            return super().forward(x)
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return join(y, self.attention, self.shortcut(x))


class CompiledBottleneck(Bottleneck):
    """`Bottleneck` whose gradients at its end are stored."""

    def forward(self, x: Tensor) -> Tensor:
        if not torch.compiler.is_compiling():
            return super().forward(x)
        y = F.relu(self.bn1(self.conv1(x)))
        y = self.bn3(self.conv3(F.relu(self.bn2(self.conv2(y)))))
        return join(y, self.attention, self.shortcut(x))


def join(y: Tensor, attention: nn.Module, skipped: Tensor) -> Tensor:
    """`relu(attention(y) + skipped)`."""
    if not isinstance(attention, nn.Identity):
        y = attention(Stored.apply(y))
    joined: Tensor = Stored.apply(y + skipped)
    return F.relu(joined)


SWAPPED: dict[type[nn.Module], type[nn.Module]] = {
    ChannelAttention: CompiledChannelAttention,
    SpatialAttention: CompiledSpatialAttention,
    BasicBlock: CompiledBasicBlock,
    Bottleneck: CompiledBottleneck,
}
"""Of each class that is known here, what takes its place."""


def prepare(network: nn.Module) -> nn.Module:
    """Swaps the forwards of the blocks that are known here, in place, and returns the network.

    Outside torch.compile they compute as before.
    """
    for module in network.modules():
        module.__class__ = SWAPPED.get(type(module), type(module))
    return network
