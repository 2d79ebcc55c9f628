"""Hydra's own settings, in a study or on the command line: each counts here, or is refused by its name."""

import dataclasses
import difflib
import re
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from hydra.conf import HydraConf
from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from omegaconf import DictConfig, OmegaConf

from cbam_ablate.config.options import spell
from cbam_ablate.config.where import choices
from cbam_ablate.errors import ConfigError

if TYPE_CHECKING:
    from cbam_ablate.config.overrides import Token

IN_STORE = "runs are in the store and studies beside them; store=FOLDER says where"
LOGGING = "what a run says is in its folder, and the terminal's part is the program's own"
COUNTED = "each run has its own, and goes by its key"
STANDING: dict[str, tuple[tuple[Any, ...], str]] = {
    "run.dir": ((".",), IN_STORE),
    "sweep.dir": (("${store}/studies/.jobs",), IN_STORE),
    "sweep.subdir": ((".",), IN_STORE),
    "output_subdir": ((None,), f"config.json says what a run was made from; {IN_STORE}"),
    "verbose": ((False,), "train.log_every=1 says more of a run, HYDRA_FULL_ERROR=1 of an error"),
    "env": (({},), "hydra.job.env_set={NAME: VALUE} sets what jobs see of the environment"),
    "job.name": (("cbam_ablate",), "name= names a run, and a study file (conf/study/NAME.yaml) a sweep"),
    "job.chdir": ((None, False), "runs work in the command's folder and write to the store alone"),
    "job.id": (("???",), COUNTED),
    "job.num": (("???",), COUNTED),
    "job.config.override_dirname.kv_sep": (("=",), IN_STORE),
    "job.config.override_dirname.item_sep": ((",",), IN_STORE),
    "job.config.override_dirname.exclude_keys": (([],), IN_STORE),
}
"""What settings are that can't be anything else here, and where what they are for is said."""
SWEEPER = "cbam_ablate"
LAUNCHER = "hydra/launcher"
LOGGINGS = ("none", "disabled")
SECTIONS = ("hydra.launcher", "hydra.sweeper", "hydra.callbacks", "hydra.job", "hydra.run", "hydra.sweep")
OF_SWEEPS = ("hydra.sweeper", "hydra/sweeper", "hydra.launcher", "hydra/launcher", "hydra.sweep.")
"""What a single run has no use for."""
HOLDERS = (
    *(f"hydra.sweeper.{name}" for name in ("around", "params")),
    "hydra.callbacks",
    "hydra.job.env_set",
    "hydra.launcher.additional_parameters",
)
"""What holds free keys."""
BY_HYDRA = tuple(
    f"hydra.{name}." for name in ("runtime", "overrides", "job.config_name", "job.override_dirname")
)


def wrong_setting(token: "Token", sweeping: bool) -> str:
    """What is wrong with a word of the command line that sets something of Hydra's, if anything."""
    name, override = token.name, token.override
    if token.sweeps:
        return f"{token.text}: an option of Hydra's own takes one value"
    if name in SECTIONS and not isinstance(override.value(), dict):
        return f"{token.text}: {name} is a section; {name}.NAME=VALUE sets an option of it"
    if f"{name}.".startswith(BY_HYDRA):
        return f"{token.text}: is filled in by Hydra; there is nothing to set"
    if not sweeping and name.startswith(OF_SWEEPS):
        return f"{token.text}: is of sweeps, and this is one run; add -m, which makes it one"
    if name == LAUNCHER:
        return _wrong_launcher(token)
    if name == "hydra.launcher._target_":
        return f"{token.text}: {LAUNCHER}=NAME chooses one; a file conf/{LAUNCHER}/NAME.yaml may name a class"
    if (override.is_add() or override.is_delete()) and re.fullmatch(r"hydra\.launcher\.\w+", name):
        return f"{token.text}: an option that a launcher has is set without {token.text[0]}"
    return ""


