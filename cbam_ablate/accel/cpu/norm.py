"""Operators of batch norm with the addition and ReLU after it, in few passes over a map (N, C, H, W)."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from cbam_ablate.accel.cpu.library import accumulated, call
from cbam_ablate.accel.cpu.operators import below_autograd, define, expect, expect_maps, nothing, sizes


def _batch_norm(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    running_mean: Tensor,
    running_var: Tensor,
    skipped: Tensor | None,
    relu: bool,
    eps: float,
    momentum: float,
) -> tuple[Tensor, ...]:
    kind, channels = accumulated(x.dtype), x.shape[1:2]
    expect_maps("batch_norm", x, skipped=skipped)
    vectors = {"weight": weight, "bias": bias, "running_mean": running_mean, "running_var": running_var}
    expect("batch_norm", kind, channels, **vectors)
    mean, variance = running_mean.clone(), running_var.clone()
    statistics, affine = statistics_for(x)
    y = torch.empty_like(x)
    given = (eps, momentum, x, weight, bias, mean, variance, skipped, statistics, affine, y)
    call("normalise", x.dtype, *sizes(x), int(relu), *given)
    return y, statistics, affine, mean, variance


def statistics_for(x: Tensor) -> tuple[Tensor, Tensor]:
    """Where a norm puts mean and 1 / deviation, and scale and shift: (2, C) both."""
    channels = x.shape[1]
    return (
        x.new_empty(2, channels, dtype=torch.float64),
        x.new_empty(2, channels, dtype=accumulated(x.dtype)),
    )


def _batch_norm_shapes(x: Tensor, weight: Tensor, *_: Any) -> tuple[Tensor, ...]:
    return torch.empty_like(x), *statistics_for(x), torch.empty_like(weight), torch.empty_like(weight)


def _batch_norm_backward(
    dy: Tensor,
    x: Tensor,
    y: Tensor | None,
    weight: Tensor,
    statistics: Tensor,
    affine: Tensor,
    relu: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    kind, channels = accumulated(x.dtype), x.shape[1]
    expect_maps("batch_norm_backward", x, dy=dy, y=y)
    expect("batch_norm_backward", kind, (channels,), weight=weight)
    expect("batch_norm_backward", kind, (2, channels), affine=affine)
    expect("batch_norm_backward", torch.float64, (2, channels), statistics=statistics)
    kept = None if y is None else torch.empty_like(x)
    learnt, dx = torch.empty_like(affine), torch.empty_like(x)
    given = (dy, x, y, weight, statistics, affine, kept, learnt, dx)
    call("back_normalise", x.dtype, *sizes(x), int(relu), *given)
    return dx, learnt, nothing(x) if kept is None else kept


def _batch_norm_backward_shapes(
    dy: Tensor, x: Tensor, y: Tensor | None, weight: Tensor, statistics: Tensor, affine: Tensor, relu: bool
) -> tuple[Tensor, Tensor, Tensor]:
    kept = nothing(x) if y is None else torch.empty_like(x)
    return torch.empty_like(x), torch.empty_like(affine), kept


class BatchNorm(torch.autograd.Function):
    """The operator `batch_norm` with its gradient. Takes and gives what that does."""

    @staticmethod
    def forward(ctx: Any, *given: Any) -> tuple[Tensor, ...]:
        with below_autograd():
            y, statistics, affine, mean, variance = batch_norm(*given)
        x, weight, _, _, _, skipped, relu, *_ = given
        ctx.mark_non_differentiable(statistics, affine, mean, variance)
        ctx.set_materialize_grads(False)
        result = y if relu and skipped is not None else None
        ctx.save_for_backward(x, result, weight, statistics, affine)
        ctx.relu, ctx.adds = relu, skipped is not None
        return y, statistics, affine, mean, variance

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor, *_: None) -> Any:
        x, y, weight, statistics, affine = ctx.saved_tensors
        dy = dy.to(x.dtype).contiguous(memory_format=torch.channels_last)
        with below_autograd():
            dx, learnt, kept = batch_norm_backward(dy, x, y, weight, statistics, affine, ctx.relu)
        of_skipped = (dy if y is None else kept) if ctx.adds else None
        return dx, learnt[0], learnt[1], None, None, of_skipped, None, None, None


def _scale_shift(x: Tensor, affine: Tensor, skipped: Tensor | None, relu: bool) -> Tensor:
    expect_maps("scale_shift", x, skipped=skipped)
    expect("scale_shift", accumulated(x.dtype), (2, x.shape[1]), affine=affine)
    y = torch.empty_like(x)
    call("affine", x.dtype, *sizes(x), int(relu), x, affine, skipped, y)
    return y


def _add_relu(x: Tensor, skipped: Tensor) -> Tensor:
    return _scale_shift(x, unchanged(x), skipped, True)


def unchanged(x: Tensor) -> Tensor:
    """Scale and shift (2, C) that leave x as it is."""
    affine = x.new_zeros(2, x.shape[1], dtype=accumulated(x.dtype))
    affine[0] = 1
    return affine


def _add_relu_backward(dy: Tensor, y: Tensor) -> Tensor:
    expect_maps("add_relu_backward", y, dy=dy)
    dx = torch.empty_like(y)
    call("back_relu", y.dtype, len(y), y[0].numel(), dy, y, dx)
    return dx


class AddReLU(torch.autograd.Function):
    """The operator `add_relu` with its gradient: `relu(x + skipped)`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, skipped: Tensor) -> Tensor:
        with below_autograd():
            y: Tensor = add_relu(x, skipped)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> Any:
        (y,) = ctx.saved_tensors
        with below_autograd():
            dx = add_relu_backward(dy.to(y.dtype).contiguous(memory_format=torch.channels_last), y)
        return dx, dx


