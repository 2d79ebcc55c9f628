"""Statistics over seeds: pure functions of numbers, nothing random, nothing read.

`values` are (n,) results, one a seed. A matrix is (settings, seeds), NaN where a run is missing.
Student's t comes from scipy.special: scipy.stats and statsmodels would triple the start-up time of a table.
"""

import math
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtri, gammaln, ndtr, stdtr, stdtrit

from cbam_ablate.config.output import BOOTSTRAP_FROM

Interval = tuple[float, float]
LEVEL = 0.95
"""Coverage of intervals; 1 - LEVEL is the level of tests."""
POWER = 0.8
"""Probability with which an advised number of seeds shows the difference it is advised for."""
MOST_SEEDS = 1000
"""Where the search for enough seeds ends."""
ROWS_AT_ONCE = 256
FLAT = 1e-6
"""A spread below this share of the numbers' size is rounding: it proves nothing."""


class Summary(NamedTuple):
    """Of (n,) values: mean, standard deviation (ddof 1), t-interval of the mean; None for too small an n."""

    n: int
    mean: float | None
    sd: float | None
    interval: Interval | None


def bootstrap_interval(values: Sequence[float], rng: np.random.Generator, level: float = LEVEL) -> Interval:
    """BCa bootstrap interval of the mean of (n,) values. Raises `ValueError` below `BOOTSTRAP_FROM`."""
    if len(values) < BOOTSTRAP_FROM:
        raise ValueError(f"a bootstrap of {len(values)} values: needs {BOOTSTRAP_FROM}; use the t-interval")
    from scipy.stats import bootstrap

    found = bootstrap((np.asarray(values),), np.mean, confidence_level=level, rng=rng).confidence_interval
    return float(found.low), float(found.high)


class Paired(NamedTuple):
    """A difference paired by seed: mean over n pairs, sd of the differences, t-interval and two-sided p.

    `d_z` is mean / sd of the differences times the small-sample correction J(n - 1), None below three pairs.
    `hedges_g` stands the mean difference beside the spread of the results themselves: mean / sqrt((s1² +
    s2²) / 2) times 1 - 3 / (8 n - 9) (Cumming 2012). All but `n` and `mean` are None below two pairs and,
    but for `sd`, for differences without spread, which can't be tested.
    """

    n: int
    mean: float | None
    sd: float | None
    interval: Interval | None
    p: float | None
    d_z: float | None
    hedges_g: float | None


@cache
def t_limit(df: int, level: float = LEVEL) -> float:
    """What |t| exceeds with probability 1 - level under Student's distribution."""
    return float(stdtrit(df, 0.5 + level / 2))


def t_interval(mean: float, sd: float, n: int, level: float = LEVEL) -> Interval:
    """Student's interval of a mean of n values, n >= 2."""
    half = t_limit(n - 1, level) * sd / math.sqrt(n)
    return mean - half, mean + half


def within(interval: Interval | None, unit: str, low: float = 0.0, high: float = 100.0) -> Interval | None:
    """An interval of a rate ends where rates do; one of a difference where differences of rates do."""
    if interval is None or unit != "%":
        return interval
    return max(low, interval[0]), min(high, interval[1])


def summarise(values: Sequence[float]) -> Summary:
    """Mean, sd and interval of (n,) values."""
    n = len(values)
    if n == 0:
        return Summary(0, None, None, None)
    if n > 1 and min(values) == max(values):
        return Summary(n, values[0], 0.0, (values[0], values[0]))
    mean = math.fsum(values) / n
    if n == 1:
        return Summary(1, mean, None, None)
    sd = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1))
    return Summary(n, mean, sd, t_interval(mean, sd, n))


