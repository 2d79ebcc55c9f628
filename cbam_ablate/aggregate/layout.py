"""Rows from runs: one row for each setting of the swept axes, its runs by seed."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cbam_ablate.aggregate.names import Names
from cbam_ablate.aggregate.records import SEED, Point, Record, Study
from cbam_ablate.config.canonical import measured
from cbam_ablate.config.options import difference, same, spell
from cbam_ablate.errors import StoreError

Matrix = NDArray[np.float64]


@dataclass
class Setting:
    """The runs of one row: for each seed, the records of its distinct runs (normally one).

    `other_network` is of a row whose network is none that the study's file declares.
    """

    axes: dict[str, Any]
    by_seed: dict[str, list[Record]] = field(default_factory=dict)
    other_network: bool = False

    @cached_property
    def records(self) -> list[Record]:
        return [record for records in self.by_seed.values() for record in records]

    @cached_property
    def finished(self) -> list[Record]:
        return [record for record in self.records if record.finished]

    @cached_property
    def n(self) -> int:
        """Seeds with at least one finished run."""
        return sum(any(record.finished for record in records) for records in self.by_seed.values())

    def missing(self) -> dict[str, int]:
        """What became of the runs that are not finished, and how often."""
        return dict(Counter(record.why for record in self.records if not record.finished))

    def values(self, metric: str) -> dict[str, float]:
        """The metric by seed. Several runs of one seed count once, by their mean."""
        found: dict[str, float] = {}
        for seed, records in self.by_seed.items():
            if len(records) == 1:
                if metric in records[0].values:
                    found[seed] = records[0].values[metric]
            elif known := [record.values[metric] for record in records if metric in record.values]:
                found[seed] = sum(known) / len(known)
        return found


def hashable(value: Any) -> Any:
    """An axis value as a dictionary's key; True and 1 stay apart."""
    return (repr(value),) if isinstance(value, list) else (value, type(value) is bool)


def point(axes: Mapping[str, Any]) -> tuple[Any, ...]:
    """The values of the axes as a dictionary's key."""
    return tuple(hashable(value) for value in axes.values())


def settings_of(study: Study, places: Iterable[Point], axes: list[str]) -> list[Setting]:
    """The settings in the manifest's order. Two runs of one setting and seed become a warning."""
    found: dict[tuple[Any, ...], Setting] = {}
    constant = study.constants.get(SEED)
    for place in places:
        chosen = {name: place.axes.get(name) for name in axes}
        here = point(chosen)
        setting = found.get(here) or found.setdefault(here, Setting(chosen))
        setting.other_network = place.key in study.other_networks
        own = study.runs.get(place.key, {}).get(SEED, constant)
        records = setting.by_seed.setdefault(spell(place.axes.get(SEED, own)), [])
        record = study.records[place.key]
        if record not in records:
            records.append(record)
    names = Names({}, axes)
    for setting in found.values():
        for seed, records in setting.by_seed.items():
            if len(records) > 1:
                _refuse_pooled(study, setting_text(setting.axes, names), seed, records)
                keys = ", ".join(record.key for record in records)
                study.warnings.append(
                    f"{setting_text(setting.axes, names)} has {len(records)} runs of seed {seed} ({keys}); "
                    "their mean counts as one seed."
                )
    return list(found.values())


def _refuse_pooled(study: Study, setting: str, seed: str, records: list[Record]) -> None:
    """Raises `StoreError` where the runs of one setting and seed were of different configs."""
    every = [study.config(record.key) for record in records]
    first, *others = ({name: own[name] for name in own.keys() & measured()} for own in every)
    for record, config in zip(records[1:], others, strict=True):
        if told := difference(first, config):
            raise StoreError(
                f"study {study.name}: {records[0].key} and {record.key} are both seed {seed} of {setting}, "
                f"and aren't the same run: {told}. Sweep them under values of their own"
            )


def varying_axes(settings: list[Setting], axes: list[str]) -> set[str]:
    """The axes that take more than one value, having no effect being one."""
    taken = {name: {hashable(setting.axes[name]) for setting in settings} for name in axes}
    return {name for name, values in taken.items() if len(values) > 1}


def follows(settings: list[Setting], name: str, leaders: Iterable[str]) -> bool:
    """Whether an axis only ever changes together with one of the leaders, as zipped axes do."""
    for leader in leaders:
        taken = {hashable(setting.axes[leader]) for setting in settings}
        both = {(hashable(setting.axes[leader]), hashable(setting.axes[name])) for setting in settings}
        if len(taken) == len(both):
            return True
    return False


def arrange(settings: list[Setting], order: list[str], values: dict[str, list[Any]]) -> list[Setting]:
    """Settings sorted by the axes in `order`, each by the manifest's order of its values, no effect first."""
    places = {
        name: {hashable(value): index for index, value in enumerate([None, *values.get(name, [])])}
        for name in order
    }

    def place(setting: Setting) -> list[int]:
        return [places[name].get(hashable(setting.axes[name]), len(places[name])) for name in order]

    return sorted(settings, key=place)


def matrix(settings: list[Setting], seeds: list[str], metric: str) -> Matrix:
    """(settings, seeds) results of a metric, NaN where a run is missing."""
    column = {seed: index for index, seed in enumerate(seeds)}
    found = np.full((len(settings), len(seeds)), np.nan)
    for index, setting in enumerate(settings):
        for seed, value in setting.values(metric).items():
            found[index, column[seed]] = value
    return found


def baselines(settings: list[Setting], wanted: dict[str, Any]) -> list[int | None]:
    """For each setting the index of its baseline: the one with the wanted values, and otherwise like it.

    An axis without effect on the baseline may have any value in the setting, and so may one that only changes
    together with a wanted axis. None for a setting that has no such baseline, or several, and for all where
    nothing is wanted.
    """
    if not wanted:
        return [None] * len(settings)
    bound = {name for name in settings[0].axes if name in wanted or follows(settings, name, wanted)}
    # Candidates by the axes that have an effect on them, then by those axes' values.
    known: dict[tuple[str, ...], dict[tuple[str, ...], list[int]]] = {}
    for index, setting in enumerate(settings):
        if all(same(setting.axes[name], value) for name, value in wanted.items()):
            free = tuple(n for n, value in setting.axes.items() if n not in bound and value is not None)
            values = tuple(spell(setting.axes[name]) for name in free)
            known.setdefault(free, {}).setdefault(values, []).append(index)
    found: list[int | None] = []
    for setting in settings:
        alike: list[int] = []
        for free, by_values in known.items():
            alike += by_values.get(tuple(spell(setting.axes[name]) for name in free), [])
        found.append(alike[0] if len(alike) == 1 else None)
    return found


def setting_text(axes: dict[str, Any], names: Names) -> str:
    """A setting in words: `placement block, kernel 7`; axes without effect are left out."""
    parts = [
        f"{names.axis(name)} {names.value(name, value)}" for name, value in axes.items() if value is not None
    ]
    return ", ".join(parts) or "the only setting"
