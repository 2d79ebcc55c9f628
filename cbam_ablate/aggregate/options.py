"""The table's declaration: what the study says, with the command line's words over it, checked."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from cbam_ablate.aggregate.names import find_axis, same, spell
from cbam_ablate.aggregate.records import SEED, Place, Study
from cbam_ablate.config.errors import ConfigError
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


def axis_named(option: str, name: str, axes: list[str]) -> str:
    """The axis an option names. Raises `ConfigError` for one that was not swept."""
    found = find_axis(name, axes)
    if found is None:
        listed = ", ".join(axes) or "none"
        raise ConfigError(f"table.{option}: {name} is not an axis of this study; it swept {listed}")
    return found


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
        axis = axis_named("filters", name, [*axes_of(study), *([SEED] if SEED in study.axes else [])])
        values = wanted if isinstance(wanted, list) else [wanted]
        for value in values:
            if not any(same(value, known) for known in study.axes.get(axis, [])):
                listed = ", ".join(spell(known) for known in study.axes.get(axis, []))
                raise ConfigError(f"table.filters.{name}={spell(value)}: {axis} took {listed}")
        places = [
            place
            for place in places
            if place.axes.get(axis) is None or any(same(place.axes[axis], value) for value in values)
        ]
    if not places:
        raise ConfigError("table.filters: no cell of the study passes them all")
    return places


def split_axes(options: TableConfig, axes: list[str], varying: set[str]) -> tuple[list[str], list[str]]:
    """Axes down the side and across. Those named in neither go down: no row pools different settings."""
    down = [axis_named("rows", name, axes) for name in options.rows]
    across = [axis_named("columns", name, axes) for name in options.columns]
    twice = [name for name in down if name in across]
    if twice:
        raise ConfigError(f"table.rows: {twice[0]} is in table.columns too; an axis goes one way")
    rest = [name for name in axes if name not in [*down, *across] and name in varying]
    return [*dict.fromkeys(down), *rest], list(dict.fromkeys(across))
