"""Numbers carry as many digits as they deserve."""

import pytest

from cbam_ablate.aggregate.model import Cell, Difference
from cbam_ablate.report import digits


@pytest.mark.parametrize(
    ("sd", "decimals"),
    [
        (0.123, 2),
        (0.28, 2),
        (0.31, 1),
        (0.8, 1),
        (0.096, 2),
        (0.0123, 3),
        (1.4, 1),
        (3.2, 0),
        (12, 0),
        (250, 0),
    ],
)
def test_an_uncertainty_has_one_digit_or_two_if_it_starts_low(sd, decimals):
    assert digits.decimals_of(sd) == decimals


@pytest.mark.parametrize(
    ("value", "sd", "text"),
    [
        (45.5467, 0.6014, "45.5 ± 0.6"),
        (93.4567, 0.1234, "93.46 ± 0.12"),
        (10.0, 3.0, "10 ± 3"),
        (93.4, 0.0, "93.40 ± 0.00"),
        (84.361, None, "84.36"),
        (None, None, ""),
    ],
)
def test_a_result_is_rounded_by_its_spread(value, sd, text):
    assert digits.result(Cell(value=value, n=3, sd=sd, interval=None, run_keys=[]), "%") == text


def test_a_difference_is_rounded_by_its_interval_and_signed():
    found = Difference(
        value=-0.1234, n=3, seeds=3, sd=0.3, interval=(-0.9, 0.64), p=0.5, p_holm=0.5, d_z=None,
        hedges_g=None, significant=False, smallest=None, more_seeds=None,
    )  # fmt: skip
    assert digits.difference(found, "%") == "−0.1 [−0.9, +0.6]"


def test_there_is_no_negative_zero():
    assert digits.fixed(-0.001, 2, signed=True) == "0.00"


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("params", 11_263_842.0, "11,263,842"),
        ("macs", 555_420_000, "555.4 M"),
        ("macs", 40_813_184, "40.81 M"),
        ("macs", 1_297_830_000, "1.298 G"),
        ("train_seconds", 31.5, "32 s"),
        ("train_seconds", 5400.0, "90.0 min"),
        ("train_seconds", 93_600.0, "26.0 h"),
        ("peak_memory_mib", 812.4, "812 MiB"),
        ("peak_memory_mib", 2350.0, "2.3 GiB"),
        ("images_per_second", 12345.6, "12,346"),
        ("params", None, ""),
    ],
)
def test_a_cost_reads_in_its_own_unit(name, value, text):
    assert digits.cost(value, name) == text
