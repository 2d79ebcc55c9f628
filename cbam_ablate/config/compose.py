"""From the tokens of the command line to one typed, checked config, by way of Hydra.

Hydra's global state is left alone: a program that uses Hydra itself keeps its own.
"""

import copy
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn, Self, cast

import hydra
from hydra import version
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import ConfigRepository, IConfigRepository
from hydra._internal.utils import create_config_search_path
from hydra.core.config_search_path import ConfigSearchPath, SearchPathQuery
from hydra.core.config_store import ConfigStore
from hydra.core.default_element import ResultDefault
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import setup_globals
from hydra.errors import HydraException
from hydra.plugins.config_source import ConfigLoadError, ConfigResult
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, flag_override
from omegaconf.errors import (
    ConfigAttributeError,
    ConfigKeyError,
    MissingMandatoryValue,
    OmegaConfBaseException,
)
from yaml import YAMLError

from cbam_ablate.config.canonical import leaves, resolved
from cbam_ablate.config.options import ALIASES, check_store, schema_node
from cbam_ablate.config.overrides import Token, parse, verify
from cbam_ablate.config.own_choices import SCHEME
from cbam_ablate.config.own_files import problems
from cbam_ablate.config.own_source import SCHEME as OWN_FILES
from cbam_ablate.config.rules import check
from cbam_ablate.config.schema import RunConfig
from cbam_ablate.config.where import (
    SCHEMA,
    conf_dir,
    conf_dirs,
    groups,
    looking,
    main_config,
    searched,
    standing,
)
from cbam_ablate.errors import ConfigError

WITH_BASES = hydra.__version__.startswith("1.3.")
"""Whether this Hydra asks which version's defaults are meant; 1.4 warns of whoever says it."""
LATELY = 4
"""Compositions that a command comes back to: its own, and those of the study it is held against."""
UNKNOWN = (ConfigAttributeError, ConfigKeyError)
"""What OmegaConf raises for a name that isn't there."""

ConfigStore.instance().store(name=SCHEMA, node=schema_node())


def load_config(overrides: Iterable[str] = ()) -> RunConfig:
    """The config that these tokens of the command line make: typed, automatic values filled in, checked.

    Raises `ConfigError` with one line for each thing wrong: the value, the rule, the alternatives. Of an
    option given twice the last counts, as in Hydra's `compose`, so that a list of words can be varied:
    `load_config([*words, "seed=1"])`. A command line, where that would be a slip, refuses it.
    """
    overrides = list(overrides)
    with looking(more=searched(overrides)):
        tokens = parse(overrides)
        verify(tokens, sweeping=False)
        return check(to_run_config(compose(tokens)))


class Loader(ConfigLoaderImpl):
    """Hydra's, which composes a file of ours alike whatever else is installed.

    Hydra 1.3 holds a file against a schema of the same name, such as that of the official plugin's
    `hydra/launcher=submitit_slurm`, which has not the same options.
    """

    def __init__(self, path: ConfigSearchPath) -> None:
        super().__init__(path)
        self.repository = _Repository(path)
        self._layers: list[ResultDefault] = []
        self._made: dict[tuple[str, ...], tuple[DictConfig, list[ResultDefault]]] = {}

    def composed(self, name: str, tokens: Sequence[Token]) -> tuple[DictConfig, list[ResultDefault]]:
        """A config, and the files that are laid over each other for it, in order.

        What was asked for lately isn't composed again.
        """
        lines = [token.for_hydra for token in tokens]
        asked = (name, *lines)
        if asked not in self._made:
            config = self.load_configuration(name, lines, RunMode.RUN, from_shell=False)
            if len(self._made) == LATELY:
                del self._made[next(iter(self._made))]
            self._made[asked] = config, self._layers
        return self._made[asked]

    def _compose_config_from_defaults_list(
        self, defaults: list[ResultDefault], repo: IConfigRepository
    ) -> DictConfig:
        self._layers = defaults
        return super()._compose_config_from_defaults_list(defaults, repo)

    def _load_single_config(self, default: ResultDefault, repo: IConfigRepository) -> ConfigResult:
        return super()._load_single_config(default, cast(IConfigRepository, _Unmatched(repo)))

    def load_sweep_config(self, master_config: DictConfig, sweep_overrides: list[str]) -> DictConfig:
        """A job's config: the sweep's, which a study made too, with the job's own values.

        Hydra composes it anew from the command line alone.
        """
        job = copy.deepcopy(master_config)
        with flag_override(job, ["readonly", "struct"], False):
            for override in OverridesParser.create().parse_overrides(sweep_overrides):
                OmegaConf.update(job, override.key_or_group, override.value())
            job.hydra.overrides.task = list(sweep_overrides)
        return job


class _Repository(ConfigRepository):
    """Hydra's, of which it makes a copy for each composition: a copy reads from the same sources."""

    def __deepcopy__(self, memo: object) -> Self:
        return copy.copy(self)


class _Unmatched:
    def __init__(self, repo: IConfigRepository) -> None:
        self.load_config = repo.load_config

    def get_schema_source(self) -> NoReturn:
        raise ConfigLoadError("files are composed as they are")


