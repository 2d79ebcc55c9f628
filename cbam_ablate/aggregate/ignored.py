"""What of a table's declaration changes nothing in a sweep, said before anything runs."""

from collections.abc import Iterator, Mapping
from typing import Any

from cbam_ablate.aggregate.declared import Declared
from cbam_ablate.aggregate.layout import Setting
from cbam_ablate.aggregate.metrics import METRICS, default_costs
from cbam_ablate.aggregate.names import Names
from cbam_ablate.aggregate.notes import of_no_metric
from cbam_ablate.aggregate.options import axis_named, not_swept, passes, taken
from cbam_ablate.aggregate.references import read_published, read_references
from cbam_ablate.config.output import TableConfig


def ignored(options: TableConfig, declared: Declared, own: Mapping[str, str] | None = None) -> list[str]:
    """A sentence for each label, direction, axis and published number without effect, of good options."""
    found = [*_labels(options, declared), *_axes(options, declared)]
    found += of_no_metric(options, options.metrics, own or {})
    if options.by is None:
        found += _numbers(options, declared)
    return list(dict.fromkeys(found))


def _labels(options: TableConfig, declared: Declared) -> list[str]:
    names = Names(options.labels, declared.axes)
    every = _every(declared)
    # A caption may hold what all runs share.
    for name, values in {**{name: [value] for name, value in declared.constants.items()}, **every}.items():
        names.axis(name)
        for value in values:
            names.value(name, value)
    return names.unused(every, [*METRICS, *options.metrics])


def _every(declared: Declared) -> Mapping[str, list[Any]]:
    """All values of each axis, those too that only the study declares."""
    names = {*declared.axes, *declared.replaced}
    return {name: [*declared.axes.get(name, []), *declared.replaced.get(name, [])] for name in names}


def _axes(options: TableConfig, declared: Declared) -> list[str]:
    named = [
        axis_named(option, name, declared)
        for option in ("groups", "rows", "columns")
        for name in getattr(options, option)
    ]
    return not_swept(named, declared)


def _numbers(options: TableConfig, declared: Declared) -> Iterator[str]:
    """Published numbers that have no row or column."""
    filters = taken("filters", options.filters, declared)
    settings = [
        Setting(dict(cell), other_network=index in declared.other_networks)
        for index, cell in enumerate(declared.cells)
        if passes(cell, filters)
    ]
    across = [axis_named("columns", name, declared) for name in options.columns]
    across = [name for name in across if len(declared.axes.get(name, [])) > 1]
    costs = options.costs if options.costs is not None else default_costs(bool(across))
    shown = [*options.metrics, *costs]
    yield from read_references(options.references, settings, declared, shown)[1]
    yield from read_published(options.published, declared, shown, across)[1]
