"""How the passes become operators of PyTorch, `torch.ops.cbam_ablate.*`, and what they check.

Each has a kernel for the CPU, one that gives shapes alone (for compilers and export), and a gradient, or says
that it has none. `torch.library.custom_op` makes such operators too, but a call and its gradient then take
240 microseconds longer than a bare `autograd.Function`, these 90: in a step of ResNet-20, 6 % against 2 %.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_leaves, tree_map, tree_unflatten

from cbam_ablate.accel.cpu.library import NAMES

LIBRARY = torch.library.Library("cbam_ablate", "DEF")
below_autograd = torch._C._AutoDispatchBelowAutograd
"""While it is entered, operators are called without regard to gradients, as from within one's own."""


def define(
    schema: str,
    kernel: Callable[..., Any],
    shapes: Callable[..., Any],
    differentiable: Callable[..., Any] | None = None,
) -> Any:
    """Registers an operator and returns it.

    `kernel` computes it on a CPU, `shapes` makes results of the right shapes, types and layouts from tensors
    without data. `differentiable` is the call that gradients can be taken of, made of the operator itself.
    """
    name = schema.partition("(")[0]
    LIBRARY.define(schema, tags=(torch.Tag.pt2_compliant_tag,))
    LIBRARY.impl(name, kernel, "CPU")
    torch.library.register_fake(f"{LIBRARY.ns}::{name}", shapes, lib=LIBRARY)
    operator = getattr(getattr(torch.ops, LIBRARY.ns), name).default
    torch.library.register_vmap(f"{LIBRARY.ns}::{name}", _one_by_one(operator), lib=LIBRARY)
    LIBRARY.impl(name, differentiable or _without_gradient(operator), "Autograd")
    return operator


def _one_by_one(operator: Any) -> Callable[..., Any]:
    """vmap's rule: a call for each of the batch."""

    def rule(info: Any, places: tuple[Any, ...], *arguments: Any) -> tuple[Any, Any]:
        given, structure = tree_flatten(arguments)
        where = tree_flatten(places, is_leaf=lambda place: place is None)[0]
        calls = [
            operator(
                *tree_unflatten(
                    [_select(x, place, n) for x, place in zip(given, where, strict=True)], structure
                )
            )
            for n in range(info.batch_size)
        ]
        return tree_map(lambda *each: torch.stack(each), *calls), tree_map(lambda _: 0, calls[0])

    return rule


def _select(x: Any, place: int | None, number: int) -> Any:
    return x if place is None else x.select(place, number)


def _without_gradient(operator: Any) -> Callable[..., Any]:
    def call(*arguments: Any) -> Any:
        if torch.is_grad_enabled() and any(_learns(x) for x in tree_leaves(arguments)):
            raise RuntimeError(f"{operator}: has no gradient; call it under torch.no_grad()")
        with below_autograd():
            return operator(*arguments)

    return call


def _learns(x: Any) -> bool:
    return isinstance(x, Tensor) and x.requires_grad


def expect_maps(operator: str, x: Tensor, **others: Tensor | None) -> None:
    """Raises `ValueError` unless x and the others are alike maps (N, C, H, W) that the passes can read.

    That is float64, float32 or bfloat16 in channels_last on the CPU, with at least one pixel.
    """
    if x.dtype not in NAMES or x.ndim != 4 or not x.numel():
        raise ValueError(
            f"{operator}: x is {_described(x)}; it must be a map (N, C, H, W) of float64, float32 or bfloat16"
        )
    _expect(operator, x.dtype, x.shape, torch.channels_last, {"x": x, **others})


def expect(operator: str, dtype: torch.dtype, shape: tuple[int, ...], **tensors: Tensor | None) -> None:
    """Raises `ValueError` unless these, or None, are contiguous tensors of that type and shape on the CPU."""
    _expect(operator, dtype, shape, torch.contiguous_format, tensors)


def _expect(
    operator: str,
    dtype: torch.dtype,
    shape: tuple[int, ...],
    layout: torch.memory_format,
    tensors: dict[str, Tensor | None],
) -> None:
    for name, tensor in tensors.items():
        if tensor is None or (
            tensor.dtype == dtype
            and tensor.shape == shape
            and tensor.is_cpu
            and tensor.is_contiguous(memory_format=layout)
        ):
            continue
        wanted = f"{dtype} {tuple(shape)} on the CPU, {layout}"
        raise ValueError(f"{operator}: {name} is {_described(tensor)}; it must be {wanted}")


def _described(x: Tensor) -> str:
    layouts = (torch.contiguous_format, torch.channels_last)
    found = [f"{each}" for each in layouts if (x.ndim == 4 or each is layouts[0]) and _laid_out(x, each)]
    return f"{x.dtype} {tuple(x.shape)} on {x.device}, {' and '.join(found) or f'of strides {x.stride()}'}"


def _laid_out(x: Tensor, layout: torch.memory_format) -> bool:
    return x.layout == torch.strided and x.is_contiguous(memory_format=layout)


def sizes(x: Tensor) -> tuple[int, int, int]:
    """Images, pixels and channels of a map (N, C, H, W)."""
    return x.shape[0], x.shape[2] * x.shape[3], x.shape[1]


def nothing(x: Tensor) -> Tensor:
    """What stands for a result that there isn't: (0,)."""
    return x.new_empty(0)
