"""The table's declaration: what the study says, with the command line's words over it, checked."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from cbam_ablate.aggregate.layout import Setting, follows, varying_axes
from cbam_ablate.aggregate.names import find_axis
from cbam_ablate.aggregate.records import SEED, Place, Study
from cbam_ablate.config.errors import ConfigError
from cbam_ablate.config.overrides import same, spell
from cbam_ablate.config.schema import TableConfig


def read_options(study: Study, values: Mapping[str, Any] | None = None) -> TableConfig:
    """The study's `table` section with `values`, by names like `table.rows` or `rows`, put over it.

    Sections such as labels are merged. Raises `ConfigError` for an unknown option or one of a wrong type.
    """
    kinds = {name.name: getattr(TableConfig(), name.name) for name in dataclasses.fields(TableConfig)}
    declared: dict[str, Any] = {}
    for name, value in study.table.items():
        if name in kinds:
            declared[name] = value
        else:
            study.warnings.append(f"The study's table has an option {name} that this version doesn't know.")
    for name, value in (values or {}).items():
        bare = name.removeprefix("table.")
        if bare not in kinds:
            raise ConfigError(f"table.{bare}: no such option; there are {', '.join(kinds)}")
        merged = isinstance(value, Mapping) and isinstance(declared.get(bare), Mapping)
        declared[bare] = {**declared[bare], **value} if merged else value
    for name, value in declared.items():
        wanted = type(kinds[name])
        if wanted in (list, dict) and not isinstance(value, wanted):
            raise ConfigError(f"table.{name}={value}: must be a {'list' if wanted is list else 'mapping'}")
    return TableConfig(**declared)


def axis_named(option: str, name: str, study: Study) -> str:
    """The option of a run that a table's option names: a swept axis, or what all runs share.

    A study's table may be declared for axes that this sweep of it held fixed. Raises `ConfigError` for a name
    that is neither.
    """
    axes = [*axes_of(study), *([SEED] if SEED in study.axes else [])]
    found = find_axis(name, axes) or find_axis(name, study.constants)
    if found is None:
        listed = ", ".join(axes) or "nothing"
        raise ConfigError(f"table.{option}: {name} is not an axis of this study; it swept {listed}")
    return found


def matches(axes: Mapping[str, Any], wanted: Mapping[str, Any], study: Study) -> bool:
    """Whether a setting has the wanted values, of its axes or of what all runs share."""
    return all(same(axes.get(name, study.constants.get(name)), value) for name, value in wanted.items())


def axes_of(study: Study) -> list[str]:
    """The names of the swept axes, the seed's left out, in declared order."""
    names = list(study.axes)
    for place in study.places:
        for name in place.axes:
            if name not in names:
                names.append(name)
                study.warnings.append(f"A cell of the manifest has an axis {name} that its axes don't list.")
    return [name for name in names if name != SEED]


def keep(study: Study, options: TableConfig) -> list[Place]:
    """The places that pass the filters; an axis without effect passes any filter on it.

    Raises `ConfigError` where none is left, or a filter names no axis or no value of it.
    """
    places = study.places
    for name, wanted in options.filters.items():
        axis = axis_named("filters", name, study)
        values = wanted if isinstance(wanted, list) else [wanted]
        known = study.axes.get(axis, [study.constants.get(axis)])
        for value in values:
            if not any(same(value, other) for other in known):
                listed = ", ".join(spell(other) for other in known)
                raise ConfigError(f"table.filters.{name}={spell(value)}: {axis} took {listed}")
        places = [
            place
            for place in places
            if place.axes.get(axis) is None or any(same(place.axes[axis], value) for value in values)
        ]
    if not places:
        raise ConfigError("table.filters: no cell of the study passes them all")
    return places


def split_axes(study: Study, options: TableConfig, settings: list[Setting]) -> tuple[list[str], list[str]]:
    """Axes down the side and across. Those named in neither go down: no row pools different settings.

    But an axis that only changes together with one across goes across too.
    """
    axes = axes_of(study)
    varying = varying_axes(settings, axes)
    down = [axis_named("rows", name, study) for name in options.rows]
    across = [axis_named("columns", name, study) for name in options.columns]
    twice = [name for name in down if name in across]
    if twice:
        raise ConfigError(f"table.rows: {twice[0]} is in table.columns too; an axis goes one way")
    study.warnings += [
        f"{name} was not swept: it is {spell(study.constants[name])} in every run."
        for name in dict.fromkeys([*down, *across])
        if name not in axes and name != SEED
    ]
    if SEED in [*down, *across]:
        study.warnings.append("seed makes no rows or columns: each result takes in all its seeds.")
    rest = [name for name in axes if name not in [*down, *across] and name in varying]
    across = [name for name in dict.fromkeys(across) if name in varying]
    across += [name for name in rest if follows(settings, name, across)]
    shown = [name for name in dict.fromkeys([*down, *rest]) if name in axes and name not in across]
    return shown, across
