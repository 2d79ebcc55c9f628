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
    gate g (N, C, 1, 1), `spatial` maximum and mean (N, 2, H, W) of g y to s (N, 1, H, W); `parameters` are
    what both learn.
    """
    learning = torch.is_grad_enabled()
    arguments = (skipped, learning, channel, spatial)
    if norm is None:
        z, *_ = _Gated.apply(x, None, None, None, *arguments, *parameters)
    elif norm.training:
        z, mean, variance = _Gated.apply(x, norm.weight, norm.bias, norm.eps, *arguments, *parameters)
        norms.keep(norm, mean, variance, x.numel() // x.shape[1])
    else:
        affine = norms.running(norm, accumulated(x.dtype))
        z, *_ = _Gated.apply(x, *affine, None, *arguments, *parameters)
    return z


class _Gated(torch.autograd.Function):
    """Given eps: with the batch's statistics, also returned, (C,) in float64; else with scale and shift."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        eps: float | None,
        skipped: Tensor | None,
        learning: bool,
        channel: Callable[[Tensor, Tensor], Tensor],
        spatial: Callable[[Tensor], Tensor],
        *parameters: Tensor,
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        count, channels, height, width = x.shape
        pixels, kind, places = height * width, accumulated(x.dtype), counted(x.dtype)
        if weight is None or bias is None:
            weight, bias = x.new_ones(channels, dtype=kind), x.new_zeros(channels, dtype=kind)
        extreme = x.new_empty(count, channels, dtype=kind)
        peak = torch.empty(count, channels, dtype=places)
        means, variances = norms.moments(x, weight.sign().to(kind), extreme, peak)
        mean = variance = inverse = None
        scale, shift = weight.to(kind), bias.to(kind)
        if eps is not None:
            mean, variance = norms.over_images(means, variances)
            inverse = (variance + eps).rsqrt()
            scale, shift = norms.affine(weight, bias, mean, inverse, kind)
        with torch.set_grad_enabled(learning), _in_full():
            average = (means.to(kind) * scale + shift).requires_grad_(learning)
            maximum = (extreme * scale + shift).requires_grad_(learning)
            gate = channel(average, maximum)
            g = gate.detach().reshape(count, channels).to(kind)
        a, b = g * scale, g * shift
        described = x.new_empty(count, 2, height, width, dtype=kind)
        where = torch.empty(count, pixels, dtype=places)
        run("describe", x.dtype, count, pixels, channels, x, a, b, described, where)
        with torch.set_grad_enabled(learning), _in_full():
            described.requires_grad_(learning)
            opened = spatial(described)
            s = opened.detach().reshape(count, pixels).to(kind).contiguous()
        z = torch.empty_like(x)
        run("apply", x.dtype, count, pixels, channels, x, a, b, s, skipped, z)
        if learning:
            result = None if skipped is None else z
            ctx.save_for_backward(x, result, g, a, b, s, peak, where, means, extreme, weight, bias)
            ctx.statistics = mean, inverse
            ctx.graphs = gate, (average, maximum), opened, described, parameters
        if eps is not None:
            ctx.mark_non_differentiable(mean, variance)
        return z, mean, variance

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dz: Tensor, *_: Tensor) -> Any:
        x, z, g, a, b, s, peak, where, means, extreme, weight, bias = ctx.saved_tensors
        gate, pooled, opened, described, parameters = ctx.graphs
        mean, inverse = ctx.statistics
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
        middle = torch.zeros_like(weight, dtype=kind) if mean is None else mean.to(kind)
        of_dy, of_centred = torch.empty_like(g), torch.empty_like(g)
        run("back_channel", x.dtype, *sizes, dz, x, middle, s, back, where, of_dy, of_centred)
        scale = weight if inverse is None else weight * inverse
        dg = (of_centred * scale + of_dy * bias).to(kind)
        of_average, of_maximum, *of_channel = _pulled(gate, [*pooled, *learnt], dg)
        of_each, of_maximum = of_average.to(kind) / sizes[1], of_maximum.to(kind)

        of_weight = of_bias = None
        by_x, constant = torch.zeros_like(middle), torch.zeros_like(middle)
        if inverse is not None:
            given = (g * of_dy + of_maximum).double() + sizes[1] * of_each
            centred = (g * of_centred + of_maximum * (extreme - middle)).double()
            of_bias = given.sum(0)
            of_weight = (centred + sizes[1] * of_each * (means - mean)).sum(0) * inverse
            found = (of_weight, of_bias, count * sizes[1])
            by_x, constant = norms.through_statistics(scale, inverse, mean, *found)
        scale, by_x, constant = scale.to(kind), by_x.to(kind), constant.to(kind)
        dx = torch.empty_like(x)
        factors = (g * scale, by_x, of_each * scale + constant, of_maximum * scale)
        run("back_input", x.dtype, *sizes, dz, x, s, back, where, *factors, peak, dx)

        summed = iter([_sum(pair) for pair in zip(of_spatial, of_channel, strict=True)])
        of_parameters = (next(summed) if parameter.requires_grad else None for parameter in parameters)
        if of_weight is not None and of_bias is not None:
            of_weight, of_bias = of_weight.to(weight.dtype), of_bias.to(weight.dtype)
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


def _in_full() -> torch.autocast:
    """The gates are so small that casting them to bf16 takes longer than what it saves."""
    return torch.autocast("cpu", enabled=False)


def _pulled(output: Tensor, inputs: list[Tensor], gradient: Tensor) -> tuple[Tensor, ...]:
    """The gradients of the inputs, None where one plays no part."""
    gradient = gradient.reshape(output.shape).to(output.dtype)
    return torch.autograd.grad(output, inputs, gradient, allow_unused=True, retain_graph=True)


def _sum(pair: tuple[Tensor | None, Tensor | None]) -> Tensor | None:
    first, second = pair
    if first is None or second is None:
        return second if first is None else first
    return first + second
