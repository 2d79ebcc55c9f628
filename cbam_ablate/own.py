"""Code of one's own, `module:Name`: imported from the working folder or the environment, and its signature.

Nothing here imports torch; the code itself may.
"""

import contextlib
import difflib
import importlib
import inspect
import sys
import traceback
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from cbam_ablate.errors import ConfigError
from cbam_ablate.source import is_installed, modules_of, state_of

PACKAGE = Path(__file__).parent
CHANNELS = ("c", "ch", "dim", "planes", "in_planes", "inplanes", "features")
"""Names besides those with `chan` in them that say that a parameter is a number of channels."""
PLAIN_MODULE = "torch.nn.modules.module"
"""Where the constructor of a module is that has none of its own."""
WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "text", list: "a list",
         tuple: "a list", dict: "a mapping", type(None): "null"}  # fmt: skip

Parameters = Mapping[str, inspect.Parameter]

_imported: dict[str, tuple[Any, ...]] = {}
"""The state of a module's files when it was imported, by its name."""


_added: list[str] = []
"""The working folder that was put on sys.path."""


def use_working_folder() -> None:
    """Puts the working folder first on sys.path, where Python has it when it runs a script there."""
    here = str(Path.cwd())
    if _added and _added[0] != here:
        with contextlib.suppress(ValueError):
            sys.path.remove(_added.pop())
    if here not in sys.path:
        sys.path.insert(0, here)
        _added[:] = [here]


