"""Batch normalisation with the addition and ReLU after it: on a CPU in few passes, else PyTorch's own."""

from typing import Any, TypeGuard

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from cbam_ablate.models.cpu import accumulated, run, suits


def normalise(norm: nn.Module, x: Tensor, *, relu: bool = True, skipped: Tensor | None = None) -> Tensor:
    """`relu(norm(x) + skipped)`: x and `skipped` (N, C, H, W), the same shape out.

    A batch norm in training mode keeps its running statistics as `nn.BatchNorm2d` does.
    """
    if not has_passes(norm, x, skipped):
        y = norm(x) if skipped is None else norm(x) + skipped
        return F.relu(y, inplace=True) if relu else y
    if norm.training:
        y, mean, variance = _Normalised.apply(x, norm.weight, norm.bias, skipped, norm.eps, relu)
        keep(norm, mean, variance, x.numel() // x.shape[1])
        return y
    y = torch.empty_like(x)
    run("affine", x.dtype, *_sizes(x), int(relu), x, *running(norm, accumulated(x.dtype)), skipped, y)
    return y


def add_relu(x: Tensor, skipped: Tensor) -> Tensor:
    """`relu(x + skipped)`, all (N, C, H, W)."""
    if suits(x) and suits(skipped) and x.dtype == skipped.dtype and x.shape == skipped.shape:
        y: Tensor = _AddedReLU.apply(x, skipped)
        return y
    return F.relu(x + skipped, inplace=True)


def has_passes(norm: nn.Module, x: Tensor, skipped: Tensor | None) -> TypeGuard[nn.BatchNorm2d]:
    """Whether these can go through the passes for a CPU."""
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
def keep(norm: nn.BatchNorm2d, mean: Tensor, variance: Tensor, count: int) -> None:
    """Moves the running statistics towards those of a batch of `count` pixels, (C,) each."""
    norm.get_buffer("num_batches_tracked").add_(1)
    for name, value in (("running_mean", mean), ("running_var", variance * (count / (count - 1)))):
        kept = norm.get_buffer(name)
        kept.lerp_(value.to(kept.dtype), norm.momentum or 0.0)


def running(norm: nn.BatchNorm2d, kind: torch.dtype) -> tuple[Tensor, Tensor]:
    """Scale and shift (C,) of a norm that is not in training."""
    mean, variance = norm.get_buffer("running_mean"), norm.get_buffer("running_var")
    return affine(norm.weight, norm.bias, mean.to(kind), (variance.to(kind) + norm.eps).rsqrt(), kind)


def affine(
    weight: Tensor, bias: Tensor, mean: Tensor, inverse: Tensor, kind: torch.dtype
) -> tuple[Tensor, Tensor]:
    """`weight (x - mean) inverse + bias` as scale and shift, (C,) each."""
    scale = weight.to(inverse.dtype) * inverse
    return scale.to(kind), (bias.to(inverse.dtype) - mean * scale).to(kind)


def moments(
    x: Tensor, sign: Tensor | None = None, extreme: Tensor | None = None, peak: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Mean and variance by image and channel of x, (N, C) each, in float64.

    Given a sign (C,), also fills `extreme` and `peak` (N, C): the x whose product with it is the highest, and
    at which pixel.
    """
    images, pixels, channels = _sizes(x)
    sums, squares = x.new_empty(2, images, channels, dtype=accumulated(x.dtype))
    run("moments", x.dtype, images, pixels, channels, x, sign, sums, squares, extreme, peak)
    sums, squares = sums.double() / pixels, squares.double() / pixels
    return x[:, :, 0, 0].double() + sums, squares - sums.square()


def over_images(means: Tensor, variances: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance of a batch, (C,) each, from those by image."""
    mean = means.mean(0)
    return mean, (variances + (means - mean).square()).mean(0)


def through_statistics(
    scale: Tensor, inverse: Tensor, mean: Tensor, of_weight: Tensor, of_bias: Tensor, count: int
) -> tuple[Tensor, Tensor]:
    """What the batch's mean and variance add to the gradient of x: a factor of x, a constant, (C,) each."""
    by_x = -scale * inverse * of_weight / count
    return by_x, -scale * of_bias / count - by_x * mean


def _sizes(x: Tensor) -> tuple[int, int, int]:
    return x.shape[0], x.shape[2] * x.shape[3], x.shape[1]


class _Normalised(torch.autograd.Function):
    """Gives y and the batch's mean and variance (C,), in float64."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, skipped: Tensor | None, eps: float, relu: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        mean, variance = over_images(*moments(x))
        inverse = (variance + eps).rsqrt()
        scale, shift = affine(weight, bias, mean, inverse, accumulated(x.dtype))
        y = torch.empty_like(x)
        run("affine", x.dtype, *_sizes(x), int(relu), x, scale, shift, skipped, y)
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
        sums, products = x.new_empty(2, sizes[0], sizes[2], dtype=kind)
        kept = None if y is None else torch.empty_like(x)
        found = (mean.to(kind), y, kept, sums, products)
        run("back_moments", x.dtype, *sizes, int(ctx.relu), dy, x, scale, shift, *found)
        relu, dy = (ctx.relu, dy) if kept is None else (False, kept)
        of_bias = sums.double().sum(0)
        of_weight = products.double().sum(0) * inverse
        by_dy = weight.double() * inverse
        by_x, constant = through_statistics(by_dy, inverse, mean, of_weight, of_bias, sizes[0] * sizes[1])
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
        dx, dy = torch.empty_like(y), dy.to(y.dtype).contiguous(memory_format=torch.channels_last)
        run("back_relu", y.dtype, len(y), y[0].numel(), dy, y, dx)
        return dx, dx
