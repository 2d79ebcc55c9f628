"""Where configs are looked up: folders of the user's own first, then the package's `conf`."""

import importlib.util
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from cbam_ablate.errors import ConfigError

MAIN, JOB = "cbam_ablate", "cbam_ablate_job"
"""The configs that commands and jobs of Hydra's launchers begin with, in `conf/`."""
SCHEMA = "cbam_ablate_schema"
"""The schema's name in Hydra's ConfigStore."""
SEARCHPATH = "hydra.searchpath"


@dataclass(frozen=True)
class Where:
    """`main` is the config that commands begin with, `here` the folder that stands for the working folder's
    `conf`, `more` are folders looked up before it.
    """

    main: str = MAIN
    here: Path | None = None
    more: tuple[Path, ...] = ()


_where: ContextVar[Where] = ContextVar("where", default=Where())  # noqa: B039 - it is frozen


def main_config() -> str:
    return _where.get().main


@contextmanager
def looking(main: str | None = None, here: Path | None = None, more: Iterable[Path] = ()) -> Iterator[None]:
    """Has configs looked up there too, as `--config-name`, `--config-path` and `--config-dir` ask.

    Raises `ConfigError` for what isn't there.
    """
    more = tuple(more)
    for folder in (*more, *([here] if here else [])):
        if not os.path.isdir(folder):
            raise ConfigError(f"{folder}: no such folder of configs")
    now = _where.get()
    new = replace(now, main=main or now.main, here=here or now.here, more=(*more, *now.more))
    token = _where.set(new)
    try:
        if main and not any((folder / f"{main}.yaml").is_file() for folder in conf_dirs()):
            listed = ", ".join(str(folder) for folder in conf_dirs())
            raise ConfigError(f"--config-name {main}: no {main}.yaml in {listed}")
        yield
    finally:
        _where.reset(token)


def searched(texts: Iterable[str]) -> list[Path]:
    """The folders that a `hydra.searchpath` among these words names. Raises `ConfigError`."""
    found: list[Path] = []
    for text in texts:
        if text.lstrip("+").partition("=")[0] != SEARCHPATH:
            continue
        from hydra.core.override_parser.overrides_parser import OverridesParser
        from hydra.errors import HydraException

        try:
            value = OverridesParser.create().parse_override(text).value()
        except HydraException as error:
            raise ConfigError(f"{text}: {SEARCHPATH}=[file://FOLDER,pkg://PACKAGE.FOLDER]") from error
        found = [_folder(text, str(item)) for item in (value if isinstance(value, list) else [value])]
    return found


def _folder(text: str, item: str) -> Path:
    scheme, there, rest = item.rpartition("://")
    if scheme == "pkg":
        try:
            spec = importlib.util.find_spec(rest)
        except ImportError:  # a relative name too
            spec = None
        for folder in (spec.submodule_search_locations or []) if spec else []:
            return Path(folder)
        raise ConfigError(f"{text}: there is no package {rest}")
    if there and scheme != "file":
        raise ConfigError(f"{text}: {scheme}:// is neither file:// nor pkg://")
    return Path(rest).absolute()


def conf_dir() -> Path:
    """Where the package's own config groups are: inside an installed package, or beside it in a clone."""
    inside = Path(__file__).parents[1] / "conf"
    return inside if inside.is_dir() else Path(__file__).parents[2] / "conf"


def conf_dirs() -> list[Path]:
    """Folders that groups are looked up in: those asked for, `conf` in the working folder, and ours."""
    now = _where.get()
    here = now.here.resolve() if now.here else Path("conf").resolve()
    own = [folder.resolve() for folder in now.more] + ([here] if here.is_dir() else [])
    ours = conf_dir().resolve()
    return [*(folder for folder in dict.fromkeys(own) if folder != ours), conf_dir()]


def choices(group: str) -> list[str]:
    """The choices of a group, numbers in order."""
    found = {
        path.relative_to(group).with_suffix("").as_posix() for path in _files() if path.is_relative_to(group)
    }
    return sorted(found, key=lambda name: (not name.isdigit(), int(name) if name.isdigit() else 0, name))


def groups() -> set[str]:
    """All config groups but Hydra's own: the package's, and folders of the user's that hold configs."""
    found = {group.as_posix() for path in _files() for group in path.parents}
    return {name for name in found if name != "." and name.partition("/")[0] != "hydra"}


def standing() -> set[str]:
    """The groups that every config has a choice of."""
    return {path.parts[0] for path in _ours() if len(path.parts) > 1} - {"hydra"}


def _files() -> Iterator[Path]:
    """The configs there are, as they lie in their folders."""
    yield from _ours()
    for folder in conf_dirs()[:-1]:
        yield from (path.relative_to(folder) for path in folder.rglob("*.yaml"))


@cache
def _ours() -> list[Path]:
    return [path.relative_to(conf_dir()) for path in conf_dir().rglob("*.yaml")]
