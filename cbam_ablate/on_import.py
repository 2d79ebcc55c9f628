"""Modules of others that are changed as they are imported, or imported when they are first used."""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from importlib.util import LazyLoader
from types import ModuleType

Changes = Mapping[str, tuple[str, Callable[[ModuleType], None]]]
"""By a module's name: an attribute of it, and what changes the module; where it lacks that, nothing is."""


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
        super().exec_module(module)
        if hasattr(module, self._attribute):
            self._change(module)