def paired(values: Sequence[float], baseline: Sequence[float]) -> Paired:
    """`values` less `baseline`, both (n,) and in the same order of seeds."""
    found = summarise([a - b for a, b in zip(values, baseline, strict=True)])
    if found.mean is None or found.sd is None:
        return Paired(found.n, found.mean, None, None, None, None, None)
    size = max(map(abs, [*values, *baseline]))
    if found.sd <= FLAT * size:
        return Paired(found.n, found.mean, 0.0, None, None, None, None)
    d_z = found.mean / found.sd * small_sample_correction(found.n - 1) if found.n > 2 else None
    p = t_test(found.mean, found.sd, found.n)
    return Paired(found.n, found.mean, found.sd, found.interval, p, d_z, hedges_g(values, baseline))


def hedges_g(values: Sequence[float], baseline: Sequence[float]) -> float | None:
    """Hedges' g of (n,) pairs over the mean of the two variances; None where neither varies."""
    spreads = [summarise(one).sd or 0.0 for one in (values, baseline)]
    pooled = math.sqrt((spreads[0] ** 2 + spreads[1] ** 2) / 2)
    if pooled == 0:
        return None
    difference = math.fsum(values) / len(values) - math.fsum(baseline) / len(baseline)
    return difference / pooled * (1 - 3 / (8 * len(values) - 9))


def t_test(mean: float, sd: float, n: int) -> float:
    """Two-sided p of a mean of n differences against zero."""
    return float(2 * stdtr(n - 1, -abs(mean) * math.sqrt(n) / sd))


def small_sample_correction(df: int) -> float:
    """Hedges' J: makes a standardised difference with `df` >= 2 degrees of freedom unbiased."""
    return math.exp(gammaln(df / 2) - gammaln((df - 1) / 2)) / math.sqrt(df / 2)


def holm(p: Sequence[float] | NDArray[np.float64]) -> NDArray[np.float64]:
    """Holm's step-down adjustment of (m,) p-values (Holm 1979)."""
    values = np.asarray(p, dtype=float)
    order = np.argsort(values, kind="stable")
    steps = values[order] * np.arange(len(values), 0, -1)
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return adjusted


class Pairs(NamedTuple):
    """Pairs of rows of a (settings, seeds) matrix: how many can be tested, and those with p below a level.

    `first` < `second`, `p` and whether the first is `above` the second are (candidates,).
    """

    tested: int
    first: NDArray[np.int64]
    second: NDArray[np.int64]
    p: NDArray[np.float64]
    above: NDArray[np.bool_]


def pairwise(results: NDArray[np.float64], level: float = LEVEL) -> Pairs:
    """Paired t-tests of every pair of rows of (settings, seeds); none where the difference doesn't vary."""
    count = len(results)
    there = (~np.isnan(results)).astype(float)
    whole = there.all()
    # Differences between rows don't change when every seed's column is shifted to be near zero.
    known = there.any(axis=0)
    shifts = np.zeros(results.shape[1])
    middle = np.median if whole else np.nanmedian  # The latter takes ten times as long.
    shifts[known] = middle(results[:, known], axis=0)
    values = np.where(there, results - shifts, 0.0)
    limits_of_rows = FLAT * np.abs(np.where(there, [results, values], 0.0)).max(axis=(0, 2), initial=0.0)
    limits = np.array([np.inf, np.inf, *(t_limit(n - 1, level) for n in range(2, results.shape[1] + 1))])
    tested, parts = 0, []
    for start in range(0, count, ROWS_AT_ONCE):
        # Rows and those from the first of them on: the others were met before.
        ours, rest = slice(start, start + ROWS_AT_ONCE), slice(start, None)
        # Where nothing is missing one row tells of all, and broadcasting does the rest.
        mine, theirs = (there[:1], there[:1]) if whole else (there[ours], there[rest])
        n = _products(mine, theirs)
        total = _products(values[ours], theirs) - _products(mine, values[rest])
        squares = _products(values[ours] ** 2, theirs) + _products(mine, values[rest] ** 2)
        squares -= 2 * _products(values[ours], values[rest])
        safe = np.maximum(n, 2)
        variance = np.maximum(squares - total**2 / safe, 0.0) / (safe - 1)
        upper = np.arange(total.shape[1]) > np.arange(total.shape[0])[:, None]
        flat = np.maximum(limits_of_rows[ours, None], limits_of_rows[rest]) ** 2
        varies = variance > flat
        tested += int((upper & (n >= 2) & varies).sum())
        t = np.abs(total) / np.sqrt(np.where(varies, variance, np.inf) * safe)
        row, column = np.nonzero(upper & (t > limits[n.astype(int)]))
        p = 2 * stdtr(np.broadcast_to(n, t.shape)[row, column] - 1, -t[row, column])
        parts.append((row + start, column + start, p, total[row, column] > 0))
    first, second, every, above = (np.concatenate(part) for part in zip(*parts, strict=True))
    return Pairs(tested, first, second, every, above)


