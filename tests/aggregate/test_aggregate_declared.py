"""A table's declaration is checked against a sweep before anything runs."""

from dataclasses import replace

import pytest

from cbam_ablate.aggregate import build_table, load_study
from cbam_ablate.aggregate.declared import Declared, table_problems
from cbam_ablate.aggregate.ignored import ignored
from cbam_ablate.cli import run
from cbam_ablate.config.canonical import flatten
from cbam_ablate.config.output import TableConfig
from cbam_ablate.config.schema import RunConfig

PLACEMENT, REDUCTION = "model.attention.placement", "model.attention.reduction"
SWEEP = Declared(
    {PLACEMENT: ["none", "block"], REDUCTION: [4, 16], "seed": [0, 1, 2]},
    {**flatten(RunConfig()), "model.depth": None},
    [
        {PLACEMENT: "none", REDUCTION: None},
        {PLACEMENT: "block", REDUCTION: 4},
        {PLACEMENT: "block", REDUCTION: 16},
    ],
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
    "an interval over both of three seeds": (
        {"interval": "both"},
        "3 seeds, and an interval over seeds and test",
    ),
    "digits of no metric": ({"digits": {"tset_top1": 2}}, "table.digits.tset_top1: there is no metric"),
    "a reference of no value": (
        {"references": [{"label": "He", "values": [{"placement": "stage", "value": 1}]}]},
        "He: model.attention.placement=stage: no run has it; it takes none, block",
    ),
    "a reference of no row": (
        {"references": [{"label": "He", "values": [{"placement": "none", "reduction": 4, "value": 1}]}]},
        "He: no row for model.attention.placement none, model.attention.reduction 4, 1",
    ),
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


def published(**place):
    return [{"label": "He", "values": [{**place, "value": 1}]}]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"labels": {"blok": "In blocks"}}, "table.labels.blok: this study has no axis"),
        ({"labels": {"reduction": {3: "r=3"}}}, "table.labels.reduction.3: this study has no axis"),
        (
            {"labels": {"block": "x", "placement": {"block": "y"}}},
            "table.labels.block: table.labels.placement.block",
        ),
        ({"better": {"mine": "up"}}, "table.better.mine: there is no metric of that name"),
        ({"columns": ["seed"]}, "seed makes no rows or columns"),
        ({"rows": ["depth"]}, "model.depth was not swept"),
        ({"references": published(placement="block", kernel=5)}, "He: no row for"),
        ({"references": published(placement="class")}, "He: no row for model.attention.placement class"),
        (
            {"references": [{**REFERENCE, "metric": "val_loss"}]},
            "has numbers for val_loss, which is no column",
        ),
        (
            {"filters": {"reduction": 4}, "references": published(reduction=16)},
            "no row for model.attention.red",
        ),
        ({"published": [{"label": "SE", "values": {"val_loss": 1}}]}, "SE: has a number for val_loss"),
        (
            {"columns": ["reduction"], "published": [{"label": "SE", "values": {"test_top1": 1}}]},
            "SE: 1 is left out, as it doesn't say of which model.attention.reduction",
        ),
    ],
)
def test_what_changes_nothing_is_said_before_anything_runs(options, said):
    narrowed = replace(SWEEP, replaced={PLACEMENT: ["none", "block", "class"]})
    assert table_problems(TableConfig(**options), narrowed) == []
    (sentence,) = ignored(TableConfig(**options), narrowed)
    assert said in sentence


def test_labels_of_what_is_swept_shared_measured_or_replaced_are_not_said_to_do_nothing():
    labels = {
        "placement": "where", "placement=none": "-", "block": "In blocks", "reduction": {4: "r=4"},
        "test_f1_macro": "F1", "test_loss": "Loss", "backbone": "Network",
        "class": "In a block", f"train.batch_size={RunConfig().train.batch_size}": "B",
    }  # fmt: skip
    narrowed = replace(SWEEP, replaced={PLACEMENT: ["class"]})
    assert ignored(TableConfig(labels=labels, metrics=["test_top1", "test_f1_macro"]), narrowed) == []


@pytest.mark.parametrize("command", ["plan", "train"])
def test_a_command_says_what_its_table_ignores_and_refuses_what_can_not_be(tmp_path, capsys, tiny, command):
    few = [word for word in tiny if not word.startswith("train.epochs=")]
    words = ["-m", *few, "placement=none,block", "train.epochs=1", f"store={tmp_path / 'store'}"]
    words.append("hydra.launcher.jobs=0")
    assert run(command, [*words, "table.digits.tset_top1=2", "table.interval=both"]) == 1
    bad = capsys.readouterr().err
    assert "table.digits.tset_top1: there is no metric" in bad
    assert "table.interval=both: 1 seed" in bad
    assert not (tmp_path / "store" / "runs").exists()
    assert run(command, [*words, "table.columns=[seed]", "table.labels.blok=x"]) == 0
    before = capsys.readouterr().out.partition("Study " if command == "train" else "cells ->")[0]
    assert "seed makes no rows or columns" in before
    assert "table.labels.blok: this study has no" in before


def test_digits_and_directions_of_no_metric_are_said(stand_in):
    stand_in.build({"seed": [0, 1]}, lambda chosen: 90 + chosen["seed"])
    values = {"digits": {"test_top1": 1, "tset_loss": 2}, "better": {"mine": "up", "val_loss": "down"}}
    table = build_table(load_study(stand_in.root, stand_in.study), values)
    said = [note for note in table.notes if "no metric of that name" in note]
    assert said == [
        "table.digits.tset_loss: there is no metric of that name.",
        "table.better.mine: there is no metric of that name.",
    ]
