"""CBAM on a CPU in ten passes over the feature map, forward and backward, where eager PyTorch makes 36."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from cbam_ablate.models.cpu import accumulated, run


class Gated(torch.autograd.Function):
    """`z = s g x`: x (N, C, H, W) with the channel gate, then the spatial gate, given as functions.

    `channel` maps average and maximum (N, C) to g (N, C, 1, 1), `spatial` maximum and mean (N, 2, H, W) of
    g x to s (N, 1, H, W); `parameters` are what both learn. These two are small and, where the network is
    `learning`, keep a graph of their own.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        learning: bool,
        channel: Callable[[Tensor, Tensor], Tensor],
        spatial: Callable[[Tensor], Tensor],
        *parameters: Tensor,
    ) -> Tensor:
        count, channels, height, width = x.shape
        pixels, kind = height * width, accumulated(x.dtype)
        total, maximum = x.new_empty(2, count, channels, dtype=kind)
        peak = torch.empty(count, channels, dtype=torch.int32)
        run("pool", x.dtype, count, pixels, channels, x, total, maximum, peak)
        with torch.set_grad_enabled(learning):
            average = (total / pixels).requires_grad_(learning)
            maximum.requires_grad_(learning)
            gate = channel(average, maximum)
            g = gate.detach().reshape(count, channels).to(kind).contiguous()
        described = x.new_empty(count, 2, height, width, dtype=kind)
        where = torch.empty(count, pixels, dtype=torch.int32)
        run("describe", x.dtype, count, pixels, channels, x, g, described, where)
        with torch.set_grad_enabled(learning):
            described.requires_grad_(learning)
            scale = spatial(described)
            s = scale.detach().reshape(count, pixels).to(kind).contiguous()
        z = torch.empty_like(x)
        run("apply", x.dtype, count, pixels, channels, x, g, s, z)
        if learning:
            ctx.save_for_backward(x, g, s, peak, where)
            ctx.graphs = gate, (average, maximum), scale, described, parameters
        return z

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dz: Tensor) -> Any:
        x, g, s, peak, where = ctx.saved_tensors
        gate, pooled, scale, described, parameters = ctx.graphs
        count, channels, height, width = x.shape
        sizes, kind = (height * width, channels), g.dtype
        dz = dz.to(x.dtype).contiguous(memory_format=torch.channels_last)
        learnt = [parameter for parameter in parameters if parameter.requires_grad]

        ds = torch.empty_like(s)
        run("back_spatial", x.dtype, count, *sizes, dz, x, g, ds)
        back, *of_spatial = _pulled(scale, [described, *learnt], ds)
        back = back.to(kind).contiguous()
        dg = torch.empty_like(g)
        run("back_channel", x.dtype, count, *sizes, dz, x, s, back, where, dg)
        of_sum, of_max, *of_channel = _pulled(gate, [*pooled, *learnt], dg)
        of_sum = (of_sum / sizes[0]).to(kind).contiguous()
        dx = torch.empty_like(x)
        of_max = of_max.to(kind).contiguous()
        run("back_input", x.dtype, count, *sizes, dz, g, s, back, where, of_sum, of_max, peak, dx)

        found = iter([_sum(pair) for pair in zip(of_spatial, of_channel, strict=True)])
        return dx, None, None, None, *(next(found) if p.requires_grad else None for p in parameters)


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
        by_image = x.new_empty(count, *weight.shape[1:])
        dout, sizes = dout.to(x.dtype).contiguous(), (inputs, height, width, weight.shape[-1])
        run("back_conv", x.dtype, count, *sizes, x, weight, dout, dx, by_image)
        return dx, by_image.sum(0, keepdim=True)


def _pulled(output: Tensor, inputs: list[Tensor], gradient: Tensor) -> tuple[Tensor, ...]:
    """The gradients of the inputs, None where one plays no part."""
    gradient = gradient.reshape(output.shape).to(output.dtype)
    return torch.autograd.grad(output, inputs, gradient, allow_unused=True, retain_graph=True)


def _sum(pair: tuple[Tensor | None, Tensor | None]) -> Tensor | None:
    first, second = pair
    if first is None or second is None:
        return second if first is None else first
    return first + second
