"""Which cells differ from their baseline, and which from the best: paired t-tests with Holm's correction."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cbam_ablate.aggregate import statistics
from cbam_ablate.aggregate.layout import Matrix
from cbam_ablate.aggregate.model import Difference, TableCell, tidy, tidy_pair
from cbam_ablate.aggregate.statistics import LEVEL, Paired

ALPHA = 1 - LEVEL
ROUNDING = 1e-6
"""The part of a standard deviation below which a mean difference is what adding up floats left."""
TASK = "data."
"""How the names of options begin that say what a network is given to learn."""
Groups = list[list[int]]
"""The rows that compete with one another."""


class Family:
    """All that is tested before the best is looked for: one Holm correction over differences and effects."""

    def __init__(self, p: Iterable[float | None]) -> None:
        self.tested = [one for one in p if one is not None]
        corrected = statistics.holm(self.tested).tolist()
        self._corrected = dict(zip(self.tested, corrected, strict=True))
        self.level = 1 - ALPHA / max(1, len(self.tested))

    def corrected(self, p: float | None) -> float | None:
        return None if p is None else self._corrected[p]

    def holds(self, p: float | None) -> bool:
        """Whether a difference or effect is told from zero at 5 % over the whole family."""
        return p is not None and self._corrected[p] < ALPHA


def paired_differences(
    results: dict[str, Matrix], baseline: list[int | None]
) -> dict[tuple[str, int], Paired]:
    """Each row less its baseline, by (metric, row).

    `results` are (rows, seeds) by metric; `baseline` gives each row's baseline row.
    """
    found: dict[tuple[str, int], Paired] = {}
    for name, values in results.items():
        for row, base in enumerate(baseline):
            if base is None or base == row:
                continue
            both = ~np.isnan(values[row]) & ~np.isnan(values[base])
            pair = statistics.paired(values[row][both].tolist(), values[base][both].tolist())
            if pair.mean is not None:
                found[name, row] = pair
    return found


def difference(pair: Paired, family: Family, seeds: int) -> Difference:
    """The model of a paired difference of which either side has so many seeds."""
    mean: Any = pair.mean
    smallest = more = None
    significant, level = family.holds(pair.p), family.level
    if pair.sd and pair.n >= 2:
        smallest = pair.sd * statistics.smallest_effect(pair.n, level)
        if abs(mean) > ROUNDING * pair.sd and not significant:
            few, many = statistics.seeds_range(mean, pair.sd, pair.n, level)
            more = _beyond(few, pair.n), _beyond(many, pair.n)
    return Difference(
        value=tidy(mean),
        n=pair.n,
        seeds=seeds,
        sd=tidy(pair.sd),
        interval=tidy_pair(pair.interval),
        p=tidy(pair.p),
        p_holm=tidy(family.corrected(pair.p)),
        d_z=tidy(pair.d_z),
        hedges_g=tidy(pair.hedges_g),
        significant=significant,
        smallest=tidy(smallest),
        more_seeds=more,
    )


def _beyond(total: int | None, n: int) -> int | None:
    return None if total is None else max(1, total - n)


class Contest:
    """Which rows of a metric are the best, over all pairs of rows in a group, of all groups and metrics.

    `family` are the differences and effects tested before; `open` are the metrics in which they found
    something. Where they were tested and found nothing no row is set apart, so that a table without true
    differences claims anything in at most 5 % of cases, whichever way it is read. `planned` are the pairs
    (metric, higher row, lower row) that baseline comparisons told apart: they stay so here, or the same pair
    would be marked as different and as not to be told apart.
    """

    def __init__(
        self,
        results: dict[str, Matrix],
        groups: Groups,
        family: Family,
        open: set[str],
        planned: set[tuple[str, int, int]],
    ) -> None:
        self.groups = groups
        pairs = [
            (name, np.array(rows), statistics.pairwise(values[rows]))
            for name, values in results.items()
            for rows in groups
        ]
        there = [(~np.isnan(values[rows])).astype(int) for values in results.values() for rows in groups]
        self.shared = any((np.triu(one.T @ one, 1) >= 2).any() for one in there)
        gated = bool(family.tested)
        self.comparisons = sum(found.tested for _, _, found in pairs)
        self.tested = len(family.tested) if gated and not open else self.comparisons
        every = np.concatenate([np.empty(0), *(found.p for _, _, found in pairs)])
        least = statistics.holm_limit(every, self.comparisons, ALPHA)
        limits = {name: least if name in open or not gated else -1.0 for name in results}
        self._planned = planned
        self._rows = {name: len(values) for name, values in results.items()}
        above: dict[str, list[NDArray[np.int64]]] = {name: [] for name in results}
        for name, rows, found in pairs:
            high = rows[np.where(found.above, found.first, found.second)]
            low = rows[np.where(found.above, found.second, found.first)]
            above[name].append((high * len(results[name]) + low)[found.p <= limits[name]])
        self._above = {name: np.sort(np.concatenate(codes)) for name, codes in above.items()}

    def above(self, metric: str, row: int, other: int) -> bool:
        """Whether a row is higher than another by a difference that holds."""
        if (metric, row, other) in self._planned:
            return True
        codes, code = self._above[metric], row * self._rows[metric] + other
        place = int(np.searchsorted(codes, code))
        return place < len(codes) and int(codes[place]) == code

    def crown(self, metric: str, cells: list[TableCell], better: str) -> None:
        """Marks each group's best cell with all that can't be told from it, then the best of the rest.

        The best is the first by its mean that no other is better than, seed by seed: where seeds are missing
        a row may have the better mean and lose.
        """
        if not self.comparisons:
            return
        sign = 1 if better == "up" else -1

        def beats(row: int, other: int) -> bool:
            return self.above(metric, row, other) if sign > 0 else self.above(metric, other, row)

        def leaders(rank: list[int]) -> list[int]:
            first = next((row for row in rank if not any(beats(other, row) for other in rank)), rank[0])
            return [row for row in rank if not beats(first, row)]

        for group in self.groups:
            rank = sorted(
                (row for row in group if cells[row].value is not None),
                key=lambda row: -sign * (cells[row].value or 0.0),
            )
            if len(rank) < 2:
                continue
            for row in leaders(rank):
                cells[row].best = True
            rest = [row for row in rank if not cells[row].best]
            for row in leaders(rest) if rest else []:
                cells[row].second = True