def _add(x: Tensor, y: Tensor) -> Tensor:
    expect_maps("add", x, y=y)
    z = torch.empty_like(x)
    call("add", x.dtype, len(x), x[0].numel(), x, y, z)
    return z


class Fork(torch.autograd.Function):
    """x twice, so that its two gradients are added by the operator `add`: autograd is slower."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> tuple[Tensor, Tensor]:
        return x.view_as(x), x.view_as(x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, first: Tensor, second: Tensor) -> Tensor:
        alike = first.dtype == second.dtype and first.is_cpu and second.is_cpu
        layouts = (each.is_contiguous(memory_format=torch.channels_last) for each in (first, second))
        if not alike or not all(layouts):
            return first + second
        with below_autograd():
            dx: Tensor = add(first, second)
        return dx


batch_norm_backward = define(
    "batch_norm_backward(Tensor dy, Tensor x, Tensor? y, Tensor weight, Tensor statistics, Tensor affine, "
    "bool relu) -> (Tensor dx, Tensor learnt, Tensor kept)",
    _batch_norm_backward,
    _batch_norm_backward_shapes,
)
batch_norm = define(
    "batch_norm(Tensor x, Tensor weight, Tensor bias, Tensor running_mean, Tensor running_var, "
    "Tensor? skipped, bool relu, float eps, float momentum) "
    "-> (Tensor y, Tensor statistics, Tensor affine, Tensor mean, Tensor var)",
    _batch_norm,
    _batch_norm_shapes,
    BatchNorm.apply,
)
scale_shift = define(
    "scale_shift(Tensor x, Tensor affine, Tensor? skipped, bool relu) -> Tensor",
    _scale_shift,
    lambda x, *_: torch.empty_like(x),
)
add_relu_backward = define(
    "add_relu_backward(Tensor dy, Tensor y) -> Tensor", _add_relu_backward, lambda dy, y: torch.empty_like(y)
)
add_relu = define(
    "add_relu(Tensor x, Tensor skipped) -> Tensor",
    _add_relu,
    lambda x, _: torch.empty_like(x),
    AddReLU.apply,
)
add = define("add(Tensor x, Tensor y) -> Tensor", _add, lambda x, _: torch.empty_like(x))
