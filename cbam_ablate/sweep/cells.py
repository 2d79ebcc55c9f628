"""From assignments to configs: Hydra composes each combination of choices once, values are set on it."""

import copy
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from omegaconf import DictConfig, OmegaConf

from cbam_ablate.config.canonical import OFF_THE_SHELF, effective, leaves, resolve, run_key
from cbam_ablate.config.compose import compose_words, to_run_config
from cbam_ablate.config.errors import UserError
from cbam_ablate.config.overrides import coerce, groups
from cbam_ablate.config.rules import violations
from cbam_ablate.config.schema import RunConfig
from cbam_ablate.sweep.declare import Assignment, value_text


@dataclass
class Cell:
    """One combination of axis values, and the run that serves it.

    `axes` are the values that take effect, None where an axis has none in this cell; a null is the text null.
    """

    said: str
    axes: dict[str, Any]
    cfg: RunConfig
    key: str
    broken: list[str]


def make_cells(fixed: list[str], assignments: Iterable[Assignment], axes: list[str]) -> list[Cell]:
    """The cells of a sweep. Those that break a rule carry their violations instead of a key."""
    compose_once = _composer(fixed)
    cells = []
    for assignment in assignments:
        said = " ".join(f"{word.name}={value_text(word)}" for word in assignment.values())
        try:
            cfg = compose_once(assignment)
            broken = violations(cfg)
        except UserError as error:
            cells.append(Cell(said, {}, RunConfig(), "", [str(error)]))
            continue
        key = "" if broken else run_key(cfg)
        values = {} if broken else _axis_values(cfg, assignment, axes)
        cells.append(Cell(said, values, cfg, key, broken))
    return cells


def _axis_values(cfg: RunConfig, assignment: Assignment, axes: list[str]) -> dict[str, Any]:
    known = effective(cfg)
    known |= {name: "null" for name in known.keys() - OFF_THE_SHELF if known[name] is None}
    every = {name for name, _, _ in leaves(cfg)}
    chosen = {name: value_text(word) for name, word in assignment.items()}
    return {name: known.get(name) if name in every else chosen.get(name) for name in axes}


def _composer(fixed: list[str]) -> Callable[[Assignment], RunConfig]:
    templates: dict[tuple[str, ...], DictConfig] = {}
    typed: dict[tuple[str, ...], RunConfig | None] = {}
    ours = groups()

    def compose_once(assignment: Assignment) -> RunConfig:
        choices = tuple(word.spelled for word in assignment.values() if word.name in ours)
        values = {word.name: word.values[0] for word in assignment.values() if word.name not in ours}
        if choices not in templates:
            composed = compose_words([*fixed, *choices])
            templates[choices] = composed
            plain = not _interpolates(composed)
            typed[choices] = to_run_config(composed) if plain else None
        template = typed[choices]
        if template is None:
            composed = copy.deepcopy(templates[choices])
            for name, value in values.items():
                OmegaConf.update(composed, name, coerce(name, value))
            return to_run_config(composed)
        cfg = copy.deepcopy(template)
        for name, value in values.items():
            section: Any = cfg
            *path, last = name.split(".")
            for part in path:
                section = getattr(section, part)
            setattr(section, last, coerce(name, value))
        return resolve(cfg)

    return compose_once


def _interpolates(composed: DictConfig) -> bool:
    plain = OmegaConf.to_container(
        OmegaConf.masked_copy(composed, [str(k) for k in composed if k != "hydra"])
    )
    return "${" in str(plain)
