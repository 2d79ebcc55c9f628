"""Which cells differ from their baseline, and which from the best: paired t-tests with Holm's correction."""

from typing import Any

import numpy as np

from cbam_ablate.aggregate import statistics
from cbam_ablate.aggregate.layout import Matrix
from cbam_ablate.aggregate.model import Cell, Difference, tidy, tidy_pair
from cbam_ablate.aggregate.statistics import LEVEL, Paired

ALPHA = 1 - LEVEL


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
    smallest = more = None
    significant = p_holm is not None and p_holm < ALPHA
    if pair.sd and pair.n >= 2:
        smallest = pair.sd * statistics.smallest_effect(pair.n, level)
        if pair.mean and not significant:
            few, many = statistics.seeds_range(pair.mean, pair.sd, pair.n, level)
            more = _beyond(few, pair.n), _beyond(many, pair.n)
    value: Any = tidy(pair.mean)
    return Difference(
        value, pair.n, tidy(pair.sd), tidy_pair(pair.interval), tidy(pair.p), tidy(p_holm), tidy(pair.effect),
        significant, tidy(smallest), more,
    )  # fmt: skip


def _beyond(total: int | None, n: int) -> int | None:
    return None if total is None else max(1, total - n)


class Contest:
    """Which rows of a metric can't be told from the best, over all pairs of rows of all metrics.

    `open` is False where the `with_baseline` comparisons found nothing: then no row is set apart, so that a
    table without true differences names a winner in at most 5 % of cases, whichever way it is read.
    `planned` are the pairs (metric, lower row, higher row) that baseline comparisons told apart: they stay
    so here, or the same pair would be marked as different and as not to be told apart.
    """

    def __init__(
        self, results: dict[str, Matrix], with_baseline: int, open: bool, planned: set[tuple[str, int, int]]
    ) -> None:
        pairs = {name: statistics.pairwise(values) for name, values in results.items()}
        self.comparisons = sum(found.tested for found in pairs.values())
        self.tested = self.comparisons if open or not with_baseline else with_baseline
        every = np.concatenate([np.empty(0), *(found.p for found in pairs.values())])
        limit = statistics.holm_limit(every, self.comparisons, ALPHA) if open else -1.0
        self._planned = planned
        self._rows = {name: len(values) for name, values in results.items()}
        # In rising order, as the pairs come by first row and then by second.
        self._apart = {
            name: (found.first * len(results[name]) + found.second)[found.p <= limit]
            for name, found in pairs.items()
        }

    def differs(self, metric: str, row: int, other: int) -> bool:
        """Whether two rows differ; rows that can't be tested don't."""
        if (metric, min(row, other), max(row, other)) in self._planned:
            return True
        codes, code = self._apart[metric], min(row, other) * self._rows[metric] + max(row, other)
        place = int(np.searchsorted(codes, code))
        return place < len(codes) and int(codes[place]) == code

    def crown(self, metric: str, cells: list[Cell], better: str) -> None:
        """Marks the best cell with all that can't be told from it, then the best of the rest likewise."""
        sign = 1 if better == "up" else -1
        rank = sorted(
            (row for row, cell in enumerate(cells) if cell.value is not None),
            key=lambda row: -sign * (cells[row].value or 0.0),
        )
        if not rank or not self.comparisons:
            return
        best = [row for row in rank if row == rank[0] or not self.differs(metric, rank[0], row)]
        kept = set(best)
        rest = [row for row in rank if row not in kept]
        for row in best:
            cells[row].best = True
        for row in rest:
            cells[row].second = row == rest[0] or not self.differs(metric, rest[0], row)
