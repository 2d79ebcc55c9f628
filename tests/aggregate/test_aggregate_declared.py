"""A table's declaration is checked against a sweep before anything runs."""

import pytest

from cbam_ablate.aggregate import build_table, load_study
from cbam_ablate.aggregate.declared import Declared, table_problems
from cbam_ablate.config.canonical import flatten
from cbam_ablate.config.output import TableConfig
from cbam_ablate.config.schema import RunConfig

PLACEMENT, REDUCTION = "model.attention.placement", "model.attention.reduction"
SWEEP = Declared(
    {PLACEMENT: ["none", "block"], REDUCTION: [4, 16], "seed": [0, 1, 2]},
    {**flatten(RunConfig()), "model.depth": None},
)
REFERENCE = {"label": "a paper", "values": [{"placement": "none", "value": 93.1}]}

BAD = {
    "a row axis": ({"rows": ["dept"]}, "table.rows: dept is not an axis"),
    "a column axis": ({"columns": ["dept"]}, "table.columns: dept is not an axis"),
    "a metric": ({"metrics": ["f2"]}, "table.metrics=f2: no run measured it"),
    "no metric": ({"metrics": []}, "at least one result"),
    "a cost": ({"costs": ["euros"]}, "table.costs=euros: not one of params"),
    "a baseline's axis": ({"baseline": {"dept": 1}}, "table.baseline: dept is not an axis"),
    "a baseline's value": ({"baseline": {"placement": "stage"}}, "takes none, block"),
    "a reference's axis": (
        {"references": [{"label": "x", "values": [{"dept": 1, "value": 1}]}]},
        "table.references: dept is not an axis",
    ),
    "a reference's metric": ({"references": [{**REFERENCE, "metric": "f2"}]}, "f2: no run measured it"),
    "a reference's form": ({"references": [{"name": "x"}]}, "not of the form"),
    "a filter's axis": ({"filters": {"dept": 1}}, "table.filters: dept is not an axis"),
    "a filter's value": ({"filters": {"placement": "stage"}}, "took none, block"),
    "rows and columns that overlap": ({"rows": ["placement"], "columns": ["placement"]}, "one way"),
    "a bootstrap of three seeds": ({"interval": "bootstrap"}, "3 seeds, and a bootstrap of fewer than 20"),
    "a spread": ({"spread": "mad"}, "table.spread=mad: not one of sd, se, ci"),
    "digits": ({"digits": -1}, "table.digits=-1: decimals"),
    "a direction": ({"better": {"test_top1": "left"}}, "not one of up, down"),
    "an order's value": ({"order": {"placement": ["stage"]}}, "table.order.placement=stage"),
    "a group": ({"groups": ["dept"]}, "table.groups: dept is not an axis"),
    "a mean": ({"means": ["rows"]}, "table.means=[rows]: not one of row, column"),
    "a published metric": ({"published": [{"label": "x", "values": {"f2": 1}}]}, "f2 is neither an axis nor"),
    "a caption that isn't there": ({"caption_only": True}, "needs table.caption"),
}


@pytest.mark.parametrize("case", list(BAD))
def test_a_bad_table_section_gets_one_clear_error(case):
    options, words = BAD[case]
    (problem,) = table_problems(TableConfig(**options), SWEEP)
    assert problem.startswith("table.")
    assert words in problem


def test_every_bad_option_is_told_at_once():
    bad = TableConfig(rows=["dept"], metrics=["f2"], costs=["euros"], filters={"placement": "stage"})
    assert len(table_problems(bad, SWEEP)) == 4


def test_a_table_that_can_be_made_has_no_problems():
    good = TableConfig(
        rows=["placement", "seed"], columns=["reduction"], metrics=["test_top1", "test_f1_macro"],
        references=[REFERENCE], baseline={"depth": None}, order={"reduction": [16, 4]}, means=["row"],
        published=[{"label": "SENet", "values": [{"reduction": 4, "test_top1": 93}]}],
        digits={"test_f1_macro": 3},
    )  # fmt: skip
    assert table_problems(good, SWEEP) == []


def test_digits_and_directions_of_no_metric_are_said(stand_in):
    stand_in.build({"seed": [0, 1]}, lambda chosen: 90 + chosen["seed"])
    values = {"digits": {"test_top1": 1, "tset_loss": 2}, "better": {"mine": "up", "val_loss": "down"}}
    table = build_table(load_study(stand_in.root, stand_in.study), values)
    said = [note for note in table.notes if "no metric of that name" in note]
    assert said == [
        "table.digits.tset_loss: there is no metric of that name.",
        "table.better.mine: there is no metric of that name.",
    ]
