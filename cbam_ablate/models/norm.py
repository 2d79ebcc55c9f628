"""Batch normalisation with the addition and ReLU after it: on a CPU in few passes, else PyTorch's own."""

from typing import Any, TypeGuard

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from cbam_ablate.models.cpu import accumulated, run, suits, watched


def normalise(norm: nn.Module, x: Tensor, *, relu: bool = True, skipped: Tensor | None = None) -> Tensor:
    """`relu(norm(x) + skipped)`: x and `skipped` (N, C, H, W), the same shape out.

    A batch norm in training mode keeps its running statistics as `nn.BatchNorm2d` does.
    """
    if not has_passes(norm, x, skipped):
        y = norm(x) if skipped is None else stored(norm(x) + skipped)
        return F.relu(y) if relu else y
    if norm.training:
        norm.get_buffer("num_batches_tracked").add_(1)
        normalised: Tensor = _Normalised.apply(x, norm.weight, norm.bias, skipped, norm, relu)
        return normalised
    y = torch.empty_like(x)
    run("affine", x.dtype, *_sizes(x), int(relu), x, running(norm), skipped, y)
    return y


def add_relu(x: Tensor, skipped: Tensor) -> Tensor:
    """`relu(x + skipped)`, all (N, C, H, W)."""
    if suits(x) and suits(skipped) and x.dtype == skipped.dtype and x.shape == skipped.shape:
        y: Tensor = _AddedReLU.apply(x, skipped)
        return y
    return F.relu(stored(x + skipped))


def stored(x: Tensor) -> Tensor:
    """x, whose gradient torch.compile stores once and as it is: of its own, it would find it anew for each of
    its uses, or store it in float.
    """
    if not torch.compiler.is_compiling():
        return x
    y: Tensor = _Stored.apply(x)
    return y


def forked(x: Tensor) -> tuple[Tensor, Tensor]:
    """x twice, so that its two gradients are added in one pass."""
    if not suits(x) or not x.requires_grad:
        return x, x
    first, second = _Forked.apply(x)
    return first, second


def has_passes(norm: nn.Module, x: Tensor, skipped: Tensor | None) -> TypeGuard[nn.BatchNorm2d]:
    """Whether these can go through the passes for a CPU."""
    return (
        type(norm) is nn.BatchNorm2d
        and norm.affine
        and norm.track_running_stats
        and norm.momentum is not None
        and not watched(norm)
        and (norm.training or not torch.is_grad_enabled())
        and norm.weight.dtype == norm.get_buffer("running_mean").dtype == accumulated(x.dtype)
        and suits(x)
        and x.numel() > x.shape[1] == norm.num_features
        and norm.weight.device == x.device
        and (skipped is None or (suits(skipped) and skipped.dtype == x.dtype and skipped.shape == x.shape))
    )


def running(norm: nn.BatchNorm2d) -> Tensor:
    """Scale and shift (2, C) of a norm that is not in training."""
    mean, variance = norm.get_buffer("running_mean"), norm.get_buffer("running_var")
    scale = norm.weight.detach() * (variance + norm.eps).rsqrt()
    return torch.stack([scale, norm.bias.detach() - mean * scale])


def unchanged(x: Tensor) -> Tensor:
    """Scale and shift (2, C) that leave x as it is."""
    affine = x.new_zeros(2, x.shape[1], dtype=accumulated(x.dtype))
    affine[0] = 1
    return affine


def batch_statistics(norm: nn.BatchNorm2d, x: Tensor) -> tuple[Any, Tensor, Tensor]:
    """What the passes want of a norm in training, and where they put mean and 1 / deviation, scale and shift.

    Both are (2, C). The momentum is how far running statistics move towards the batch's.
    """
    given = (float(norm.eps), float(norm.momentum or 0), x, norm.weight, norm.bias)
    kept = (norm.get_buffer("running_mean"), norm.get_buffer("running_var"))
    channels = x.shape[1]
    return (
        (*given, *kept),
        x.new_empty(2, channels, dtype=torch.float64),
        x.new_empty(2, channels, dtype=accumulated(x.dtype)),
    )


def _sizes(x: Tensor) -> tuple[int, int, int]:
    return x.shape[0], x.shape[2] * x.shape[3], x.shape[1]


class _Normalised(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        skipped: Tensor | None,
        norm: nn.BatchNorm2d,
        relu: bool,
    ) -> Tensor:
        given, statistics, affine = batch_statistics(norm, x)
        y = torch.empty_like(x)
        run("normalise", x.dtype, *_sizes(x), int(relu), *given, skipped, statistics, affine, y)
        result = y if relu and skipped is not None else None
        ctx.save_for_backward(x, result, weight, statistics, affine)
        ctx.relu, ctx.adds = relu, skipped is not None
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> Any:
        x, y, weight, statistics, affine = ctx.saved_tensors
        dy = dy.to(x.dtype).contiguous(memory_format=torch.channels_last)
        kept = None if y is None else torch.empty_like(x)
        learnt, dx = torch.empty_like(affine), torch.empty_like(x)
        given = (dy, x, y, weight, statistics, affine)
        run("back_normalise", x.dtype, *_sizes(x), int(ctx.relu), *given, kept, learnt, dx)
        of_skipped = (dy if kept is None else kept) if ctx.adds else None
        return dx, learnt[0], learnt[1], of_skipped, None, None


class _Forked(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> tuple[Tensor, Tensor]:
        return x.view_as(x), x.view_as(x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, first: Tensor, second: Tensor) -> Tensor:
        if not (suits(first) and suits(second) and first.dtype == second.dtype):
            return first + second
        dx = torch.empty_like(first)
        run("add", dx.dtype, len(dx), dx[0].numel(), first, second, dx)
        return dx


class _Stored(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, dx: Tensor) -> Tensor:
        # Inductor writes to memory what it is to see with given strides.
        return dx.as_strided(dx.shape, dx.stride())


class _AddedReLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, skipped: Tensor) -> Tensor:
        y = torch.empty_like(x)
        run("affine", x.dtype, *_sizes(x), 1, x, unchanged(x), skipped, y)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> Any:
        (y,) = ctx.saved_tensors
        dx, dy = torch.empty_like(y), dy.to(y.dtype).contiguous(memory_format=torch.channels_last)
        run("back_relu", y.dtype, len(y), y[0].numel(), dy, y, dx)
        return dx, dx
