"""Main effects and two-way interactions of the swept axes, from contrasts within each seed.

A contrast is taken inside every seed and then averaged over seeds, so that it is paired like all the table's
differences and needs no assumption of equal variances. Rows where an axis has no effect don't enter its
effects; an axis that has no effect in some of the rows concerned is averaged over within them.
"""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cbam_ablate.aggregate import statistics
from cbam_ablate.aggregate.compare import Family
from cbam_ablate.aggregate.layout import Matrix, Setting, hashable
from cbam_ablate.aggregate.model import Effect, tidy, tidy_pair
from cbam_ablate.aggregate.statistics import Paired
from cbam_ablate.config.options import same


@dataclass
class Levels:
    """An axis's values that have an effect, and (settings,) which of them each setting has, -1 for none."""

    values: list[Any]
    codes: NDArray[np.int64]


@dataclass
class Contrast:
    """A difference between levels of one axis or two: its value in each complete seed."""

    axes: list[str]
    levels: list[Any]
    against: list[Any]
    by_seed: list[float]

    def paired(self) -> Paired:
        return statistics.paired(self.by_seed, [0.0] * len(self.by_seed))


def contrasts(
    settings: list[Setting], results: dict[str, Matrix], axes: list[str], reference: dict[str, Any]
) -> list[tuple[str, Contrast, Paired]]:
    """All effects on each quantity, (settings, seeds) by name, where two axes or more vary.

    Levels are compared with the first, or with the value that `reference` names for the axis.
    """
    design = {name: _levels(settings, name, reference.get(name)) for name in axes}
    factors = [name for name in axes if len(design[name].values) > 1]
    if len(factors) < 2:
        return []
    found = []
    for quantity, values in results.items():
        every = [contrast for name in factors for contrast in _main(design, values, name)]
        for pair in itertools.combinations(factors, 2):
            every += _interaction(design, values, pair)
        found += [(quantity, contrast, contrast.paired()) for contrast in every if contrast.by_seed]
    return found


def _levels(settings: list[Setting], name: str, reference: Any) -> Levels:
    """The levels of an axis, the reference first."""
    found = {hashable(s.axes[name]): s.axes[name] for s in settings if s.axes[name] is not None}
    order = sorted(found, key=lambda key: not same(found[key], reference))
    code = {key: index for index, key in enumerate(order)}
    codes = np.array([code.get(hashable(setting.axes[name]), -1) for setting in settings])
    return Levels([found[key] for key in order], codes)


def _means(
    design: dict[str, Levels], values: Matrix, names: Sequence[str]
) -> tuple[list[list[Any]], Matrix] | None:
    """Levels of the named axes, and means (levels of each named axis..., other combinations, seeds).

    None where some combination was not run at all.
    """
    there = np.all([design[name].codes >= 0 for name in names], axis=0)
    others = [name for name, axis in design.items() if name not in names and (axis.codes[there] >= 0).all()]
    levels, places = [], []
    for name in names:
        kept, place = np.unique(design[name].codes[there], return_inverse=True)
        levels.append([design[name].values[code] for code in kept])
        places.append(place)
    if min(map(len, levels)) < 2:
        return None
    rest = np.zeros(int(there.sum()), dtype=np.int64)
    for name in others:
        _, rest = np.unique(rest * len(design[name].values) + design[name].codes[there], return_inverse=True)
    shape = (*map(len, levels), int(rest.max()) + 1)
    cell = np.ravel_multi_index((*places, rest), shape)
    counts = np.bincount(cell, minlength=math.prod(shape))
    if not counts.all():
        return None
    sums = np.zeros((len(counts), values.shape[1]))
    np.add.at(sums, cell, values[there])
    return levels, (sums / counts[:, None]).reshape(*shape, values.shape[1])


def _main(design: dict[str, Levels], values: Matrix, name: str) -> Iterator[Contrast]:
    found = _means(design, values, [name])
    if found is None:
        return
    (levels,), means = found
    for index, level in enumerate(levels[1:], 1):
        yield Contrast([name], [level], [levels[0]], _complete((means[index] - means[0]).mean(axis=0)))


def _interaction(design: dict[str, Levels], values: Matrix, names: tuple[str, str]) -> Iterator[Contrast]:
    found = _means(design, values, names)
    if found is None:
        return
    (first, second), means = found
    for i, j in itertools.product(range(1, len(first)), range(1, len(second))):
        change = (means[i, j] - means[0, j] - means[i, 0] + means[0, 0]).mean(axis=0)
        yield Contrast(list(names), [first[i], second[j]], [first[0], second[0]], _complete(change))


def _complete(contrast: Matrix) -> list[float]:
    """The seeds in which every run of the contrast is there."""
    # Beyond 9 decimals a contrast is what adding up floats left.
    return [round(float(value), 9) for value in contrast[~np.isnan(contrast)]]


def effect(quantity: str, contrast: Contrast, pair: Paired, family: Family) -> Effect:
    """The model of a contrast, corrected over the whole family."""
    return Effect(
        quantity=quantity,
        axes=contrast.axes,
        levels=contrast.levels,
        against=contrast.against,
        value=tidy(pair.mean),
        n=pair.n,
        sd=tidy(pair.sd),
        interval=tidy_pair(pair.interval),
        p=tidy(pair.p),
        p_holm=tidy(family.corrected(pair.p)),
        significant=family.holds(pair.p),
    )
