"""Leaves PyTorch's compiler out of a process until something compiles.

PyTorch wraps what its compiler must not trace (making an optimiser, its step, shapes on the meta device) in a
"disable the compiler", which imports the compiler first: as long again as `import torch`. Where the compiler
hasn't been imported nothing is being compiled, so here such a function is called as it is.
"""

import functools
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

from cbam_ablate.on_import import Changes, change

COMPILER = "torch._dynamo"


def leave_out_compiler() -> None:
    """Has it so from now on; where torch is imported already, nothing changes."""
    if "torch" not in sys.modules:
        change(CHANGED)


def _disable(module: ModuleType) -> None:
    real = module._disable_dynamo

    def disable(function: Callable[..., Any] | None = None, recursive: bool = True) -> Any:
        if function is None:
            return functools.partial(disable, recursive=recursive)
        return _unless_compiling(function, real(function, recursive))

    module._disable_dynamo = disable  # type: ignore[attr-defined]


def _optimizer_step(module: ModuleType) -> None:
    import torch

    real = module._use_grad_for_differentiable

    def with_or_without_gradients(step: Callable[..., Any]) -> Any:
        @functools.wraps(step)
        def plain(optimizer: Any, *args: Any, **kwargs: Any) -> Any:
            with torch.set_grad_enabled(optimizer.defaults["differentiable"]):
                return step(optimizer, *args, **kwargs)

        return _unless_compiling(plain, real(step))

    module._use_grad_for_differentiable = with_or_without_gradients  # type: ignore[attr-defined]


def _unless_compiling(plain: Callable[..., Any], guarded: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(guarded)
    def called(*args: Any, **kwargs: Any) -> Any:
        return (guarded if COMPILER in sys.modules else plain)(*args, **kwargs)

    return called


CHANGED: Changes = {
    "torch": ("Tensor", lambda torch: None),  # imported as it is, but by way of `change`: no Ctrl-C is lost
    "torch._compile": ("_disable_dynamo", _disable),
    "torch.optim.optimizer": ("_use_grad_for_differentiable", _optimizer_step),
}
