"""Modules of others that are changed as they are imported, or imported when they are first used."""

import contextlib
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from importlib.util import LazyLoader
from types import FrameType, ModuleType

Changes = Mapping[str, tuple[str, Callable[[ModuleType], None]]]
"""By a module's name: an attribute of it, and what changes the module; where it lacks that, nothing is.

No Ctrl-C is lost while such a module is imported.
"""


def change(changes: Changes, lazily: Sequence[str] = ()) -> None:
    """Has these modules changed, and others imported at their first use; what is imported stays as it is."""
    finder = _Finder(changes, lazily)
    if finder not in sys.meta_path:
        sys.meta_path.insert(0, finder)


@dataclass(frozen=True)
class _Finder(MetaPathFinder):
    changes: Changes
    lazily: Sequence[str]

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name not in self.changes and name not in self.lazily:
            return None
        spec = PathFinder.find_spec(name, path)
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            if name in self.lazily:
                spec.loader = LazyLoader(spec.loader)
            else:
                spec.loader = _Loader(name, spec.loader.path, *self.changes[name])
        return spec


class _Loader(SourceFileLoader):
    def __init__(self, name: str, path: str, attribute: str, made: Callable[[ModuleType], None]) -> None:
        super().__init__(name, path)
        self._attribute, self._change = attribute, made

    def exec_module(self, module: ModuleType) -> None:
        with _interruptible():
            super().exec_module(module)
        if hasattr(module, self._attribute):
            self._change(module)


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Raises the `KeyboardInterrupt` of a Ctrl-C at the block's end, if what the block imports swallowed it.

    PyTorch does while it imports NumPy. Where Ctrl-C is ignored it stays so.
    """
    before = signal.getsignal(signal.SIGINT)
    ours = threading.current_thread() is threading.main_thread()
    if not ours or before is not signal.default_int_handler:
        yield
        return
    came = False

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal came
        came = True
        signal.default_int_handler(number, frame)

    signal.signal(signal.SIGINT, note)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if came:
        raise KeyboardInterrupt