def _wrong_launcher(token: "Token") -> str:
    """What is wrong with a choice of a launcher, if anything."""
    if token.override.is_add():
        return f"{token.text}: there is one already; {LAUNCHER}=NAME chooses another, without +"
    Plugins.instance()  # which have theirs stored
    stored = ConfigStore.instance().repo["hydra"].get("launcher", {})
    known = sorted({*choices(LAUNCHER), *(name.removesuffix(".yaml") for name in stored)})
    if not token.override.is_delete() and token.value_text in known:
        return ""
    near = difflib.get_close_matches(token.value_text, known, n=1)
    return f"{token.text}: one of {', '.join(known)}{f'; did you mean {near[0]}?' if near else ''}"


def refuse_unused(hydra: DictConfig) -> None:
    """Raises `ConfigError` naming every setting of Hydra's that would have no effect."""
    plain: Any = OmegaConf.to_container(hydra, resolve=False)
    found = []
    for name, (standing, why) in STANDING.items():
        value = plain
        for part in name.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        if value not in standing:
            found.append(f"hydra.{name}={spell(value)}: has no effect here: {why}")
    for section, names in _settings().items():
        found += [
            f"hydra.{section}{name}: Hydra has no such setting; it has {', '.join(names)}"
            for name in (plain[section.rstrip(".")] if section else plain)
            if name not in names
        ]
    for section in ("help", "hydra_help"):
        given, usual = plain[section], _hydras(section)
        found += [
            f"hydra.{section}.{name}: has no effect here: cbam-ablate COMMAND --help says what there is"
            for name in given
            if given[name] != usual.get(name, "???")
        ]
    for name in ("job_logging", "hydra_logging"):
        chosen = plain["runtime"]["choices"].get(f"hydra/{name}")
        if chosen not in LOGGINGS or plain[name].get("root") or plain[name].get("handlers"):
            found.append(f"hydra/{name}={chosen}: has no effect here: {LOGGING}")
    sweeper = plain["runtime"]["choices"].get("hydra/sweeper")
    if sweeper != SWEEPER:
        found.append(
            f"hydra/sweeper={sweeper}: sweeps are planned here, by hydra/sweeper={SWEEPER}; their grid is "
            "hydra.sweeper.params or, on the command line, -m depth=18,34 seed=0,1"
        )
    if found:
        raise ConfigError("\n".join(found))


@cache
def _settings() -> dict[str, list[str]]:
    """The names of Hydra's settings, and of those below some of them."""
    known = HydraConf()
    sections = {f"{name}.": _fields(getattr(known, name)) for name in ("run", "sweep", "job")}
    return {"": sorted([*_fields(known), "env"]), **sections}


def _fields(section: Any) -> list[str]:
    return sorted(field.name for field in dataclasses.fields(section))


@cache
def _hydras(group: str) -> Any:
    """What Hydra's own default of one of its groups holds."""
    text = (files("hydra.conf") / "hydra" / group / "default.yaml").read_text(encoding="utf-8")
    return OmegaConf.to_container(OmegaConf.create(text), resolve=False)


def refuse_sweeping(hydra: DictConfig) -> None:
    """Raises `ConfigError` where a single run was given what only a sweep has: axes, or a launcher."""
    plain: Any = OmegaConf.to_container(hydra, resolve=False)
    found = [
        f"hydra.sweeper.{name}={value}: declares a sweep; add -m to run it"
        for name, value in plain["sweeper"].items()
        if value and name != "_target_"
    ]
    choices = plain["runtime"]["choices"]
    if choices.get("hydra/launcher") != "local" or plain["launcher"].get("jobs") is not None:
        found.append(
            f"hydra/launcher={choices.get('hydra/launcher')}: one run is trained here, by no launcher; "
            "with -m it is a sweep of one cell, which a launcher trains"
        )
    if found:
        raise ConfigError("\n".join(found))
