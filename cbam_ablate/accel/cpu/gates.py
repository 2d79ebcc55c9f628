"""What the operator of CBAM is given and what it keeps.

Maps are (N, C, H, W); of what the gates learn, H is the hidden width and K the side of the kernel.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from cbam_ablate.accel.cpu.library import accumulated, counted
from cbam_ablate.accel.cpu.norm import unchanged


class Norm(NamedTuple):
    """A batch norm's tensors, all (C,). In `training` it normalises by the batch, which has the gradients."""

    weight: Tensor | None
    bias: Tensor | None
    mean: Tensor | None
    var: Tensor | None
    training: bool
    eps: float
    momentum: float


NO_NORM = Norm(None, None, None, None, False, 0.0, 0.0)
OF_NORM = (
    "Tensor? {0}weight, Tensor? {0}bias, Tensor? {0}mean, Tensor? {0}var, "
    "bool {0}training, float {0}eps, float {0}momentum"
)


class GateLayers(NamedTuple):
    """What the gates learn: weights (H, C), (C, H) and (1, 2, K, K), and biases or None."""

    first: Tensor
    first_bias: Tensor | None
    second: Tensor
    second_bias: Tensor | None
    kernel: Tensor
    kernel_bias: Tensor | None


OF_LAYERS = (
    "Tensor first, Tensor? first_bias, Tensor second, Tensor? second_bias, Tensor kernel, Tensor? kernel_bias"
)


class Kept(NamedTuple):
    """What the way back needs; (0,) where there is none.

    The channel gate g (N, C) and of it average, maximum (N, C) and hidden (N, 2, H); scale and shift a, b
    (N, C) of g y; the spatial gate s (N, 1, H, W) and of it what is described (N, 2, H, W), logits
    (N, 1, H, W) and their statistics (2, 1); of the norm affine, statistics (2, C), means and extreme
    (N, C); the places of the maxima, peak (N, C) and where (N, HW). The last four are the norms' new running
    statistics.
    """

    g: Tensor
    average: Tensor
    maximum: Tensor
    hidden: Tensor
    a: Tensor
    b: Tensor
    s: Tensor
    described: Tensor
    logits: Tensor
    gate_statistics: Tensor
    affine: Tensor
    statistics: Tensor
    means: Tensor
    extreme: Tensor
    peak: Tensor
    where: Tensor
    new_mean: Tensor
    new_var: Tensor
    new_gate_mean: Tensor
    new_gate_var: Tensor


def room(x: Tensor, layers: GateLayers, norm: Norm, gate_norm: Norm) -> Kept:
    """Empty tensors for all of it; those of running statistics are copies of what they were."""
    forms = kept_forms(x, len(layers.first), norm.training, gate_norm.training)
    kept = Kept(*(x.new_empty(shape, dtype=dtype) for dtype, shape in forms))
    before = (norm.mean, norm.var, gate_norm.mean, gate_norm.var)
    for new, old in zip(kept[-4:], before, strict=True):
        if len(new) and old is not None:
            new.copy_(old)
    return kept


def kept_forms(
    x: Tensor, hidden: int, normed: bool, gate_normed: bool
) -> list[tuple[torch.dtype, tuple[int, ...]]]:
    """Type and shape of each field of `Kept`: with a norm in training before the gates and in one or not."""
    count, channels, height, width = x.shape
    kind, places, double = accumulated(x.dtype), counted(x.dtype), torch.float64
    gate, plane, none = (kind, (count, channels)), (kind, (count, 1, height, width)), (kind, (0,))
    of_channel = [gate, gate, gate, (kind, (count, 2, hidden)), gate, gate]
    of_spatial = [plane, (kind, (count, 2, height, width)), plane if gate_normed else none]
    vector = (kind, (channels,)) if normed else none
    scalar = (kind, (1,)) if gate_normed else none
    return [
        *of_channel,
        *of_spatial,
        (double, (2, 1) if gate_normed else (0,)),
        (kind, (2, channels)),
        (double, (2, channels) if normed else (0,)),
        (double, (count, channels)),
        gate,
        (places, (count, channels)),
        (places, (count, height * width)),
        *(vector, vector, scalar, scalar),
    ]


def parts(given: tuple[Any, ...]) -> tuple[Norm, GateLayers, Norm]:
    return Norm(*given[:7]), GateLayers(*given[7:13]), Norm(*given[13:])


def running_affine(x: Tensor, norm: Norm) -> Tensor:
    """Scale and shift (2, C) of a norm that is not in training, or of none."""
    if norm.weight is None or norm.bias is None or norm.mean is None or norm.var is None:
        return unchanged(x)
    return running(norm.weight, norm.bias, norm.mean, norm.var, norm.eps)


def running(weight: Tensor, bias: Tensor, mean: Tensor, var: Tensor, eps: float) -> Tensor:
    """Scale and shift (2, C) of a batch norm that is not in training, from its tensors (C,)."""
    scale = weight.detach() * (var + eps).rsqrt()
    return torch.stack([scale, bias.detach() - mean * scale])
