"""Average Drop % and Increase in Confidence %, by hand and against scipy and statsmodels."""

import numpy as np
import pytest
from scipy.stats import ttest_1samp
from statsmodels.stats.proportion import proportion_confint

from cbam_ablate.explain.confidence import average_drop, increase

BEFORE = np.array([0.8, 0.5, 0.4, 1.0])
AFTER = np.array([0.4, 0.6, 0.4, 0.25])


def test_the_average_drop_is_relative_and_counts_a_rise_as_none():
    assert average_drop(BEFORE, AFTER).value == pytest.approx((50 + 0 + 0 + 75) / 4)


def test_the_increase_is_the_share_that_rises():
    assert increase(BEFORE, AFTER).value == 25


def test_unchanged_confidences_neither_drop_nor_rise():
    assert average_drop(BEFORE, BEFORE) == (0, 0, 0)
    assert increase(BEFORE, BEFORE)[:2] == (0, 0)


def test_the_drops_interval_is_students():
    expected = ttest_1samp([50, 0, 0, 75], 0).confidence_interval(0.95)
    assert average_drop(BEFORE, AFTER)[1:] == pytest.approx((expected.low, expected.high))


@pytest.mark.parametrize("risen", [0, 7, 40])
def test_the_increases_interval_is_wilsons(risen):
    before = np.full(40, 0.5)
    after = before + 0.1 * (np.arange(40) < risen)
    low, high = proportion_confint(risen, 40, method="wilson")
    assert increase(before, after)[1:] == pytest.approx((100 * low, 100 * high), abs=1e-9)


def test_one_image_has_no_interval():
    with pytest.raises(ValueError, match="needs 2"):
        average_drop(BEFORE[:1], AFTER[:1])
