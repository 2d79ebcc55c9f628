"""Numbers carry as many digits as they deserve."""

import pytest

from cbam_ablate.aggregate.model import Difference, TableCell
from cbam_ablate.report import comma, digits
from cbam_ablate.report.digits import Digits


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
    interval = None if sd is None else (value - sd, value + sd)
    cell = TableCell(value=value, n=3, sd=sd, interval=interval, run_keys=[])
    assert digits.result(cell, digits.of_results([cell], "%")) == text


def test_a_spread_is_shown_where_there_is_no_interval():
    cell = TableCell(value=45.5467, n=4, sd=0.6014, interval=None, run_keys=[])
    shown = {spread: digits.result(cell, Digits(1), spread) for spread in ("sd", "se", "ci")}
    assert shown == {"sd": "45.5 ± 0.6", "se": "45.5 ± 0.3", "ci": "45.5"}


def cells(*values):
    return [
        TableCell(value=v, n=3, sd=sd, interval=(v - 2 * sd, v + 2 * sd), run_keys=[]) for v, sd in values
    ]


def column(made, **options):
    shown = digits.of_results(made, "%", options.get("digits"), options.get("spread", "sd"))
    return [digits.result(one, shown, options.get("spread", "sd")) for one in made]


def test_digits_are_equal_within_a_column_and_one_tiny_spread_rules_no_other():
    assert column(cells((93.4567, 0.1234), (85.0, 0.8))) == ["93.46 ± 0.12", "85.00 ± 0.80"]
    assert column(cells((93.4567, 0.0004), (85.0, 0.8), (84, 0.9))) == [
        "93.46 ± 0.00", "85.00 ± 0.80", "84.00 ± 0.90",
    ]  # fmt: skip


def test_digits_that_are_asked_for_are_printed():
    assert column(cells((93.4567, 0.1234), (85.0, 0.8)), digits=3) == ["93.457 ± 0.123", "85.000 ± 0.800"]


def test_a_standard_error_or_an_interval_stands_where_it_is_asked_for():
    assert column(cells((93.4, 0.3)), spread="se") == ["93.40 ± 0.17"]
    assert column(cells((93.4, 0.3)), spread="ci") == ["93.4 [92.8, 94.0]"]


def test_tiny_numbers_are_printed_with_a_power_of_ten():
    made = cells((3.14159e-7, 2e-8), (2.71e-7, 3e-8))
    shown = digits.of_results(made, "")
    assert (shown.heading, [digits.result(one, shown) for one in made]) == (
        "×10⁻⁷", ["3.14 ± 0.20", "2.71 ± 0.30"],
    )  # fmt: skip


def test_a_difference_is_rounded_by_its_interval_and_signed():
    found = Difference(
        value=-0.1234, n=3, seeds=3, sd=0.3, interval=(-0.9, 0.64), p=0.5, p_holm=0.5, d_z=None,
        hedges_g=None, significant=False, smallest=None, more_seeds=None,
    )  # fmt: skip
    shown = digits.of_differences([found], "%", 0, None)
    assert digits.difference(found, shown) == "−0.1 [−0.9, +0.6]"
    found.seeds = 5
    assert digits.difference(found, shown) == "−0.1 [−0.9, +0.6] (3 of 5 pairs)"


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


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("+1.5 points [+1.2, +1.8], n = 3, p = 0.0084.", "+1,5 points [+1,2; +1,8], n = 3, p = 0,0084."),
        ("placement block/0.1 and block/0.05.", "placement block/0,1 and block/0,05."),
        ("betas [0.9,0.999], lr 1.5e-05.", "betas [0,9; 0,999], lr 1,5e-05."),
        ("Versions of torch differ: 2.13.0 in 2 runs, v1.5 in 1 run.",) * 2,
        ("To add 1 seed: cbam-ablate train lr=0.1,0.2 seed=0,1 out=a 0.5",) * 2,
        ("1.5 points: cbam-ablate train 0.5", "1,5 points: cbam-ablate train 0.5"),
        ("table.filters.lr=0.5: none; seeds 0, 1, 2.",) * 2,
    ],
)  # fmt: skip
def test_numbers_in_words_have_a_decimal_comma_and_names_and_commands_stay(text, shown):
    assert comma.numbers_in(text) == shown
