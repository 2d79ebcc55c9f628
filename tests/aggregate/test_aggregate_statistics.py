"""The statistics against scipy and statsmodels."""

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestPower

from cbam_ablate.aggregate import statistics
from cbam_ablate.aggregate.names import rough


@pytest.fixture
def rng():
    return np.random.default_rng(5)


@pytest.mark.parametrize("n", [2, 3, 5, 20])
def test_the_interval_of_a_mean_is_scipys(rng, n):
    values = rng.normal(93, 0.3, n).tolist()
    found = statistics.summarise(values)
    low, high = stats.t.interval(0.95, n - 1, loc=np.mean(values), scale=stats.sem(values))
    assert found.interval == pytest.approx((low, high))
    assert found.sd == pytest.approx(np.std(values, ddof=1))


def test_one_value_has_no_spread_and_none_has_no_mean():
    assert statistics.summarise([93.0]) == (1, 93.0, None, None)
    assert statistics.summarise([]) == (0, None, None, None)


@pytest.mark.parametrize("n", [2, 3, 8])
def test_the_paired_test_is_scipys(rng, n):
    values, baseline = rng.normal(93, 0.3, (2, n))
    found = statistics.paired(values.tolist(), baseline.tolist())
    oracle = stats.ttest_rel(values, baseline)
    assert found.p == pytest.approx(oracle.pvalue)
    assert found.interval == pytest.approx(tuple(oracle.confidence_interval()))


def test_equal_differences_prove_nothing():
    found = statistics.paired([90.2, 91.2, 92.2], [90.0, 91.0, 92.0])
    assert (found.p, found.d_z, found.hedges_g) == (None, None, None)


def test_hedges_g_of_pairs_is_pingouins():
    found = statistics.paired([93.1, 93.5, 92.8, 93.9, 93.3], [92.7, 93.2, 92.6, 93.4, 93.1])
    # pingouin 0.7.0: compute_effsize(x, y, paired=True, eftype="hedges")
    assert found.hedges_g == pytest.approx(0.7629926692003245, rel=1e-12)


def test_d_z_is_the_mean_difference_by_its_own_spread():
    differences = [1.0, 2.0, 4.0, 3.0]
    found = statistics.paired(differences, [0.0] * 4)
    approximate_j = 1 - 3 / (4 * 3 - 1)
    assert found.d_z == pytest.approx(2.5 / np.std(differences, ddof=1) * approximate_j, rel=0.01)


def test_holm_is_statsmodels(rng):
    p = rng.uniform(0, 0.2, 12)
    assert statistics.holm(p) == pytest.approx(multipletests(p, method="holm")[1])


@pytest.mark.parametrize("scale", [0.001, 0.05, 1.0])
def test_holms_limit_rejects_what_holm_rejects(rng, scale):
    p = rng.uniform(0, scale, 40)
    limit = statistics.holm_limit(p[p <= 0.05], len(p))
    assert (p <= limit).tolist() == multipletests(p, alpha=0.05, method="holm")[0].tolist()


def test_all_pairs_are_scipys_paired_tests_over_shared_seeds(rng):
    results = rng.normal(93, 0.5, (300, 5))
    results[3:9] += 2
    results[2, 1:] = np.nan
    results[5, :2] = np.nan
    found = statistics.pairwise(results, level=0.0)
    p = {(i, j): value for i, j, value in zip(found.first, found.second, found.p, strict=True)}
    assert not any(2 in pair for pair in p)
    assert found.tested == len(p) == 299 * 298 / 2
    for i, j in [(0, 1), (5, 7), (4, 299), (5, 260)]:
        shared = ~np.isnan(results[i]) & ~np.isnan(results[j])
        assert p[i, j] == pytest.approx(stats.ttest_rel(results[i, shared], results[j, shared]).pvalue)


def test_rows_that_differ_by_a_constant_are_not_told_apart():
    row = np.array([90.1, 90.7, 89.9])
    assert statistics.pairwise(np.array([row, row + 0.2, row])).p.tolist() == []


@pytest.mark.parametrize(("effect", "n"), [(0.5, 5), (1.5, 3), (1.0, 10), (0.0, 4)])
def test_power_is_statsmodels(effect, n):
    oracle = TTestPower().power(effect, n, 0.05, alternative="two-sided")
    assert statistics.power(effect, 1.0, n) == pytest.approx(oracle, abs=1e-6)


@pytest.mark.parametrize("n", [2, 3, 5, 30])
def test_the_smallest_effect_has_just_the_wanted_power(rng, n):
    draws = rng.normal(statistics.smallest_effect(n, 0.99), 1, (100_000, n))
    assert np.mean(stats.ttest_1samp(draws, 0, axis=1).pvalue < 0.01) == pytest.approx(0.8, abs=0.005)


def test_power_is_a_number_everywhere():
    grid = [(e, n, level) for e in (0, 0.01, 1, 10, 1e4) for n in (2, 3, 50, 1000) for level in (0.9, 0.9999)]
    assert all(0 <= statistics.power(e, 1.0, n, level) <= 1 for e, n, level in grid)


def test_the_seeds_needed_are_the_fewest_with_the_power():
    n = statistics.seeds_needed(0.2, 0.3)
    assert statistics.power(0.2, 0.3, n) >= 0.8 > statistics.power(0.2, 0.3, n - 1)
    assert statistics.seeds_needed(0.001, 1.0) is None


def test_the_range_of_seeds_carries_the_uncertainty_of_the_spread():
    low, high = stats.chi2.ppf([0.1, 0.9], 2)
    expected = [statistics.seeds_needed(0.2, 0.3 * np.sqrt(2 / x)) for x in (high, low)]
    assert list(statistics.seeds_range(0.2, 0.3, 3)) == expected


def test_a_bootstrap_of_few_values_is_refused(rng):
    with pytest.raises(ValueError, match="needs 20"):
        statistics.bootstrap_interval([1.0] * 19, rng)


def test_a_bootstrap_of_many_values_is_near_the_t_interval(rng):
    values = rng.normal(0, 1, 200).tolist()
    found = statistics.bootstrap_interval(values, rng)
    assert found == pytest.approx(statistics.summarise(values).interval, abs=0.03)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0123, "0.012"), (2.94, "2.9"), (99.4, "99"), (99.6, "100"), (1234.5, "1234"), (-4.61, "−4.6")],
)
def test_rough_numbers_have_no_exponent_for_what_is_large(value, text):
    assert rough(value) == text