def _products(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """(rows of a, rows of b) sums over seeds; threads of a BLAS would cost more than these thin products."""
    return np.einsum("is,js->ij", a, b)


def holm_limit(p: NDArray[np.float64], tests: int, alpha: float = 1 - LEVEL) -> float:
    """The largest p that Holm's procedure rejects at level alpha, given all p below it; -1 for none."""
    small = np.sort(p[p <= alpha])
    held = small * np.arange(tests, tests - len(small), -1) <= alpha
    rejected = len(small) if held.all() else int(np.argmin(held))
    return float(small[rejected - 1]) if rejected else -1.0


_quadrature = cache(np.polynomial.legendre.leggauss)


@cache
def _spreads(df: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Nodes and weights of a quadrature over s / sigma, an sd of df degrees of freedom by the true one."""
    nodes, weights = _quadrature(128)
    return np.sqrt(chdtri(df, (1 - nodes) / 2) / df), weights / 2


def power(difference: float, sd: float, n: int, level: float = LEVEL) -> float:
    """Probability that a paired t-test of n pairs shows a true difference of this size, sd known.

    Integrated over the estimated sd: scipy's noncentral t loses its digits for few degrees of freedom.
    """
    if n < 2:
        return 0.0
    shift = abs(difference) / sd * math.sqrt(n)
    spreads, weights = _spreads(n - 1)
    limits = t_limit(n - 1, level) * spreads
    return float(weights @ (ndtr(shift - limits) + ndtr(-shift - limits)))


@cache
def smallest_effect(n: int, level: float = LEVEL, wanted: float = POWER) -> float:
    """The smallest true difference, in sds of the differences, that n pairs show with the wanted power."""
    low, high = 0.0, 1.0
    while power(high, 1.0, n, level) < wanted:
        low, high = high, 2 * high
    while high - low > 1e-9 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if power(middle, 1.0, n, level) < wanted else (low, middle)
    return high


def seeds_needed(difference: float, sd: float, level: float = LEVEL, wanted: float = POWER) -> int | None:
    """The smallest number of pairs with the wanted power; None above `MOST_SEEDS`."""
    effect = abs(difference) / sd
    if smallest_effect(MOST_SEEDS, level, wanted) > effect:
        return None
    low, high = 1, MOST_SEEDS
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if smallest_effect(middle, level, wanted) > effect else (low, middle)
    return high


def sd_range(sd: float, n: int, level: float = 0.8) -> Interval:
    """The chi-square interval of a standard deviation known from n values."""
    df, tail = n - 1, (1 - level) / 2
    return sd * math.sqrt(df / chdtri(df, tail)), sd * math.sqrt(df / chdtri(df, 1 - tail))


def seeds_range(
    difference: float, sd: float, n: int, level: float = LEVEL, wanted: float = POWER
) -> tuple[int | None, int | None]:
    """Fewest and most pairs that may be needed, as the sd is known from n pairs only (its 80 % interval)."""
    low, high = sd_range(sd, n)
    return seeds_needed(difference, low, level, wanted), seeds_needed(difference, high, level, wanted)
