"""Shapes of what common operators give, on the meta device, without PyTorch's own way to them.

That imports SymPy and more, which takes a third of `import torch`. What isn't known here, and all that is
wrong, is left to PyTorch.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

aten = torch.ops.aten


def shaped(operator: Any, args: Sequence[Any], options: Mapping[str, Any] | None = None) -> Any:
    """What the operator gives, of the right shape, strides and type and without values, or none.

    `options` are its keyword arguments, with any of which it isn't known here.
    """
    find = SHAPES.get(operator)
    if find is None or options:
        return None
    tensors = [
        given for given in (args[0] if isinstance(args[0], list) else args) if isinstance(given, Tensor)
    ]
    first = tensors[0]
    if not first.is_floating_point() or any(given.dtype != first.dtype for given in tensors):
        return None
    if operator not in CONTIGUOUS and not all(given.is_contiguous() for given in tensors):
        return None
    shape = find(*args)
    if shape is None:
        return None
    made = first.new_empty(shape)
    return (made, made.new_empty(shape, dtype=torch.int64)) if operator in WITH_PLACES else made


def _alike(x: Tensor) -> Sequence[int]:
    return x.shape


def _power(x: Tensor, exponent: float) -> Sequence[int] | None:
    return x.shape if isinstance(exponent, int | float) else None


def _together(x: Tensor, y: Any, alpha: float = 1) -> Sequence[int] | None:
    if isinstance(y, int | float):
        return x.shape
    try:
        return np.broadcast_shapes(x.shape, y.shape)
    except ValueError:
        return None


def _reduced(x: Tensor, dims: Sequence[int] | None = None, keepdim: bool = False) -> Sequence[int] | None:
    if not dims or not all(-x.dim() <= dim < x.dim() for dim in dims):
        return None
    gone = {dim % x.dim() for dim in dims}
    if len(gone) < len(dims) or not x.numel():
        return None
    return [1 if dim in gone else side for dim, side in enumerate(x.shape) if keepdim or dim not in gone]


def _largest(x: Tensor, dim: int, keepdim: bool = False) -> Sequence[int] | None:
    return _reduced(x, [dim], keepdim)


def _joined(tensors: Sequence[Tensor], dim: int = 0) -> Sequence[int] | None:
    shapes = [list(given.shape) for given in tensors]
    if any(len(shape) != len(shapes[0]) for shape in shapes) or not -len(shapes[0]) <= dim < len(shapes[0]):
        return None
    along = sum(shape[dim] for shape in shapes)
    for shape in shapes:
        shape[dim] = along
    return shapes[0] if all(shape == shapes[0] for shape in shapes) else None


def _stacked(tensors: Sequence[Tensor], dim: int = 0) -> Sequence[int] | None:
    shape = list(tensors[0].shape)
    if any(list(given.shape) != shape for given in tensors) or not -len(shape) - 1 <= dim <= len(shape):
        return None
    place = dim % (len(shape) + 1)
    return [*shape[:place], len(tensors), *shape[place:]]


def _linear(bias: Tensor, x: Tensor, weight: Tensor) -> Sequence[int] | None:
    fits = x.dim() == weight.dim() == 2 and x.shape[1] == weight.shape[0] and bias.shape == weight.shape[1:]
    return (x.shape[0], weight.shape[1]) if fits else None


def _convolved(
    x: Tensor, weight: Tensor, bias: Tensor | None, stride: Sequence[int], padding: Sequence[int],
    dilation: Sequence[int], transposed: bool, start: Sequence[int], groups: int,
) -> Sequence[int] | None:  # fmt: skip
    if transposed or x.dim() != weight.dim() or x.shape[1] != groups * weight.shape[1]:
        return None
    options = (stride, padding, dilation)
    if any(len(option) != x.dim() - 2 for option in options) or len(weight) % groups:
        return None
    if bias is not None and bias.shape != weight.shape[:1]:
        return None
    sides = _sides(x, weight.shape[2:], *options)
    return sides and [len(x), len(weight), *sides]


def _pooled(
    x: Tensor, kernel: Sequence[int], stride: Sequence[int] = (), padding: Sequence[int] = (0, 0),
    dilation: Sequence[int] = (1, 1), ceil: bool = False,
) -> Sequence[int] | None:  # fmt: skip
    options = [[*option, *option][:2] for option in (kernel, stride or kernel, padding, dilation)]
    if x.dim() != 4 or any(2 * pad > side for pad, side in zip(options[2], options[0], strict=True)):
        return None
    sides = _sides(x, *options, ceil=ceil)
    return sides and [*x.shape[:2], *sides]


def _sides(x: Tensor, kernel: Sequence[int], *options: Sequence[int], ceil: bool = False) -> list[int] | None:
    """Height and width after a kernel, of a stride, a padding and a dilation, went over a map.

    With `ceil` a last place that begins within the map counts too, though the kernel sticks out.
    """
    stride, padding, dilation = options
    if min(*stride, *dilation) < 1 or min(padding) < 0:
        return None
    sides = []
    for side, own, step, pad, by in zip(x.shape[2:], kernel, *options, strict=True):
        room = side + 2 * pad - by * (own - 1) - 1
        last = -(-room // step) if ceil else room // step
        sides.append(last + (0 if ceil and last * step >= side + pad else 1))
    return sides if min(sides) > 0 else None


def _enlarged(x: Tensor, size: Sequence[int], corners: bool, *scales: float | None) -> Sequence[int] | None:
    return [*x.shape[:2], *size] if x.dim() == 4 and len(size) == 2 and min(size) > 0 and x.numel() else None


def _normed(
    x: Tensor, order: float = 2, dims: Sequence[int] | None = None, keepdim: bool = False
) -> Sequence[int] | None:
    return _reduced(x, dims, keepdim)


def _along(x: Tensor, dim: int, half_to_float: bool) -> Sequence[int] | None:
    return x.shape if -x.dim() <= dim < x.dim() and not half_to_float else None


def _products(x: Tensor, y: Tensor) -> Sequence[int] | None:
    fits = x.dim() == y.dim() == 3 and x.shape[0] == y.shape[0] and x.shape[2] == y.shape[1]
    return (*x.shape[:2], y.shape[2]) if fits else None


SHAPES: dict[Any, Callable[..., Sequence[int] | None]] = {
    aten.relu.default: _alike,
    aten.sigmoid.default: _alike,
    aten.hardswish.default: _alike,
    aten._softmax.default: _along,
    aten.pow.Tensor_Scalar: _power,
    aten.add.Tensor: _together,
    aten.sub.Tensor: _together,
    aten.mul.Tensor: _together,
    aten.div.Tensor: _together,
    aten.mean.dim: _reduced,
    aten.sum.dim_IntList: _reduced,
    aten.amax.default: _reduced,
    aten.logsumexp.default: _reduced,
    aten.linalg_vector_norm.default: _normed,
    aten.max.dim: _largest,
    aten.cat.default: _joined,
    aten.stack.default: _stacked,
    aten.addmm.default: _linear,
    aten.bmm.default: _products,
    aten.convolution.default: _convolved,
    aten.max_pool2d_with_indices.default: _pooled,
    aten.upsample_bilinear2d.default: _enlarged,
}
CONTIGUOUS = (aten.addmm.default, aten.bmm.default)
"""What gives contiguous tensors of all; what else is known here does of such alone."""
WITH_PLACES = (aten.max.dim, aten.max_pool2d_with_indices.default)
"""What gives the largest values and where they are."""
