"""CBAM on a CPU, with batch norm before it and addition and ReLU after it, in few passes over the map.

Forward and backward are six passes for all of it; eager PyTorch makes 36 for CBAM alone.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from cbam_ablate.models import norm as norms
from cbam_ablate.models.cpu import accumulated, counted, run


def gated(
    x: Tensor,
    channel: Callable[[Tensor, Tensor], Tensor],
    spatial: Callable[[Tensor], Tensor],
    parameters: list[nn.Parameter],
    norm: nn.BatchNorm2d | None = None,
    skipped: Tensor | None = None,
) -> Tensor:
    """`s g y` with y = norm(x), or x where there is none; `relu(s g y + skipped)` where there is a shortcut.

    x and `skipped` (N, C, H, W), the same shape out. `channel` maps average and maximum (N, C) of y to the
    gate g (N, C), `spatial` maximum and mean (N, 2, H, W) of g y to s (N, 1, H, W); `parameters` are
    what both learn.
    """
    learning = torch.is_grad_enabled()
    if norm is None:
        weight = bias = None
    else:
        weight, bias = norm.weight, norm.bias
    z: Tensor = _Gated.apply(x, weight, bias, norm, skipped, learning, channel, spatial, *parameters)
    if norm is not None and norm.training:
        norm.get_buffer("num_batches_tracked").add_(1)
    return z


class _Gated(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        norm: nn.BatchNorm2d | None,
        skipped: Tensor | None,
        learning: bool,
        channel: Callable[[Tensor, Tensor], Tensor],
        spatial: Callable[[Tensor], Tensor],
        *parameters: Tensor,
    ) -> Tensor:
        count, channels, height, width = x.shape
        pixels, kind, places = height * width, accumulated(x.dtype), counted(x.dtype)
        sizes = (count, pixels, channels)
        if norm is not None and norm.training:
            given, statistics, affine = norms.batch_statistics(norm, x)
        else:
            affine = norms.unchanged(x) if norm is None else norms.running(norm)
            given, statistics = (0.0, 0.0, x, affine[0], affine[1], None, None), None
        means = x.new_empty(count, channels, dtype=torch.float64)
        extreme, average, maximum = (x.new_empty(count, channels, dtype=kind) for _ in range(3))
        peak = torch.empty(count, channels, dtype=places)
        run("pool", x.dtype, *sizes, *given, statistics, affine, means, extreme, peak, average, maximum)
        with torch.set_grad_enabled(learning):
            pooled = average.requires_grad_(learning), maximum.requires_grad_(learning)
            gate = channel(*pooled)
            g = gate.detach().reshape(count, channels).to(kind).contiguous()
        a, b = g * affine[0], g * affine[1]
        described = x.new_empty(count, 2, height, width, dtype=kind)
        where = torch.empty(count, pixels, dtype=places)
        run("describe", x.dtype, *sizes, x, a, b, described, where)
        with torch.set_grad_enabled(learning):
            described.requires_grad_(learning)
            opened = spatial(described)
            s = opened.detach().reshape(count, pixels).to(kind).contiguous()
        z = torch.empty_like(x)
        run("apply", x.dtype, *sizes, x, a, b, s, skipped, z)
        if learning:
            result = None if skipped is None else z
            scale = affine[0] if statistics is None or weight is None else weight
            ctx.save_for_backward(x, result, g, a, b, s, peak, where, means, extreme, scale, bias)
            ctx.statistics, ctx.affine = statistics, affine
            ctx.graphs = gate, pooled, opened, described, parameters
        return z

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dz: Tensor) -> Any:
        x, z, g, a, b, s, peak, where, means, extreme, weight, bias = ctx.saved_tensors
        gate, pooled, opened, described, parameters = ctx.graphs
        statistics, affine = ctx.statistics, ctx.affine
        count, channels, height, width = x.shape
        sizes, kind = (count, height * width, channels), g.dtype
        dz = dz.to(x.dtype).contiguous(memory_format=torch.channels_last)
        learnt = [parameter for parameter in parameters if parameter.requires_grad]

        ds = torch.empty_like(s)
        kept = None if z is None else torch.empty_like(x)
        run("back_spatial", x.dtype, *sizes, dz, x, a, b, z, kept, ds)
        dz = dz if kept is None else kept
        back, *of_spatial = _pulled(opened, [described, *learnt], ds)
        back = back.to(kind).contiguous()
        back[:, 1] /= channels

        # dy is the gradient of g y; what is centred is (x - mean).
        of_dy, of_centred, dg = (torch.empty_like(g) for _ in range(3))
        found = (of_dy, of_centred, dg)
        run("back_channel", x.dtype, *sizes, dz, x, statistics, weight, bias, affine, s, back, where, *found)
        of_average, of_maximum, *of_channel = _pulled(gate, [*pooled, *learnt], dg)
        of_pooled = of_average.to(kind).contiguous(), of_maximum.to(kind).contiguous()
        of_norm, dx = torch.empty_like(affine), torch.empty_like(x)
        given = (weight, statistics, g, of_dy, of_centred, *of_pooled, means, extreme, peak)
        run("back_input", x.dtype, *sizes, dz, x, s, back, where, *given, of_norm, dx)

        summed = iter([_sum(pair) for pair in zip(of_spatial, of_channel, strict=True)])
        of_parameters = (next(summed) if parameter.requires_grad else None for parameter in parameters)
        of_weight, of_bias = (None, None) if statistics is None else (of_norm[0], of_norm[1])
        return dx, of_weight, of_bias, None, kept, None, None, None, *of_parameters


class ThinConvolution(torch.autograd.Function):
    """A size-keeping convolution to one channel: x (N, I, H, W), weight (1, I, K, K), gives (N, 1, H, W)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        count, inputs, height, width = x.shape
        x = x.contiguous()
        weight = weight.detach().to(x.dtype).contiguous()
        out = x.new_empty(count, 1, height, width)
        run("conv", x.dtype, count, inputs, height, width, weight.shape[-1], x, weight, out)
        ctx.save_for_backward(x, weight)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dout: Tensor) -> Any:
        x, weight = ctx.saved_tensors
        count, inputs, height, width = x.shape
        dx = torch.empty_like(x)
        by_group = x.new_empty(-(-count // 8), *weight.shape[1:])
        dout, sizes = dout.to(x.dtype).contiguous(), (inputs, height, width, weight.shape[-1])
        run("back_conv", x.dtype, count, *sizes, x, weight, dout, dx, by_group)
        return dx, by_group.sum(0, keepdim=True)


class ChannelGate(torch.autograd.Function):
    """`sigmoid(sum over pools of second(relu(first(pool))))`: pools (N, C), weights (H, C) and (C, H)."""

    @staticmethod
    def forward(
        ctx: Any,
        average: Tensor,
        maximum: Tensor,
        first: Tensor,
        first_bias: Tensor | None,
        second: Tensor,
        second_bias: Tensor | None,
    ) -> Tensor:
        first, second = first.contiguous(), second.contiguous()
        sizes = (*average.shape, len(first))
        hidden, gate = average.new_empty(len(average), 2, len(first)), torch.empty_like(average)
        layers = (first, first_bias, second, second_bias)
        run("layers", average.dtype, *sizes, average, maximum, *layers, hidden, gate)
        gate.sigmoid_()
        ctx.save_for_backward(average, maximum, first, second, hidden, gate)
        ctx.biased = first_bias is not None, second_bias is not None
        return gate

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dg: Tensor) -> Any:
        average, maximum, first, second, hidden, gate = ctx.saved_tensors
        sizes = (*average.shape, len(first))
        of_pools = torch.empty_like(average), torch.empty_like(average)
        of_first, of_second = torch.zeros_like(first), torch.zeros_like(second)
        of_first_bias, of_second_bias = first.new_zeros(len(first)), second.new_zeros(len(second))
        given = (dg.contiguous(), gate, hidden, average, maximum, first, second, *of_pools)
        learnt = (of_first, of_first_bias, of_second, of_second_bias)
        run("back_layers", average.dtype, *sizes, *given, *learnt)
        first_has, second_has = ctx.biased
        biases = of_first_bias if first_has else None, of_second_bias if second_has else None
        return *of_pools, of_first, biases[0], of_second, biases[1]


class SpatialNorm(torch.autograd.Function):
    """`sigmoid(norm(x))` in training: x (N, 1, H, W), the same shape out."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, norm: nn.BatchNorm2d) -> Tensor:
        x = x.contiguous()
        given, statistics, affine = norms.batch_statistics(norm, x)
        gate = torch.empty_like(x)
        run("normalise_plane", x.dtype, len(x), x[0].numel(), *given, statistics, affine, gate)
        gate.sigmoid_()
        ctx.save_for_backward(x, gate, weight, statistics)
        return gate

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, ds: Tensor) -> Any:
        x, gate, weight, statistics = ctx.saved_tensors
        dx, learnt = torch.empty_like(x), x.new_empty(2)
        given = (ds.contiguous(), gate, x, weight, statistics)
        run("back_plane", x.dtype, len(x), x[0].numel(), *given, learnt, dx)
        return dx, learnt[:1], learnt[1:], None


def _pulled(output: Tensor, inputs: list[Tensor], gradient: Tensor) -> tuple[Tensor, ...]:
    """The gradients of the inputs, None where one plays no part."""
    gradient = gradient.reshape(output.shape).to(output.dtype)
    return torch.autograd.grad(output, inputs, gradient, allow_unused=True, retain_graph=True)


def _sum(pair: tuple[Tensor | None, Tensor | None]) -> Tensor | None:
    first, second = pair
    if first is None or second is None:
        return second if first is None else first
    return first + second