def load_own(target: str, option: str) -> Callable[..., Any]:
    """What `module:Name` names, imported anew where its files have changed since.

    Raises `ConfigError`, one line that begins with the `option` that was given, where it can't be had.
    """
    use_working_folder()
    module, _, name = target.partition(":")
    state = state_of(target)
    if module in _imported and _imported[module] != state:
        for stale in modules_of(target):
            sys.modules.pop(stale, None)
    try:
        found = importlib.import_module(module)
    except ModuleNotFoundError as error:
        missing = error.name or module
        if module == missing or module.startswith(f"{missing}."):
            raise ConfigError(f"{option}={target}: {_no_module(missing)}") from error
        raise failure(f"{option}={target}", error) from error
    except Exception as error:  # it is anybody's code
        raise failure(f"{option}={target}", error) from error
    _imported[module] = state
    if not hasattr(found, name):
        near = difflib.get_close_matches(name, vars(found), n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ConfigError(f"{option}={target}: {module} has no {name}{hint}")
    code: Callable[..., Any] = getattr(found, name)
    if not callable(code):
        raise ConfigError(f"{option}={target}: {name} is no class or function but {type(code).__name__}")
    return code


def _no_module(name: str) -> str:
    there = {path.stem for path in Path().glob("*.py")}
    near = difflib.get_close_matches(name, there, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    return f"no module {name} in this folder ({Path.cwd()}) or among the installed packages{hint}"


def failure(what: str, error: BaseException) -> ConfigError:
    """An exception of the user's code as one error, of `what` they gave, with their own file and line."""
    first = (str(error).strip().splitlines() or [""])[0]
    where = place_of(error)
    return ConfigError(f"{what}: {type(error).__name__}{where and f' in {where}'}: {first}")


def reason_of(error: BaseException) -> str:
    """The first line of an exception's message; of the user's code with its kind, file and line."""
    first = (str(error).strip().splitlines() or [type(error).__name__])[0]
    where = place_of(error)
    return f"{type(error).__name__} in {where}: {first}" if where else first


def place_of(error: BaseException) -> str:
    """`file.py line 12`: the last line of the user's own code that an exception went through, else empty."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{_relative(error.filename)} line {error.lineno}"
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not is_installed(frame.filename) and not Path(frame.filename).is_relative_to(PACKAGE)
    ]
    return f"{_relative(frames[-1].filename)} line {frames[-1].lineno}" if frames else ""


def _relative(file: str) -> str:
    path = Path(file)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else file


@cache
def entry_points(group: str) -> dict[str, str]:
    """What installed packages offer as `cbam_ablate.<group>`: `module:Name` by name."""
    found = metadata.entry_points(group=f"cbam_ablate.{group}")
    return {point.name: point.value for point in found}


def parameters_of(code: Callable[..., Any]) -> Parameters:
    """The parameters of a class or function by name, annotations evaluated where they can be."""
    if isinstance(code, type) and getattr(code.__init__, "__module__", "") == PLAIN_MODULE:  # type: ignore[misc]
        return {}  # its constructor takes anything, and refuses it
    try:
        return inspect.signature(code, eval_str=True).parameters
    except (NameError, TypeError, SyntaxError):
        return inspect.signature(code).parameters
    except ValueError:  # of builtins
        return {}


def takes_channels(parameters: Parameters) -> bool:
    """Whether the first parameter is the number of channels: it has no default, or its name says so."""
    first = next(iter(parameters.values()), None)
    if first is None or first.kind not in (first.POSITIONAL_ONLY, first.POSITIONAL_OR_KEYWORD):
        return False
    return first.default is first.empty or "chan" in first.name or first.name in CHANNELS


def named(parameters: Parameters, leading: int) -> dict[str, inspect.Parameter]:
    """The parameters after the first `leading` that can be given by name."""
    later = list(parameters.values())[leading:]
    return {one.name: one for one in later if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)}


def any_other(parameters: Parameters) -> inspect.Parameter | None:
    """`**kwargs`, where there is one."""
    return next((one for one in parameters.values() if one.kind is one.VAR_KEYWORD), None)


def is_plain(value: Any) -> bool:
    """Whether a value can be in a config."""
    if isinstance(value, list | tuple):
        return all(is_plain(item) for item in value)
    if isinstance(value, dict):
        return all(isinstance(key, str) and is_plain(item) for key, item in value.items())
    return value is None or isinstance(value, bool | int | float | str)


def typed(value: Any, parameter: inspect.Parameter) -> Any:
    """A config value as the parameter's annotation, else its default, types it.

    Raises `ValueError` saying what it takes.
    """
    kinds = _kinds(parameter)
    for kind in kinds:
        if kind is Any or type(value) is kind:
            return value
    if float in kinds and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if int in kinds and isinstance(value, float) and value.is_integer():
        return int(value)
    if (list in kinds or tuple in kinds) and isinstance(value, list | tuple):
        return list(value)
    for choice in kinds:
        if not isinstance(choice, type) and value == choice:
            return value
    words = [WORDS.get(kind, "") if isinstance(kind, type) else str(kind) for kind in kinds]
    if any(not word for word in words):  # of a type that no config value has
        return value
    raise ValueError(" or ".join(words))


def _kinds(parameter: inspect.Parameter) -> list[Any]:
    """The types that a parameter takes, and the values of a `Literal`."""
    note, default = parameter.annotation, parameter.default
    if note is parameter.empty:
        if default is parameter.empty or default is None:
            return [Any]
        # Python's own habit: alpha=1 is given 0.5 as well.
        return [int, float] if type(default) is int else [type(default)]
    found = _unfold(note)
    return [*found, type(None)] if default is None else found


def _unfold(note: Any) -> list[Any]:
    if note is None:
        return [type(None)]
    origin = get_origin(note)
    if origin in (Union, types.UnionType):
        return [kind for part in get_args(note) for kind in _unfold(part)]
    if origin is Literal:
        return list(get_args(note))
    if origin is typing.Annotated:
        return _unfold(get_args(note)[0])
    kind = origin or note
    if isinstance(kind, type) and issubclass(kind, Sequence) and kind is not str:
        return [list]
    if isinstance(kind, type) and issubclass(kind, Mapping):
        return [dict]
    return [kind] if isinstance(kind, type) else [Any]
