"""Tables of studies with gaps, odd numbers and several tasks: what is called best is, and n is its n."""

import numpy as np
import pytest

from cbam_ablate.aggregate import build_table, load_study
from cbam_ablate.aggregate.metrics import widest
from cbam_ablate.errors import ConfigError
from cbam_ablate.report import markdown, table_csv
from cbam_ablate.report.digits import could_show
from cbam_ablate.report.plots import plots_of
from cbam_ablate.runs import RunStore
from cbam_ablate.runs.provenance import FOREIGN_RULE

PLACEMENT = "model.attention.placement"
NONE = [93.1, 93.4, 92.0, 91.2, 91.4]


def make(stand_in, rows, values=None, table=None, metric="test_top1"):
    """A table of rows by placement, each a list of results by seed; None is a run that failed."""
    axes = {PLACEMENT: list(rows), "seed": list(range(max(map(len, rows.values()))))}
    keys = stand_in.build(axes, lambda chosen: 90.0, table=table)
    for (placement, seed), key in keys.items():
        result = rows[placement][seed]
        if result is None:
            (stand_in.run(key) / "result.json").unlink()
            stand_in.fail(key)
        elif isinstance(result, dict):
            stand_in.finish(key, 90.0, **result)
        else:
            stand_in.finish(key, 90.0, metrics={metric: result})
    return build_table(load_study(stand_in.root, stand_in.study), values)


def test_a_row_that_loses_seed_by_seed_is_not_best_for_a_mean_over_luckier_seeds(stand_in):
    rows = {"none": NONE, "block": [92.81, 93.09, 91.70, None, None]}
    table = make(stand_in, rows)
    none, block = (row.cell("test_top1") for row in table.rows)
    assert block.value > none.value
    assert block.difference.significant
    assert block.difference.value < 0
    assert (none.best, block.best) == (True, False)
    assert "none is best. block: a better mean, but worse on the seeds they share." in table.findings[0]


def test_of_a_loss_the_row_that_loses_seed_by_seed_is_not_best_either(stand_in):
    rows = {
        "none": NONE,
        "block": [93.41, 93.71, 92.30, 91.5, 91.69],
        "class": [None, None, 92.6, 91.8, 92.01],
    }
    table = make(stand_in, rows, {"metrics": ["test_loss"]}, metric="test_loss")
    assert [row.cell("test_loss").best for row in table.rows] == [True, False, False]


def test_one_row_of_enormous_numbers_hides_no_difference_between_the_others(stand_in):
    noise = np.random.default_rng(0).normal(0, 0.0005, (3, 5))
    rows = {
        name: (level + noise[index]).tolist()
        for index, (name, level) in enumerate({"none": 1.01, "block": 0.81, "class": 0.51}.items())
    }
    rows["both"] = [5e4, 2e5, 9e4, 1e5, 3e4]
    table = make(stand_in, rows, {"metrics": ["test_loss"]}, metric="test_loss")
    assert [row.cell("test_loss").best for row in table.rows[:3]] == [False, False, True]


def test_differences_that_are_all_equal_have_no_interval_and_it_is_said(stand_in):
    table = make(stand_in, {"none": [90.0, 91.0], "block": [92.5, 93.5]})
    found = table.rows[1].cell("test_top1").difference
    assert (found.interval, found.significant) == (None, False)
    assert any("block: its 2 differences to the baseline are all equal" in said for said in table.findings)
    assert any("To add 1 seed: " in said for said in table.advice)


def test_a_difference_of_rounding_errors_is_no_reason_for_more_seeds(stand_in):
    table = make(stand_in, {"none": [99.94, 99.96], "block": [99.90, 100.0]})
    assert table.advice == []


def test_rows_that_differ_by_the_same_in_every_seed_are_said_to_and_not_to_share_no_seeds(stand_in):
    table = make(stand_in, {"block": [90.0, 91.0], "class": [91.0, 92.0]})
    assert table.findings == [
        "Nothing can be told apart: rows differ by the same in every seed, which leaves no spread to test by."
    ]


def test_intervals_of_rates_and_of_their_differences_end_where_these_do(stand_in):
    table = make(stand_in, {"none": [0.5, 60.0], "block": [99.0, 30.0]})
    none, block = (row.cell("test_top1") for row in table.rows)
    assert none.interval == (0, 100)
    assert block.interval == (0, 100)
    assert block.difference.interval == (-100, 100)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (
            {"none": [10.0, 90.0], "block": [80.0, 11.0]},
            "With n = 2 and these spreads no difference could have been",
        ),
        (
            {"none": [50.0, 52.0, None], "block": [51.0, 52.9, None], "class": [90.0, 10.0, 70.0]},
            " points; in 1 comparison none at all.",
        ),
    ],
)
def test_no_difference_beyond_the_whole_range_could_have_been_shown(stand_in, rows, said):
    table = make(stand_in, rows)
    assert any(said in sentence for sentence in table.findings)
    found = [row.cell("test_top1").difference for row in table.rows[1:]]
    quantity = table.quantities[0]
    assert [could_show(one, quantity) == "none" for one in found] == [one.smallest > 100 for one in found]
    assert "none" in {could_show(one, quantity) for one in found}


