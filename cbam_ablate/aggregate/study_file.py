"""What a study's file has for tables and figures, which may have changed since the study was trained."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from cbam_ablate.aggregate.options import merge_options
from cbam_ablate.aggregate.records import Study
from cbam_ablate.config.options import coerce
from cbam_ablate.config.output import FigureConfig, width_of
from cbam_ablate.config.where import conf_dirs
from cbam_ablate.errors import ConfigError


def declared_now(study: Study) -> dict[str, Any]:
    """The study file's table section with the words of the command that trained it over it.

    Where that command named no study file, or the file is gone, what was declared then. Raises `ConfigError`
    for a file that can't be read.
    """
    section = _section(study, "table")
    return study.table if section is None else merge_options(section, _told(study, "table"))


def figures_now(study: Study, values: Mapping[str, Any]) -> FigureConfig:
    """The study file's figure section, over it the words of that command, over these `values`.

    Raises `ConfigError`.
    """
    told = {**(_section(study, "figure") or {}), **_told(study, "figure"), **values}
    style = FigureConfig(**{name: coerce(f"figure.{name}", value) for name, value in told.items()})
    width_of(style)
    return style


def _section(study: Study, name: str) -> dict[str, Any] | None:
    """A section of the study's file, or None where there is no file. Raises `ConfigError`."""
    if f"study={study.name}" not in study.command:
        return None
    files = [(folder, folder / "study" / f"{study.name}.yaml") for folder in conf_dirs()]
    folder, path = next((found for found in files if found[1].is_file()), (None, Path()))
    if folder is None:
        return None
    from cbam_ablate.config.own_source import read_own

    try:
        content: Any = OmegaConf.to_container(read_own(folder, path)[0])
    except (OSError, OmegaConfBaseException, YAMLError) as error:
        raise ConfigError(f"{path}: can't be read ({' '.join(str(error).split())[:200]})") from error
    section = content.get(name) if isinstance(content, dict) else None
    if section is not None and not isinstance(section, dict):
        raise ConfigError(f"{path}: its {name} section must be a mapping")
    return section or {}


def _told(study: Study, section: str) -> dict[str, Any]:
    """The words of the study's command about a section; of names inside an option a mapping."""
    words = [word for word in study.command[1:] if word.startswith(f"{section}.")]
    if not words:  # for none Hydra needn't be imported
        return {}
    from cbam_ablate.config.overrides import parse

    told: dict[str, Any] = {}
    for word in parse(words):
        name, _, inner = word.name.removeprefix(f"{section}.").partition(".")
        value = word.values[0]
        told[name] = {**told.get(name, {}), inner: value} if inner else value
    return told
