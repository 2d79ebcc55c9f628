"""Batch normalisation with the addition and ReLU after it: on a CPU in few passes, else PyTorch's own."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from cbam_ablate.models.cpu import accumulated, run, suits


def normalise(norm: nn.Module, x: Tensor, *, relu: bool = True, skipped: Tensor | None = None) -> Tensor:
    """`relu(norm(x) + skipped)`: x and `skipped` (N, C, H, W), the same shape out.

    A batch norm in training mode keeps its running statistics as `nn.BatchNorm2d` does.
    """
    if not (isinstance(norm, nn.BatchNorm2d) and _has_passes(norm, x, skipped)):
        y = norm(x) if skipped is None else norm(x) + skipped
        return F.relu(y, inplace=True) if relu else y
    kind = accumulated(x.dtype)
    if norm.training:
        y, mean, variance = _Normalised.apply(x, norm.weight, norm.bias, skipped, norm.eps, relu)
        _keep(norm, mean, variance, x.numel() // x.shape[1])
        return y
    mean, variance = norm.get_buffer("running_mean").to(kind), norm.get_buffer("running_var").to(kind)
    scale = norm.weight.to(kind) * (variance + norm.eps).rsqrt()
    shift = norm.bias.to(kind) - mean * scale
    y = torch.empty_like(x)
    run("affine", x.dtype, *_sizes(x), int(relu), x, scale, shift, skipped, y)
    return y


def add_relu(x: Tensor, skipped: Tensor) -> Tensor:
    """`relu(x + skipped)`, all (N, C, H, W)."""
    if suits(x) and suits(skipped) and x.dtype == skipped.dtype and x.shape == skipped.shape:
        y: Tensor = _AddedReLU.apply(x, skipped)
        return y
    return F.relu(x + skipped, inplace=True)


def _has_passes(norm: nn.BatchNorm2d, x: Tensor, skipped: Tensor | None) -> bool:
    return (
        type(norm) is nn.BatchNorm2d
        and norm.affine
        and norm.track_running_stats
        and norm.momentum is not None
        and not norm._forward_hooks
        and not norm._forward_pre_hooks
        and (norm.training or not torch.is_grad_enabled())
        and x.shape[0] * x.shape[2] * x.shape[3] > 1
        and suits(x)
        and (skipped is None or (suits(skipped) and skipped.dtype == x.dtype and skipped.shape == x.shape))
    )


@torch.no_grad()
def _keep(norm: nn.BatchNorm2d, mean: Tensor, variance: Tensor, count: int) -> None:
    norm.get_buffer("num_batches_tracked").add_(1)
    for name, value in (("running_mean", mean), ("running_var", variance * (count / (count - 1)))):
        kept = norm.get_buffer(name)
        kept.lerp_(value.to(kept.dtype), norm.momentum or 0.0)


def _sizes(x: Tensor) -> tuple[int, int, int]:
    return x.shape[0], x.shape[2] * x.shape[3], x.shape[1]


class _Normalised(torch.autograd.Function):
    """Gives y and the batch's mean and variance (C,), in float64."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, skipped: Tensor | None, eps: float, relu: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        (images, pixels, channels), kind = _sizes(x), accumulated(x.dtype)
        sums, squares = x.new_empty(2, images, channels, dtype=kind)
        run("moments", x.dtype, images, pixels, channels, x, sums, squares)
        sums, squares = sums.double() / pixels, squares.double() / pixels
        means = x[:, :, 0, 0].double() + sums
        mean = means.mean(0)
        variance = (squares - sums.square() + (means - mean).square()).mean(0)
        inverse = (variance + eps).rsqrt()
        scale = weight.double() * inverse
        shift = (bias.double() - mean * scale).to(kind)
        scale = scale.to(kind)
        y = torch.empty_like(x)
        run("affine", x.dtype, images, pixels, channels, int(relu), x, scale, shift, skipped, y)
        ctx.save_for_backward(
            x, y if relu and skipped is not None else None, weight, mean, inverse, scale, shift
        )
        ctx.relu, ctx.adds = relu, skipped is not None
        ctx.mark_non_differentiable(mean, variance)
        return y, mean, variance

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor, *_: Tensor) -> Any:
        x, y, weight, mean, inverse, scale, shift = ctx.saved_tensors
        sizes, kind = _sizes(x), scale.dtype
        dy = dy.to(x.dtype).contiguous(memory_format=torch.channels_last)
        relu = ctx.relu
        if y is not None:
            dy, relu = _masked(dy, y), False
        sums, products = x.new_empty(2, sizes[0], sizes[2], dtype=kind)
        run("back_moments", x.dtype, *sizes, int(relu), dy, x, scale, shift, mean.to(kind), sums, products)
        of_bias = sums.double().sum(0)
        of_weight = products.double().sum(0) * inverse
        count = sizes[0] * sizes[1]
        by_dy = weight.double() * inverse
        by_x = -by_dy * inverse * of_weight / count
        constant = -by_dy * of_bias / count - by_x * mean
        dx = torch.empty_like(x)
        factors = [factor.to(kind) for factor in (by_dy, by_x, constant)]
        run("back_affine", x.dtype, *sizes, int(relu), dy, x, scale, shift, *factors, dx)
        of_skipped = dy if ctx.adds else None
        return dx, of_weight.to(weight.dtype), of_bias.to(weight.dtype), of_skipped, None, None


class _AddedReLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, skipped: Tensor) -> Tensor:
        y = torch.empty_like(x)
        kind = accumulated(x.dtype)
        one, zero = torch.ones(x.shape[1], dtype=kind), torch.zeros(x.shape[1], dtype=kind)
        run("affine", x.dtype, *_sizes(x), 1, x, one, zero, skipped, y)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> Any:
        (y,) = ctx.saved_tensors
        dx = _masked(dy.to(y.dtype).contiguous(memory_format=torch.channels_last), y)
        return dx, dx


def _masked(dy: Tensor, y: Tensor) -> Tensor:
    dx = torch.empty_like(y)
    run("back_relu", y.dtype, *_sizes(y), dy, y, dx)
    return dx
