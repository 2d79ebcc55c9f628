"""The table section of a study's file as it is now, which may have changed since the study was trained."""

from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from cbam_ablate.aggregate.options import merge_options
from cbam_ablate.aggregate.records import Study
from cbam_ablate.config.where import conf_dirs
from cbam_ablate.errors import ConfigError

PREFIX = "table."


def declared_now(study: Study) -> dict[str, Any]:
    """The study file's table section with the words of the command that trained it over it.

    Where that command named no study file, or the file is gone, what was declared then. Raises `ConfigError`
    for a file that can't be read.
    """
    if f"study={study.name}" not in study.command:
        return study.table
    files = [(folder, folder / "study" / f"{study.name}.yaml") for folder in conf_dirs()]
    folder, path = next((found for found in files if found[1].is_file()), (None, Path()))
    if folder is None:
        return study.table
    from cbam_ablate.config.overrides import parse
    from cbam_ablate.config.own_source import read_own

    try:
        content: Any = OmegaConf.to_container(read_own(folder, path)[0])
    except (OSError, OmegaConfBaseException, YAMLError) as error:
        raise ConfigError(f"{path}: can't be read ({' '.join(str(error).split())[:200]})") from error
    section = content.get("table") if isinstance(content, dict) else None
    if section is not None and not isinstance(section, dict):
        raise ConfigError(f"{path}: its table section must be a mapping")
    words = parse(word for word in study.command[1:] if word.startswith(PREFIX))
    told: dict[str, Any] = {}
    for word in words:
        name, _, inner = word.name.removeprefix(PREFIX).partition(".")
        value = word.values[0]
        told[name] = {**told.get(name, {}), inner: value} if inner else value
    return merge_options(section or {}, told)
