"""Hydra's own flags, as its users type them, and what is shown of a config instead of training it."""

import argparse
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from cbam_ablate.config.where import SEARCHPATH, looking
from cbam_ablate.errors import ConfigError

INFO = ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath")


@dataclass
class Flags:
    """A command's words, flags apart. `sweep` says whether they ask for a sweep, by `-m` or a study."""

    texts: list[str]
    sweep: bool
    cfg: str | None
    package: str | None
    resolve: bool
    info: str | None
    hydra_help: bool
    config_name: str | None
    config_path: str | None

    @contextmanager
    def looking(self) -> Iterator[None]:
        """Has configs looked up where the flags say."""
        here = Path(self.config_path).expanduser() if self.config_path else None
        with looking(self.config_name and self.config_name.removesuffix(".yaml"), here):
            yield

    def show(self) -> bool:
        """Prints what `--cfg`, `--info` or `--hydra-help` ask for; False where none is among the flags."""
        if self.cfg:
            _show_config(self)
        elif self.info or self.hydra_help:
            _show_hydra(self)
        else:
            return False
        return True


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        flags = ", ".join(text for action in self._actions for text in action.option_strings)
        unknown = message.removeprefix("unrecognized arguments: ")
        told = message if unknown == message else f"{unknown}: no such flag"
        raise ConfigError(f"{told}; there are {flags}, -h, --help")


def read_flags(words: Sequence[str]) -> Flags:
    """A command's flags and its other words. Raises `ConfigError` for flags that there aren't."""
    parser = _Parser(add_help=False, allow_abbrev=False)
    parser.add_argument("--multirun", "-m", action="store_true")
    parser.add_argument("--run", "-r", action="store_true")
    parser.add_argument("--cfg", "-c", choices=("job", "hydra", "all"))
    parser.add_argument("--package", "-p")
    parser.add_argument("--resolve", action="store_true")
    parser.add_argument("--info", "-i", nargs="?", const="all", choices=INFO)
    parser.add_argument("--config-name", "-cn")
    parser.add_argument("--config-path", "-cp")
    parser.add_argument("--config-dir", "-cd")
    parser.add_argument("--hydra-help", action="store_true")
    parser.add_argument("texts", nargs="*")
    found = parser.parse_intermixed_args(list(words))
    if not found.cfg and (found.package or found.resolve):
        raise ConfigError("--package and --resolve: of what --cfg job, hydra or all prints; add --cfg job")
    texts = [text for text in found.texts if not text.startswith("hydra.mode=")]
    modes = {text.partition("=")[2] for text in found.texts if text.startswith("hydra.mode=")}
    if modes - {"RUN", "MULTIRUN"}:
        raise ConfigError(f"hydra.mode={min(modes - {'RUN', 'MULTIRUN'})}: not one of RUN, MULTIRUN")
    study = any(text.startswith("study=") and text != "study=none" for text in texts)
    swept = found.multirun or "MULTIRUN" in modes
    if swept and (found.run or "RUN" in modes):
        raise ConfigError("-m and a single run (hydra.mode=RUN, --run) at once: one of them")
    if found.config_dir:
        texts = _with_folder(texts, found.config_dir)
    return Flags(
        texts,
        swept or study,
        found.cfg,
        found.package,
        found.resolve,
        found.info,
        found.hydra_help,
        found.config_name,
        found.config_path,
    )


def _with_folder(texts: list[str], folder: str) -> list[str]:
    """The words with a folder of configs before those that `hydra.searchpath` names."""
    given = [text for text in texts if text.partition("=")[0] == SEARCHPATH]
    there = [text.partition("=")[2].strip().removeprefix("[").removesuffix("]") for text in given]
    folders = ",".join([f"'file://{Path(folder).expanduser().absolute()}'", *filter(None, there)])
    return [*(text for text in texts if text not in given), f"{SEARCHPATH}=[{folders}]"]


def _composed(flags: Flags) -> Any:
    from cbam_ablate.config.compose import compose
    from cbam_ablate.config.overrides import parse, verify
    from cbam_ablate.config.where import searched

    with looking(more=searched(flags.texts)):
        tokens = parse(flags.texts)
        verify(tokens, sweeping=flags.sweep)
        return compose([token for token in tokens if not token.sweeps])


def _show_config(flags: Flags) -> None:
    """The config as Hydra prints it: the job's without the `hydra` node, of a sweep what its cells share."""
    from omegaconf import OmegaConf, flag_override

    composed = _composed(flags)
    if flags.cfg == "hydra":
        shown = OmegaConf.masked_copy(composed, ["hydra"])
    elif flags.cfg == "job":
        shown = OmegaConf.masked_copy(composed, [str(key) for key in composed if key != "hydra"])
    else:
        shown = composed
    shown._set_parent(composed if flags.cfg != "all" else None)
    package = None if flags.package in (None, "_global_") else flags.package
    found = shown if package is None else OmegaConf.select(shown, package)
    if found is None:
        raise ConfigError(f"--package {package}: the config has no such section")
    if not OmegaConf.is_config(found):
        print(found)
        return
    if package is not None:
        print(f"# @package {package}")
    with flag_override(found, ["readonly", "struct"], [False, False]):
        print(OmegaConf.to_yaml(found, resolve=flags.resolve).rstrip())


def _show_hydra(flags: Flags) -> None:
    """What Hydra itself tells of the config's making, its plugins and its flags."""
    import logging

    from hydra._internal.hydra import Hydra
    from hydra._internal.utils import get_args_parser
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    from cbam_ablate.config.compose import hydras_own, make_loader
    from cbam_ablate.config.overrides import parse, verify
    from cbam_ablate.config.where import main_config, searched

    with looking(more=searched(flags.texts)), hydras_own():
        tokens = parse(flags.texts)
        verify(tokens, sweeping=flags.sweep)
        lines = [token.for_hydra for token in tokens if not token.sweeps]
        own = Hydra("cbam_ablate", make_loader())
        root = logging.getLogger()
        before, level, config = root.handlers[:], root.level, HydraConfig.instance().cfg
        try:
            if flags.hydra_help:
                nothing = argparse.Namespace(overrides=[], resolve=False)
                own.hydra_help(None, get_args_parser(), nothing)
            else:
                own.show_info(flags.info or "all", main_config(), lines, RunMode.RUN)
        finally:
            root.handlers[:], HydraConfig.instance().cfg = before, config
            root.setLevel(level)
