"""The operator of CBAM, with the batch norm before it and the addition and ReLU after it.

`y = norm(x)`, g (N, C) from average and maximum of y over the pixels, s (N, 1, H, W) from maximum and mean
of g y over the channels, `z = s g y` or `relu(s g y + skipped)`. Forward and backward are six passes over the
map; eager PyTorch makes 36 for CBAM alone. It is one operator because the gradients of its parts share them.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from cbam_ablate.accel.cpu.gates import (
    OF_LAYERS,
    OF_NORM,
    GateLayers,
    Kept,
    Norm,
    kept_forms,
    parts,
    room,
    running_affine,
)
from cbam_ablate.accel.cpu.library import accumulated, call
from cbam_ablate.accel.cpu.operators import below_autograd, define, expect, expect_maps, nothing, sizes


def _cbam(x: Tensor, skipped: Tensor | None, *given: Any) -> tuple[Tensor, list[Tensor]]:
    norm, layers, gate_norm = parts(given)
    _check(x, skipped, norm, layers, gate_norm)
    kept, dims = room(x, layers, norm, gate_norm), sizes(x)
    _pool(x, norm, kept)
    call(
        "layers", kept.g.dtype, *kept.g.shape, len(layers.first), kept.average, kept.maximum,
        layers.first, layers.first_bias, layers.second, layers.second_bias, kept.hidden, kept.g,
    )  # fmt: skip
    kept.g.sigmoid_()
    torch.mul(kept.g, kept.affine[0], out=kept.a)
    torch.mul(kept.g, kept.affine[1], out=kept.b)
    call("describe", x.dtype, *dims, x, kept.a, kept.b, kept.described, kept.where)
    _spatial_gate(layers, gate_norm, kept)
    z = torch.empty_like(x)
    call("apply", x.dtype, *dims, x, kept.a, kept.b, kept.s, skipped, z)
    return z, list(kept)


def _pool(x: Tensor, norm: Norm, kept: Kept) -> None:
    """Average and maximum of `norm(x)`."""
    found = (kept.affine, kept.means, kept.extreme, kept.peak, kept.average, kept.maximum)
    if norm.training:
        learnt = (norm.weight, norm.bias, kept.new_mean, kept.new_var, kept.statistics)
        call("pool", x.dtype, *sizes(x), norm.eps, norm.momentum, x, *learnt, *found)
    else:
        kept.affine.copy_(running_affine(x, norm))
        fixed = (kept.affine[0], kept.affine[1], None, None, None)
        call("pool", x.dtype, *sizes(x), 0.0, 0.0, x, *fixed, *found)


def _spatial_gate(layers: GateLayers, norm: Norm, kept: Kept) -> None:
    """`sigmoid(norm(conv(described)))` into s."""
    kernel, kind = layers.kernel.contiguous(), kept.s.dtype
    logits = kept.logits if norm.training else kept.s
    call("conv", kind, *kept.described.shape, kernel.shape[-1], kept.described, kernel, logits)
    if layers.kernel_bias is not None:
        logits += layers.kernel_bias
    if norm.training:
        affine = logits.new_empty(2, 1)
        given = (
            norm.eps,
            norm.momentum,
            logits,
            norm.weight,
            norm.bias,
            kept.new_gate_mean,
            kept.new_gate_var,
        )
        sums = (kept.gate_statistics, affine, kept.s)
        call("normalise_plane", kind, len(logits), logits[0].numel(), *given, *sums)
    elif norm.mean is not None:
        kept.s.copy_(F.batch_norm(kept.s, norm.mean, norm.var, norm.weight, norm.bias, False, 0.0, norm.eps))
    kept.s.sigmoid_()


def _check(x: Tensor, skipped: Tensor | None, norm: Norm, layers: GateLayers, gate_norm: Norm) -> None:
    kind, channels, hidden = accumulated(x.dtype), x.shape[1:2], layers.first.shape[:1]
    expect_maps("cbam", x, skipped=skipped)
    for of, each, length in (("", norm, channels), ("gate_", gate_norm, (1,))):
        tensors = {f"{of}{name}": value for name, value in each._asdict().items() if name in Norm._fields[:4]}
        expect("cbam", kind, length, **tensors)
        if each.training and None in tensors.values():
            raise ValueError(f"cbam: {of}training is for a norm; {', '.join(tensors)} must be given")
    expect("cbam", kind, (*hidden, *channels), first=layers.first)
    expect("cbam", kind, (*channels, *hidden), second=layers.second)
    expect("cbam", kind, hidden, first_bias=layers.first_bias)
    expect("cbam", kind, channels, second_bias=layers.second_bias)
    expect("cbam", kind, (1,), kernel_bias=layers.kernel_bias)
    side = layers.kernel.shape[-1]
    if not side % 2:
        raise ValueError(f"cbam: the side of kernel is {side}; it must be odd")
    expect("cbam", kind, (1, 2, side, side), kernel=layers.kernel.contiguous())


def _shapes(x: Tensor, skipped: Tensor | None, *given: Any) -> tuple[Tensor, list[Tensor]]:
    norm, layers, gate_norm = parts(given)
    return torch.empty_like(x), list(room(x, layers, norm, gate_norm))


class Back(NamedTuple):
    """What the gradient's operator is given: z where a shortcut was added, and the fields of `Kept`.

    What a norm learns is None where that isn't in training.
    """

    dz: Tensor
    z: Tensor | None
    x: Tensor
    weight: Tensor | None
    bias: Tensor | None
    first: Tensor
    second: Tensor
    kernel: Tensor
    gate_weight: Tensor | None
    tensors: list[Tensor]


def _backward(*given: Any) -> tuple[Tensor, ...]:
    dz, z, x, weight, bias, first, second, kernel, gate_weight, tensors = asked = Back(*given)
    kept, dims, kind = Kept(*tensors), sizes(x), accumulated(x.dtype)
    _check_backward(asked, kept)
    g, s, a, b, where, channels = kept.g, kept.s, kept.a, kept.b, kept.where, x.shape[1]
    ds = torch.empty_like(s)
    of_skipped = None if z is None else torch.empty_like(x)
    call("back_spatial", x.dtype, *dims, dz, x, a, b, z, of_skipped, ds)
    dz = dz if of_skipped is None else of_skipped
    back, of_kernel, of_kernel_bias, of_gate = _backward_of_spatial_gate(ds, kernel, gate_weight, kept)
    back[:, 1] /= channels

    # dy is the gradient of g y; what is centred is (x - mean).
    statistics = kept.statistics if weight is not None else None
    of_dy, of_centred, dg = (torch.empty_like(g) for _ in range(3))
    scale = kept.affine[0] if weight is None else weight
    norm = (statistics, scale, bias, kept.affine)
    call("back_channel", x.dtype, *dims, dz, x, *norm, s, back, where, of_dy, of_centred, dg)
    of_average, of_maximum = torch.empty_like(g), torch.empty_like(g)
    of_first, of_second = torch.zeros_like(first), torch.zeros_like(second)
    of_first_bias, of_second_bias = first.new_zeros(len(first)), second.new_zeros(len(second))
    channel = (dg, g, kept.hidden, kept.average, kept.maximum, first, second, of_average, of_maximum)
    learnt = (of_first, of_first_bias, of_second, of_second_bias)
    call("back_layers", kind, *g.shape, len(first), *channel, *learnt)
    of_norm, dx = torch.zeros_like(kept.affine), torch.empty_like(x)
    found = (scale, statistics, g, of_dy, of_centred, of_average, of_maximum)
    pooled = (kept.means, kept.extreme, kept.peak)
    call("back_input", x.dtype, *dims, dz, x, s, back, where, *found, *pooled, of_norm, dx)
    of_skipped = nothing(x) if of_skipped is None else of_skipped
    return dx, of_skipped, of_norm, *learnt, of_kernel, of_kernel_bias, of_gate


def _check_backward(asked: Back, kept: Kept) -> None:
    x, weight, kernel = asked.x, asked.weight, asked.kernel
    expect_maps("cbam_backward", x, dz=asked.dz, z=asked.z)
    kind, channels, hidden, side = accumulated(x.dtype), x.shape[1], len(asked.first), kernel.shape[-1]
    expect("cbam_backward", kind, (channels,), weight=weight, bias=asked.bias)
    expect("cbam_backward", kind, (hidden, channels), first=asked.first)
    expect("cbam_backward", kind, (channels, hidden), second=asked.second)
    expect("cbam_backward", kind, (1, 2, side, side), kernel=kernel.contiguous())
    expect("cbam_backward", kind, (1,), gate_weight=asked.gate_weight)
    forms = kept_forms(x, hidden, weight is not None, asked.gate_weight is not None)
    for (dtype, shape), (name, tensor) in zip(forms, kept._asdict().items(), strict=True):
        expect("cbam_backward", dtype, shape, **{name: tensor})


def _backward_of_spatial_gate(
    ds: Tensor, kernel: Tensor, weight: Tensor | None, kept: Kept
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The gradients of what was described, the kernel, its bias, and the norm's weight and bias (2,)."""
    of_norm, described = ds.new_zeros(2), kept.described
    if weight is not None:
        of_logits = torch.empty_like(ds)
        given = (ds, kept.s, kept.logits, weight, kept.gate_statistics)
        call("back_plane", ds.dtype, len(ds), ds[0].numel(), *given, of_norm, of_logits)
    else:
        of_logits = torch.ops.aten.sigmoid_backward(ds, kept.s)
    back, kernel = torch.empty_like(described), kernel.contiguous()
    by_group = kernel.new_empty(-(-len(ds) // 8), *kernel.shape[1:])
    given = (*described.shape, kernel.shape[-1], described, kernel, of_logits)
    call("back_conv", ds.dtype, *given, back, by_group)
    return back, by_group.sum(0, keepdim=True), of_logits.sum().reshape(1), of_norm


def _backward_shapes(*given: Any) -> tuple[Tensor, ...]:
    _, z, x, _, _, first, second, kernel, _, tensors = Back(*given)
    of_skipped = nothing(x) if z is None else torch.empty_like(x)
    biases = first.new_empty(len(first)), second.new_empty(len(second)), kernel.new_empty(1)
    of_kernel = kernel.new_empty(kernel.shape)
    of_layers = torch.empty_like(first), biases[0], torch.empty_like(second), biases[1], of_kernel, biases[2]
    affine = Kept(*tensors).affine
    return torch.empty_like(x), of_skipped, torch.empty_like(affine), *of_layers, kernel.new_empty(2)


class Gated(torch.autograd.Function):
    """The operator `cbam` with its gradient: z, then all of `Kept`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, skipped: Tensor | None, *given: Any) -> tuple[Tensor, ...]:
        norm, layers, gate_norm = parts(given)
        fixed = [each for each in (norm, gate_norm) if each.weight is not None and not each.training]
        if fixed and any(ctx.needs_input_grad):
            raise RuntimeError("cbam: has no gradient with a norm that is not in training")
        with below_autograd():
            z, kept = cbam(x, skipped, *given)
        ctx.mark_non_differentiable(*kept)
        ctx.set_materialize_grads(False)
        weight, bias = (norm.weight, norm.bias) if norm.training else (None, None)
        gate_weight = gate_norm.weight if gate_norm.training else None
        result = None if skipped is None else z
        learnt = (weight, bias, layers.first, layers.second, layers.kernel, gate_weight)
        ctx.save_for_backward(x, result, *learnt, *kept)
        ctx.biased = [bias is not None for bias in layers[1::2]]
        return z, *kept

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dz: Tensor, *_: None) -> Any:
        x, z, weight, bias, first, second, kernel, gate_weight, *kept = ctx.saved_tensors
        dz = dz.to(x.dtype).contiguous(memory_format=torch.channels_last)
        learnt = (weight, bias, first, second, kernel, gate_weight)
        with below_autograd():
            dx, of_skipped, of_norm, *of_layers, of_gate = cbam_backward(dz, z, x, *learnt, kept)
        for place, biased in enumerate(ctx.biased):
            of_layers[2 * place + 1] = of_layers[2 * place + 1] if biased else None
        return (
            dx, of_skipped if z is not None else None, *_of_norm(weight, of_norm),
            *of_layers, *_of_norm(gate_weight, of_gate.unsqueeze(1)),
        )  # fmt: skip


def _of_norm(weight: Tensor | None, learnt: Tensor) -> tuple[Tensor | None, ...]:
    """Gradients for the fields of `Norm`, from those (2, C) of weight and bias."""
    own = (None, None) if weight is None else (learnt[0], learnt[1])
    return *own, *[None] * (len(Norm._fields) - 2)


def _differentiable(*given: Any) -> tuple[Tensor, list[Tensor]]:
    if not torch.is_grad_enabled():
        with below_autograd():
            found: tuple[Tensor, list[Tensor]] = cbam(*given)
        return found
    z, *kept = Gated.apply(*given)
    return z, kept


cbam_backward = define(
    "cbam_backward(Tensor dz, Tensor? z, Tensor x, Tensor? weight, Tensor? bias, "
    "Tensor first, Tensor second, Tensor kernel, Tensor? gate_weight, Tensor[] kept) "
    "-> (Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)",
    _backward,
    _backward_shapes,
)
cbam = define(
    f"cbam(Tensor x, Tensor? skipped, {OF_NORM.format('')}, {OF_LAYERS}, {OF_NORM.format('gate_')}) "
    "-> (Tensor z, Tensor[] kept)",
    _cbam,
    _shapes,
    _differentiable,
)
