"""The table's declaration: the study file's section with the command line's words over it."""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from cbam_ablate.aggregate.layout import Setting, follows, hashable, varying_axes
from cbam_ablate.aggregate.names import find_axis
from cbam_ablate.aggregate.records import SEED, Point, Study
from cbam_ablate.config.options import coerce, same, spell
from cbam_ablate.config.output import TableConfig
from cbam_ablate.errors import ConfigError


class Swept(Protocol):
    """What a study varies, each axis's values by its dotted name, and what all its runs share."""

    @property
    def axes(self) -> Mapping[str, list[Any]]: ...
    @property
    def constants(self) -> Mapping[str, Any]: ...


def read_options(
    declared: Mapping[str, Any], values: Mapping[str, Any] | None = None
) -> tuple[TableConfig, list[str]]:
    """The declared section with `values`, by names like `table.rows` or `rows`, put over it; and what is odd.

    Sections such as labels are merged. Raises `ConfigError` for an unknown option or one of a wrong type.
    """
    known = {field.name for field in dataclasses.fields(TableConfig)}
    section = {name: value for name, value in declared.items() if name in known}
    odd = [
        f"The study's table has an option {name} that this version doesn't know."
        for name in declared
        if name not in known
    ]
    section = merge_options(section, values or {})
    wrong = [name for name in section if name not in known]
    if wrong:
        raise ConfigError(f"table.{wrong[0]}: no such option; there are {', '.join(sorted(known))}")
    kinds = {name: type(getattr(TableConfig(), name)) for name in known}
    for name, value in section.items():
        if kinds[name] in (list, dict) and not isinstance(value, kinds[name]):
            kind = "list" if kinds[name] is list else "mapping"
            raise ConfigError(f"table.{name}={value}: must be a {kind}")
    as_is = {name: value for name, value in section.items() if type(value) is kinds[name]}
    others = {name: coerce(f"table.{name}", value) for name, value in section.items() if name not in as_is}
    return TableConfig(**as_is, **others), odd


def merge_options(section: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Options by bare name, those of `values` over those of `section`; mappings are merged."""
    merged = dict(section)
    for name, value in values.items():
        bare = name.removeprefix("table.")
        both = isinstance(value, Mapping) and isinstance(merged.get(bare), Mapping)
        merged[bare] = {**merged[bare], **value} if both else value
    return merged


def axis_named(option: str, name: str, swept: Swept) -> str:
    """The option of a run that a table's option names: a swept axis, or what all runs share.

    A study's table may be declared for axes that this sweep of it held fixed. Raises `ConfigError` for a name
    that is neither.
    """
    found = find_axis(name, swept.axes) or find_axis(name, swept.constants)
    if found is None:
        listed = ", ".join(axis for axis in swept.axes if axis != SEED) or "nothing"
        raise ConfigError(f"table.{option}: {name} is not an axis of this study; it swept {listed}")
    return found


def values_of(axis: str, swept: Swept) -> list[Any]:
    """The values that an axis took, or what all runs share."""
    return list(swept.axes.get(axis, [swept.constants.get(axis)]))


def matches(axes: Mapping[str, Any], wanted: Mapping[str, Any], swept: Swept) -> bool:
    """Whether a setting has the wanted values, of its axes or of what all runs share."""
    return all(same(axes.get(name, swept.constants.get(name)), value) for name, value in wanted.items())


def passes(axes: Mapping[str, Any], filters: Mapping[str, list[Any]]) -> bool:
    """Whether a setting passes the filters; an axis without effect passes any filter on it."""
    return all(
        axes.get(axis) is None or any(same(axes[axis], value) for value in values)
        for axis, values in filters.items()
    )


def axes_of(study: Study) -> list[str]:
    """The names of the swept axes, the seed's left out, in declared order."""
    return [name for name in study.axes if name != SEED]


def taken(option: str, declared: Mapping[str, Any], swept: Swept) -> dict[str, list[Any]]:
    """Values by axis, as `filters` and `order` declare them. Raises `ConfigError` for what no axis took."""
    found = {}
    for name, wanted in declared.items():
        axis = axis_named(option, name, swept)
        values, known = wanted if isinstance(wanted, list) else [wanted], values_of(axis, swept)
        for value in values:
            if not any(same(value, other) for other in known):
                listed = ", ".join(spell(other) for other in known)
                raise ConfigError(f"table.{option}.{name}={spell(value)}: {axis} took {listed}")
        found[axis] = values
    return found


def keep(study: Study, options: TableConfig) -> list[Point]:
    """The places that pass the filters.

    Raises `ConfigError` where none is left, or a filter names no axis or no value of it.
    """
    filters = taken("filters", options.filters, study)
    places = [place for place in study.places if passes(place.axes, filters)]
    if not places:
        raise ConfigError("table.filters: no cell of the study passes them all")
    return places


def ordered_values(study: Study, options: TableConfig) -> dict[str, list[Any]]:
    """Each axis's values as they are shown: as `order` lists them, else as a filter does, then the others."""
    wanted = {**taken("filters", options.filters, study), **taken("order", options.order, study)}
    found = {name: list(values) for name, values in study.axes.items()}
    for axis, first in wanted.items():
        known = found.get(axis, [])
        listed = [value for one in first for value in known if same(one, value)]
        found[axis] = list({hashable(value): value for value in [*listed, *known]}.values())
    return found


def split_axes(study: Study, options: TableConfig, settings: list[Setting]) -> tuple[list[str], list[str]]:
    """Axes down the side and across. Those named in neither go down: no row pools different settings.

    Groups come first. An axis that only changes together with one across goes across too.
    """
    axes = axes_of(study)
    varying = varying_axes(settings, axes)
    grouped = _named("groups", options.groups, study)
    down = [*grouped, *_named("rows", options.rows, study)]
    across = _named("columns", options.columns, study)
    one_way(down, across)
    study.warnings += not_swept([*down, *across], study)
    rest = [name for name in axes if name not in [*down, *across] and name in varying]
    across = [name for name in dict.fromkeys(across) if name in varying]
    across += [name for name in rest if follows(settings, name, across)]
    shown = [name for name in dict.fromkeys([*down, *rest]) if name in axes and name not in across]
    return shown, across


def not_swept(named: Iterable[str], swept: Swept) -> list[str]:
    """A sentence for each of the named axes that makes no rows or columns."""
    found = [
        f"{name} was not swept: it is {spell(swept.constants[name])} in every run."
        for name in dict.fromkeys(named)
        if name not in swept.axes and name != SEED
    ]
    return [
        *found,
        *["seed makes no rows or columns: each result takes in all its seeds."] * (SEED in set(named)),
    ]


def one_way(down: Iterable[str], across: Iterable[str]) -> None:
    """Raises `ConfigError` for an axis that goes down the side and across."""
    twice = [name for name in down if name in set(across)]
    if twice:
        raise ConfigError(f"table.rows: {twice[0]} is in table.columns too; an axis goes one way")


def _named(option: str, names: Iterable[str], swept: Swept) -> list[str]:
    return [axis_named(option, name, swept) for name in names]
