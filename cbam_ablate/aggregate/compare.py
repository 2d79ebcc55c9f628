"""Which cells differ from their baseline, and which from the best: paired t-tests with Holm's correction."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cbam_ablate.aggregate import statistics
from cbam_ablate.aggregate.layout import Matrix
from cbam_ablate.aggregate.model import Cell, Difference, tidy, tidy_pair
from cbam_ablate.aggregate.statistics import LEVEL, Paired

ALPHA = 1 - LEVEL
ROUNDING = 1e-6
"""The part of a standard deviation below which a mean difference is what adding up floats left."""
TASK = "data."
"""How the names of options begin that say what a network is given to learn."""
Groups = list[list[int]]
"""The rows that compete with one another."""


def differences(results: dict[str, Matrix], baseline: list[int | None]) -> dict[tuple[str, int], Difference]:
    """Each row's difference to its baseline, by (metric, row): one Holm family over all metrics and rows.

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
    tested = {place: pair.p for place, pair in found.items() if pair.p is not None}
    corrected = dict(zip(tested, statistics.holm(list(tested.values())).tolist(), strict=True))
    level = 1 - ALPHA / max(1, len(tested))
    return {place: _difference(pair, corrected.get(place), level) for place, pair in found.items()}


def _difference(pair: Paired, p_holm: float | None, level: float) -> Difference:
    mean: Any = pair.mean
    smallest = more = None
    significant = p_holm is not None and p_holm < ALPHA
    if pair.sd and pair.n >= 2:
        smallest = pair.sd * statistics.smallest_effect(pair.n, level)
        if abs(mean) > ROUNDING * pair.sd and not significant:
            few, many = statistics.seeds_range(mean, pair.sd, pair.n, level)
            more = _beyond(few, pair.n), _beyond(many, pair.n)
    return Difference(
        value=tidy(mean),
        n=pair.n,
        sd=tidy(pair.sd),
        interval=tidy_pair(pair.interval),
        p=tidy(pair.p),
        p_holm=tidy(p_holm),
        effect=tidy(pair.effect),
        significant=significant,
        smallest=tidy(smallest),
        more_seeds=more,
    )


def _beyond(total: int | None, n: int) -> int | None:
    return None if total is None else max(1, total - n)


class Contest:
    """Which rows of a metric are the best, over all pairs of rows in a group, of all groups and metrics.

    `open` is False where the `with_baseline` comparisons found nothing: then no row is set apart, so that a
    table without true differences names a winner in at most 5 % of cases, whichever way it is read.
    `planned` are the pairs (metric, higher row, lower row) that baseline comparisons told apart: they stay
    so here, or the same pair would be marked as different and as not to be told apart.
    """

    def __init__(
        self,
        results: dict[str, Matrix],
        groups: Groups,
        with_baseline: int,
        open: bool,
        planned: set[tuple[str, int, int]],
    ) -> None:
        self.groups = groups
        pairs = [
            (name, np.array(rows), statistics.pairwise(values[rows]))
            for name, values in results.items()
            for rows in groups
        ]
        self.comparisons = sum(found.tested for _, _, found in pairs)
        self.tested = self.comparisons if open or not with_baseline else with_baseline
        every = np.concatenate([np.empty(0), *(found.p for _, _, found in pairs)])
        limit = statistics.holm_limit(every, self.comparisons, ALPHA) if open else -1.0
        self._planned = planned
        self._rows = {name: len(values) for name, values in results.items()}
        above: dict[str, list[NDArray[np.int64]]] = {name: [] for name in results}
        for name, rows, found in pairs:
            high = rows[np.where(found.above, found.first, found.second)]
            low = rows[np.where(found.above, found.second, found.first)]
            above[name].append((high * len(results[name]) + low)[found.p <= limit])
        self._above = {name: np.sort(np.concatenate(codes)) for name, codes in above.items()}

    def above(self, metric: str, row: int, other: int) -> bool:
        """Whether a row is higher than another by a difference that holds."""
        if (metric, row, other) in self._planned:
            return True
        codes, code = self._above[metric], row * self._rows[metric] + other
        place = int(np.searchsorted(codes, code))
        return place < len(codes) and int(codes[place]) == code

    def crown(self, metric: str, cells: list[Cell], better: str) -> None:
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
