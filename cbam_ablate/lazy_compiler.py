"""Leaves PyTorch's compiler out of a process until something compiles.

PyTorch wraps what its compiler must not trace (making an optimiser, its step, shapes on the meta device) in a
"disable the compiler", which imports the compiler first: as long again as `import torch`. Where the compiler
hasn't been imported nothing is being compiled, so here such a function is called as it is.
"""

import functools
import sys
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import ModuleType
from typing import Any

COMPILER = "torch._dynamo"


def leave_out_compiler() -> None:
    """Has it so from now on; where torch is imported already, nothing changes."""
    if "torch" not in sys.modules and not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


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


CHANGED = {
    "torch._compile": ("_disable_dynamo", _disable),
    "torch.optim.optimizer": ("_use_grad_for_differentiable", _optimizer_step),
}
"""What of PyTorch is changed as it is imported, and by what; where a version lacks it, nothing is."""


class _Finder(MetaPathFinder):
    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name not in CHANGED:
            return None
        spec = PathFinder.find_spec(name, path)
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = _Loader(name, spec.loader.path)
        return spec


class _Loader(SourceFileLoader):
    def exec_module(self, module: ModuleType) -> None:
        super().exec_module(module)
        attribute, change = CHANGED[module.__name__]
        if hasattr(module, attribute):
            change(module)