def make_loader() -> Loader:
    """Hydra's loader of our groups, and of those in folders of the user's own, which come first."""
    if not OmegaConf.has_resolver("hydra"):
        setup_globals()
    path = create_config_search_path(str(conf_dir()))
    for folder in conf_dirs()[:-1]:
        path.prepend("own", f"{OWN_FILES}://{folder}", SearchPathQuery(provider="main"))
    path.prepend("own parts", f"{SCHEME}://", SearchPathQuery(provider="schema"))
    return Loader(path)


def compose(tokens: Sequence[Token], loader: Loader | None = None, name: str = "") -> DictConfig:
    """Hydra's composition of tokens of one value each, the `hydra` node included. Nobody may change it."""
    loader, name = loader or make_loader(), name or main_config()
    with hydras_own(tokens):
        composed, _ = loader.composed(name, tokens)
        bodies = {"study", *(groups() - standing())}
        plain = study_of(composed) is None and not any(token.name in bodies for token in tokens)
        overruled = [] if plain else _overruled(composed, tokens)
        if overruled:
            composed = copy.deepcopy(composed)
            (none,) = parse(["study=none"])
            own = [*(token for token in tokens if token.name not in bodies), none]
            _put_back(composed, loader.composed(name, own)[0], overruled)
    return composed


def layers_of(tokens: Sequence[Token], loader: Loader) -> list[ResultDefault]:
    """The files that Hydra lays over each other for these tokens, in its order."""
    with hydras_own(tokens):
        return loader.composed(main_config(), tokens)[1]


@contextmanager
def hydras_own(tokens: Sequence[Token] = ()) -> Iterator[None]:
    """Hydra with the defaults of 1.3 and up, errors in one line each; afterwards as the program had it.

    Where a file of the user's own is why these tokens can't be composed, its mistakes are told instead.
    """
    base = version.VersionBase.instance()
    before = base.getbase()
    if WITH_BASES:
        version.setbase("1.3")
    try:
        yield
    except ConfigError:
        raise
    except (HydraException, OmegaConfBaseException, YAMLError, ValueError) as error:
        lines = problems([(token.name, token.value_text) for token in tokens], error)
        if lines:
            raise ConfigError("\n".join(lines)) from error
        raise plain_error(error) from error
    finally:
        base.version_base = before


def _overruled(composed: DictConfig, tokens: Sequence[Token]) -> list[str]:
    """The options that a group in these tokens chooses and whose value isn't called like the choice."""
    chosen = {token.name: token.value_text for token in tokens if not token.override.is_delete()}
    return [
        dotted
        for group, dotted in ALIASES.items()
        if group in chosen
        and dotted not in chosen
        and str(OmegaConf.select(composed, dotted, throw_on_resolution_failure=False)) != chosen[group]
    ]


def _put_back(composed: DictConfig, alone: DictConfig, options: list[str]) -> None:
    """Sets options as they are without the files whose bodies Hydra merges after the groups."""
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


def to_run_config(composed: DictConfig) -> RunConfig:
    """The typed config of a composition, automatic values filled in, not yet checked."""
    return resolved(typed(composed))


def file_of(loader: Loader, path: str) -> Path | None:
    """Where a config such as `study/placement` is read from; None where it is in no folder."""
    for source in loader.get_sources():
        if source.scheme() in ("file", OWN_FILES) and source.available() and source.is_config(path):
            return Path(source.path) / f"{path}.yaml"
    return None


def typed(composed: DictConfig) -> RunConfig:
    """The typed config of a composition, automatic values as they are."""
    node = OmegaConf.masked_copy(composed, [str(key) for key in composed if key != "hydra"])
    try:
        filled = schema_node()
        filled.merge_with(node)
        cfg: Any = OmegaConf.to_object(filled)
    except MissingMandatoryValue as error:
        raise ConfigError(f"{error.full_key}: has no value; pick a choice of its group, or set it") from error
    except OmegaConfBaseException as error:
        where = error.full_key or _unreadable(node)
        raise ConfigError(f"{where}: {str(error).splitlines()[0]}") from error
    for name, field, value in leaves(cfg):
        wanted = type(field.default_factory()) if callable(field.default_factory) else object
        if wanted in (dict, list) and value is not None and not isinstance(value, wanted):
            raise ConfigError(f"{name}={value}: must be a {'mapping' if wanted is dict else 'list'}")
    cfg.store = check_store(cfg.store)
    found: RunConfig = cfg
    return found


def _unreadable(node: DictConfig) -> str:
    """The option whose reference gives what it can't hold; OmegaConf 2.4 doesn't name it."""
    for name, _, _ in leaves(RunConfig()):
        try:
            OmegaConf.select(node, name)
        except OmegaConfBaseException:
            return name
    return "config"


def study_of(composed: DictConfig) -> str | None:
    """The study file that a composition chose."""
    name = composed.hydra.runtime.choices.get("study")
    return None if name in (None, "none") else str(name)
