"""The source of one's own code as a hash: its file and every file of one's own that it imports, as syntax.

Comments, docstrings and layout don't count. Installed packages count by their version.
"""

import ast
import contextlib
import hashlib
import importlib.util
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from functools import cache, lru_cache
from importlib import metadata
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import Any

from cbam_ablate.errors import ConfigError

INSTALLED = ("site-packages", "dist-packages")
STANDARD = tuple(Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib"))
OURS = "cbam_ablate"
UNSEEN = ("ctx", "kind", "type_comment", "type_ignores")
"""Fields of syntax that say nothing beyond the others."""
SCOPES = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)

Stamp = tuple[str, int, int]
"""A file, when it was changed and its size."""

_known: dict[tuple[str, str], tuple[tuple[Stamp, ...], dict[str, Path], str]] = {}


def source_hash(target: str) -> str:
    """The sha256 of what `module:Name` is made of. Raises `ConfigError` where a file isn't Python."""
    return _look(target)[2]


def state_of(target: str) -> tuple[Stamp, ...]:
    """The files that `source_hash` covers, each as it stands."""
    return _look(target)[0]


def modules_of(target: str) -> list[str]:
    """The names of one's own modules that `source_hash` covers."""
    return list(_look(target)[1])


def _look(target: str) -> tuple[tuple[Stamp, ...], dict[str, Path], str]:
    module = target.partition(":")[0]
    place = module, str(Path.cwd())
    known = _known.get(place)
    if known is None or tuple(map(_stamp, known[1].values())) != known[0]:
        importlib.invalidate_caches()
        files = _files([module])
        parts = [f"{found} {_read(*_stamp(path))[0]}" for found, path in sorted(files.items())]
        if module not in files:
            parts.append(_version(module))
        digest = hashlib.sha256("\n".join(parts).encode()).hexdigest()
        known = tuple(map(_stamp, files.values())), files, digest
        if module in sys.modules:  # else it may not be there yet
            _known[place] = known
    return known


def _stamp(path: Path) -> Stamp:
    try:
        stat = path.stat()
    except OSError:
        return str(path), 0, 0
    return str(path), stat.st_mtime_ns, stat.st_size


def is_installed(path: str | Path) -> bool:
    """Whether a file belongs to Python or to an installed package, and so not to the user."""
    path = Path(path)
    if not path.is_file():
        return True
    return any(part in INSTALLED for part in path.parts) or any(map(path.is_relative_to, STANDARD))


def _files(modules: Sequence[str]) -> dict[str, Path]:
    """One's own files of these modules, of their packages and of all that they import, by module."""
    found: dict[str, Path] = {}
    seen: set[str] = set()
    waiting = list(modules)
    while waiting:
        parts = waiting.pop().split(".")
        for count in range(1, len(parts) + 1):
            name = ".".join(parts[:count])
            if name in seen:
                continue
            seen.add(name)
            spec = _find(name)
            if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
                continue
            path = Path(spec.origin)
            if is_installed(path):
                continue
            found[name] = path
            package = name if spec.submodule_search_locations else name.rpartition(".")[0]
            waiting += [_absolute(imported, package) for imported in _read(*_stamp(path))[1]]
    return found


def _find(name: str) -> ModuleSpec | None:
    """Where a module is, without importing anything."""
    top, *rest = name.split(".")
    if not top or top in sys.stdlib_module_names or top == OURS:
        return None
    spec = PathFinder.find_spec(top)  # which doesn't ask for what is imported, maybe from another folder
    if spec is None:
        with contextlib.suppress(ImportError, ValueError):
            spec = importlib.util.find_spec(top)
    full = top
    for part in rest:
        full = f"{full}.{part}"
        where = None if spec is None else spec.submodule_search_locations
        spec = None if where is None else PathFinder.find_spec(full, where)
    return spec


def _absolute(name: str, package: str) -> str:
    """A module's name where `.name` is one of the package, `..name` of the package around it."""
    bare = name.lstrip(".")
    dots = len(name) - len(bare)
    if not dots:
        return name
    parts = package.split(".")
    return ".".join([*parts[: len(parts) - dots + 1], *([bare] if bare else [])])


@lru_cache(maxsize=1024)
def _read(file: str, changed: int, size: int) -> tuple[str, list[str]]:
    """The sha256 of a file's syntax, and the names that it imports."""
    try:
        tree = ast.parse(Path(file).read_bytes(), file)
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None)
        where = f"{Path(file).name} line {line}" if line else Path(file).name
        raise ConfigError(f"{where}: {type(error).__name__}: {getattr(error, 'msg', error)}") from error
    return hashlib.sha256(_syntax(tree).encode()).hexdigest(), list(_imports(tree))


def _imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            yield base
            dot = "" if base.endswith(".") else "."
            yield from (f"{base}{dot}{alias.name}" for alias in node.names if alias.name != "*")


def _syntax(node: Any) -> str:
    """A text of syntax that is the same in every version of Python."""
    if isinstance(node, list):
        return "[" + ",".join(map(_syntax, node)) + "]"
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = dict(ast.iter_fields(node))
    if isinstance(node, SCOPES):
        fields["body"] = [inner for inner in node.body if not _is_docstring(inner)] or [ast.Pass()]
    shown = [
        f"{name}={_syntax(value)}"
        for name, value in fields.items()
        if name not in UNSEEN and value is not None and value != []
    ]
    return f"{type(node).__name__}({','.join(shown)})"


def _is_docstring(node: ast.stmt) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


@cache
def _version(module: str) -> str:
    """The installed package that a module belongs to, with its version."""
    top = module.partition(".")[0]
    names = metadata.packages_distributions().get(top, [])
    return " ".join([top, *(f"{name} {metadata.version(name)}" for name in sorted(set(names)))])
