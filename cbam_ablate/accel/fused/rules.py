"""How the layers with weights are computed for K runs at once, where `vmap` alone is slow or loses bf16.

Shapes: K runs; maps are (K, N, C, ...) to the outside and (N, K C, ...) in a layer. `Rules` is active while
`vmap` runs a network; what it doesn't know is left to `vmap`.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode


class _Rule(torch.autograd.Function):
    """A function of which only the batched form is ever used, made of others that have gradients."""

    @staticmethod
    def forward(*arguments: Any) -> Any:
        raise NotImplementedError("made for vmap")

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        pass


class _Convolution(_Rule):
    """One grouped convolution, each run's channels a group (or as many as a network's own has)."""

    @staticmethod
    def vmap(
        info: Any, where: Any, function: Any, x: Tensor, weight: Tensor, bias: Tensor | None, *rest: Any
    ) -> tuple[Tensor, int]:
        runs = info.batch_size
        *sizes, groups = rest
        wide = _first(weight, where[2], runs).flatten(0, 1)
        shift = None if bias is None else _first(bias, where[3], runs).flatten()
        y = function(_beside(x, where[1], runs), wide, shift, *sizes, groups * runs)
        return y.unflatten(1, (runs, -1)), 1


class _Linear(_Rule):
    """One batched matrix product."""

    @staticmethod
    def vmap(info: Any, where: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, int]:
        x, weight = (
            _first(value, place, info.batch_size) for value, place in zip((x, weight), where, strict=False)
        )
        rows = x.flatten(1, -2) if x.ndim > 2 else x[:, None]
        if bias is None:
            y = torch.bmm(rows, weight.mT)
        else:
            y = torch.baddbmm(_first(bias, where[2], info.batch_size)[:, None], rows, weight.mT)
        return y.view(*x.shape[:-1], -1), 0


class _BatchNorm(_Rule):
    """One batch norm over all runs' channels; running statistics are updated in place."""

    @staticmethod
    def vmap(info: Any, where: Any, x: Tensor, *rest: Any) -> tuple[Tensor, int]:
        runs = info.batch_size
        vectors: list[Any] = [
            None if value is None else _first(value, place, runs).flatten()
            for value, place in zip(rest[:4], where[1:5], strict=True)
        ]
        mean, variance, weight, bias = vectors
        y = F.batch_norm(_beside(x, where[0], runs), mean, variance, weight, bias, *rest[4:])
        return y.unflatten(1, (runs, -1)), 1


def _first(value: Tensor, place: int | None, runs: int) -> Tensor:
    """The runs' dimension moved to the front, or made where all share the value."""
    return value.expand(runs, *value.shape) if place is None else value.movedim(place, 0)


def _beside(x: Tensor, place: int | None, runs: int) -> Tensor:
    """Maps (N, C, ...) of every run as (N, K C, ...)."""
    return _first(x, place, runs).movedim(0, 1).flatten(1, 2)


def _convolution(
    function: Callable[..., Tensor],
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Any:
    return _Convolution.apply(function, input, weight, bias, stride, padding, dilation, groups)


def _linear(
    function: Callable[..., Tensor], input: Tensor, weight: Tensor, bias: Tensor | None = None
) -> Any:
    return _Linear.apply(input, weight, bias)


def _batch_norm(
    function: Callable[..., Tensor],
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Any:
    return _BatchNorm.apply(input, running_mean, running_var, weight, bias, training, momentum, eps)


RULES: dict[str, Callable[..., Any]] = {
    "conv1d": _convolution,
    "conv2d": _convolution,
    "linear": _linear,
    "batch_norm": _batch_norm,
}


class Rules(TorchFunctionMode):
    """Computes the layers of `RULES` by them; to be entered around a call of `vmap`."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        rule = RULES.get(getattr(func, "__name__", ""))
        return func(*args, **(kwargs or {})) if rule is None else rule(func, *args, **(kwargs or {}))
