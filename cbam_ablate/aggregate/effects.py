"""Main effects and two-way interactions of the swept axes, from contrasts within each seed.

A contrast is taken inside every seed and then averaged over seeds, so that it is paired like all the table's
differences and needs no assumption of equal variances. Rows where an axis has no effect don't enter its
effects; an axis that has no effect in some of the rows concerned is averaged over within them.
"""

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np

from cbam_ablate.aggregate import statistics
from cbam_ablate.aggregate.layout import Matrix, Setting, hashable
from cbam_ablate.aggregate.model import Effect, tidy, tidy_pair

ALPHA = 1 - statistics.LEVEL


def effects(
    settings: list[Setting], results: dict[str, Matrix], axes: list[str], reference: dict[str, Any]
) -> list[Effect]:
    """All effects on each quantity, (settings, seeds) by name, where two axes or more vary.

    Levels are compared with the first, or with the value that `reference` names for the axis.
    """
    factors = [name for name in axes if len(_levels(settings, name)) > 1]
    if len(factors) < 2:
        return []
    found = []
    for quantity, values in results.items():
        contrasts = [
            *itertools.chain(*(_main(settings, values, name, axes, reference) for name in factors)),
            *itertools.chain(
                *(
                    _interaction(settings, values, pair, axes, reference)
                    for pair in itertools.combinations(factors, 2)
                )
            ),
        ]
        found += _corrected(quantity, contrasts)
    return found


Contrast = tuple[list[str], list[Any], list[Any], list[float]]
"""Axes, levels, what they are compared with, and the contrast in each complete seed."""


def _levels(settings: list[Setting], name: str, reference: Any = None) -> list[Any]:
    """The values of an axis that have an effect, the reference first."""
    found = {hashable(s.axes[name]): s.axes[name] for s in settings if s.axes[name] is not None}
    return sorted(found.values(), key=lambda value: value != reference)


def _cells(
    settings: list[Setting],
    values: Matrix,
    names: tuple[str, ...],
    axes: list[str],
    reference: dict[str, Any],
) -> tuple[list[list[Any]], Matrix] | None:
    """Levels of the named axes, and means (levels of each named axis..., other combinations, seeds).

    None where some combination was not run at all.
    """
    there = [index for index, s in enumerate(settings) if all(s.axes[name] is not None for name in names)]
    others = [
        name for name in axes if name not in names and all(settings[i].axes[name] is not None for i in there)
    ]
    chosen = [settings[index] for index in there]
    levels = [_levels(chosen, name, reference.get(name)) for name in names]
    if min(map(len, levels)) < 2:
        return None
    groups: dict[Any, list[int]] = {}
    for index in there:
        groups.setdefault(
            tuple(hashable(settings[index].axes[name]) for name in (*names, *others)), []
        ).append(index)
    rest = list(dict.fromkeys(key[len(names) :] for key in groups))
    keys = list(itertools.product(*([hashable(level) for level in each] for each in levels), rest))
    if any((*key[:-1], *key[-1]) not in groups for key in keys):
        return None
    means = np.array([values[groups[(*key[:-1], *key[-1])]].mean(axis=0) for key in keys])
    return levels, means.reshape(*map(len, levels), len(rest), values.shape[1])


def _main(
    settings: list[Setting], values: Matrix, name: str, axes: list[str], reference: dict[str, Any]
) -> Iterator[Contrast]:
    found = _cells(settings, values, (name,), axes, reference)
    if found is None:
        return
    (levels,), means = found
    for index, level in enumerate(levels[1:], 1):
        yield [name], [level], [levels[0]], _complete((means[index] - means[0]).mean(axis=0))


def _interaction(
    settings: list[Setting],
    values: Matrix,
    names: tuple[str, str],
    axes: list[str],
    reference: dict[str, Any],
) -> Iterator[Contrast]:
    found = _cells(settings, values, names, axes, reference)
    if found is None:
        return
    (first, second), means = found
    for i, j in itertools.product(range(1, len(first)), range(1, len(second))):
        contrast = (means[i, j] - means[0, j] - means[i, 0] + means[0, 0]).mean(axis=0)
        yield list(names), [first[i], second[j]], [first[0], second[0]], _complete(contrast)


def _complete(contrast: Matrix) -> list[float]:
    """The seeds in which every run of the contrast is there."""
    # Beyond 9 decimals a contrast is what adding up floats left.
    return [round(float(value), 9) for value in contrast[~np.isnan(contrast)]]


def _corrected(quantity: str, contrasts: list[Contrast]) -> list[Effect]:
    found = [
        (*contrast[:3], statistics.paired(contrast[3], [0.0] * len(contrast[3]))) for contrast in contrasts
    ]
    p = [summary.p for *_, summary in found if summary.p is not None]
    corrected = iter(statistics.holm(p).tolist())
    made = []
    for names, levels, against, summary in found:
        if summary.mean is None:
            continue
        p_holm = next(corrected) if summary.p is not None else None
        made.append(
            Effect(
                quantity, names, levels, against, tidy(summary.mean), summary.n, tidy(summary.sd),
                tidy_pair(summary.interval), tidy(summary.p), tidy(p_holm), p_holm is not None and p_holm < ALPHA,
            )
        )  # fmt: skip
    return made