def test_fractions_and_correlations_have_a_range_and_losses_have_none():
    assert [widest("test_top1", ""), widest("test_top1", "%"), widest("val_mcc", "")] == [1, 100, 2]
    assert widest("test_loss", "nats") == widest("mine", "") == np.inf


def test_each_data_set_has_a_best_row_of_its_own(stand_in):
    axes = {"data.name": ["cifar10", "cifar100"], PLACEMENT: ["none", "block"], "seed": [0, 1, 2, 3, 4]}
    noise = np.random.default_rng(0).normal(0, 0.05, 20)
    level = {"cifar10": 94.0, "cifar100": 76.0}
    order = iter(noise)

    def score(chosen):
        gain = {"none": 0, "block": 1}[chosen[PLACEMENT]]
        return level[chosen["data.name"]] + gain + next(order)

    stand_in.build(axes, score, table={"rows": ["placement"], "columns": ["data.name"]})
    table = build_table(load_study(stand_in.root, stand_in.study))
    best = {(row.axes["data.name"], row.axes[PLACEMENT]) for row in table.rows if row.cell("test_top1").best}
    assert best == {("cifar10", "block"), ("cifar100", "block")}
    assert [said.split(":")[0] for said in table.findings[:2]] == [
        "test top-1 on data cifar10",
        "test top-1 on data cifar100",
    ]
    text = markdown.render(table)
    assert "Bold: the best, for each data, and all" in text
    assert "differs from the baseline, placement none (paired" in text


def test_a_number_over_fewer_seeds_than_its_row_says_so(stand_in):
    rows = {
        "none": [{"metrics": {"test_loss": value}} for value in (0.4, 0.5, 0.6)],
        "block": [{"metrics": {"test_loss": value}} for value in (0.5, None, None)],
    }
    table = make(stand_in, rows, {"metrics": ["test_top1", "test_loss"]})
    assert "0.50 (n = 1)" in markdown.render(table)
    assert "(n = 3)" not in markdown.render(table)


def test_what_no_run_measured_is_said_and_judged_not_at_all(stand_in):
    rows = {name: [{"metrics": {"val_top5": None}}] * 3 for name in ("none", "block")}
    table = make(stand_in, rows, {"metrics": ["val_top1", "val_top5"]})
    assert "No run measured val_top5." in table.notes
    assert not any("val. top-5" in said for said in table.findings)


def test_others_accuracies_from_0_to_1_are_no_percentages_and_give_no_errors(stand_in):
    foreign = {"selection": {"rule": FOREIGN_RULE}}
    rows = {
        name: [{"metrics": {"val_top1": 0.93 + seed / 100}, **foreign} for seed in range(3)]
        for name in ("none", "block")
    }
    table = make(stand_in, rows, {"metrics": ["val_top1", "val_error1"]})
    assert table.quantities[0].unit == ""
    assert table.rows[0].cell("val_error1").value is None
    assert "No run measured val_error1." in table.notes


def test_learning_curves_are_of_the_runs_behind_the_number(stand_in):
    table = make(stand_in, {"none": [90.0, 91.0, 92.0], "block": [90.0, 91.0, None]})
    (curves,) = [plot for plot in plots_of(table, RunStore(stand_in.root)) if plot.name == "curves"]
    assert [len(row.values) for row in curves.draw.keywords["rows"]] == [3, 2]


def test_two_references_of_one_name_are_one_column(stand_in):
    declared = [
        {"label": "paper", "values": [{"placement": placement, "value": value}]}
        for placement, value in (("none", "91.25"), ("block", "92.5"))
    ]
    table = make(stand_in, {"none": NONE, "block": NONE}, table={"references": declared})
    lines = table_csv.render(table).splitlines()
    assert ["91.25" in line for line in lines] == [False, True, False]
    assert ["92.5" in line for line in lines] == [False, False, True]


@pytest.mark.parametrize(
    ("values", "word"),
    [
        ({"metrics": ["params"]}, "at least one result"),
        ({"better": {"test_top1": "down"}}, "up is better, and known"),
    ],
)
def test_what_makes_no_table_is_refused(stand_in, values, word):
    with pytest.raises(ConfigError, match=word):
        make(stand_in, {"none": NONE, "block": NONE}, values)


def test_a_bootstrap_of_equal_values_is_that_value(stand_in):
    table = make(stand_in, {"none": [90.0] * 20}, {"interval": "bootstrap"})
    assert table.rows[0].cell("test_top1").interval == (90.0, 90.0)
