"""From the words of the command line to one typed, checked config, by way of Hydra."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.types import Quote, QuotedString
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException

from cbam_ablate.config.canonical import resolve
from cbam_ablate.config.errors import ConfigError
from cbam_ablate.config.overrides import ALIASES, conf_dir, conf_dirs, parse, verify
from cbam_ablate.config.rules import check
from cbam_ablate.config.schema import RunConfig

UNKNOWN = (ConfigAttributeError, ConfigKeyError)
"""What OmegaConf raises for a name that isn't there."""

ConfigStore.instance().store(name="schema", node=RunConfig)


def load_config(overrides: Iterable[str] = ()) -> RunConfig:
    """The config that these words of the command line make: typed, automatic values filled in, checked.

    Raises `ConfigError` with one line for each thing wrong: the value, the rule, the alternatives.
    """
    parsed = parse(overrides)
    verify(parsed, sweeping=False)
    return check(to_run_config(compose_words([word.spelled for word in parsed])))


def compose_words(words: list[str]) -> DictConfig:
    """Hydra's composition of words already spelled for it, the `hydra` node included."""
    extra = [] if any(word.startswith("hydra.searchpath") for word in words) else search_path()
    shared = GlobalHydra.instance()
    outer = shared.hydra
    # Inside a sweep Hydra is at work already; this composition is one of its own.
    shared.clear()
    try:
        with initialize_config_dir(str(conf_dir()), job_name="cbam_ablate", version_base="1.3"):
            composed = compose("config", overrides=[*words, *extra], return_hydra_config=True)
            overruled = [] if study_of(composed) is None else _overruled(composed, words)
            if overruled:
                own = [word for word in words if not word.startswith("study=")]
                _put_back(composed, compose("config", overrides=[*own, "study=none", *extra]), overruled)
            return composed
    except (HydraException, OmegaConfBaseException) as error:
        raise plain_error(error) from error
    finally:
        shared.clear()
        if outer is not None:
            shared.initialize(outer)


def _overruled(composed: DictConfig, words: list[str]) -> list[str]:
    """The options that a group in these words chooses and whose value isn't called like the choice."""
    said = {word.partition("=")[0].lstrip("+"): word.partition("=")[2].strip("'\"") for word in words}
    return [
        dotted
        for group, dotted in ALIASES.items()
        if group in said
        and dotted not in said
        and str(OmegaConf.select(composed, dotted, throw_on_resolution_failure=False)) != said[group]
    ]


def _put_back(composed: DictConfig, alone: DictConfig, options: list[str]) -> None:
    """Sets options as they are without the study, whose body Hydra merges after the groups."""
    plain: Any = OmegaConf.to_container(alone)
    for dotted in options:
        value = plain
        for part in dotted.split("."):
            value = value[part]
        if value != "???":
            OmegaConf.update(composed, dotted, value)


def plain_error(error: Exception) -> ConfigError:
    """An error of Hydra's or OmegaConf's in one line."""
    cause = error.__cause__ if isinstance(error.__cause__, OmegaConfBaseException) else ""
    if isinstance(cause, UNKNOWN) and str(cause.full_key).startswith("hydra.launcher."):
        known = ", ".join(name for name in cause.parent_node or () if name != "_target_") or "none"
        return ConfigError(f"{cause.full_key}: the chosen hydra/launcher has no such option; it has {known}")
    return ConfigError(" ".join(f"{error} {cause}".split()))


def search_path() -> list[str]:
    """The override that adds the working folder's own `conf`, where it has one."""
    added = [folder for folder in conf_dirs() if folder != conf_dir()]
    quoted = [QuotedString(f"file://{folder}", Quote.single).with_quotes() for folder in added]
    return [f"hydra.searchpath=[{','.join(quoted)}]"] if added else []


def to_run_config(composed: DictConfig) -> RunConfig:
    """The typed config of a composition, automatic values filled in, not yet checked."""
    node = OmegaConf.masked_copy(composed, [str(key) for key in composed if key != "hydra"])
    try:
        filled: Any = OmegaConf.structured(RunConfig)
        filled.merge_with(node)
        cfg = OmegaConf.to_object(filled)
    except OmegaConfBaseException as error:
        raise ConfigError(f"{error.full_key or 'config'}: {str(error).splitlines()[0]}") from error
    cfg.store = str(Path(cfg.store).expanduser())  # type: ignore[union-attr]
    return resolve(cfg)  # type: ignore[arg-type]


def study_of(composed: DictConfig) -> str | None:
    """The study file that a composition chose."""
    name = composed.hydra.runtime.choices.get("study")
    return None if name in (None, "none") else str(name)
