"""The table model: rows, comparisons, words."""

import numpy as np
import pytest
from scipy import stats

from cbam_ablate.aggregate import build_table, load_study
from cbam_ablate.errors import ConfigError

PLACEMENT, REDUCTION, KERNEL = (f"model.attention.{name}" for name in ("placement", "reduction", "kernel"))
NOISE = np.random.default_rng(3).normal(0, 0.5, (8, 50))


def make(stand_in, axes, gain, table=None, values=None, **more):
    """A table in which a run scores 90, its seed's own luck, its noise and `gain(axes)`."""
    order = iter(range(10_000))

    def score(chosen):
        seed = chosen.get("seed", 0)
        outcome = gain(chosen)
        noise = 0.2 * NOISE[next(order) % 8, seed]
        return (
            outcome if outcome is None or isinstance(outcome, dict) else 90 + NOISE[0, seed] + outcome + noise
        )

    stand_in.build(axes, score, table=table, **more)
    return build_table(load_study(stand_in.root, stand_in.study), values)


def placements(chosen):
    return {"none": 0, "block": 5, "class": 0.1, "both": 3}[chosen[PLACEMENT]]


THREE = {PLACEMENT: ["none", "block", "class"], "seed": [0, 1, 2, 3, 4]}


def test_swept_axes_become_rows_and_the_seed_does_not(stand_in):
    table = make(stand_in, THREE, placements)
    assert [row.axes for row in table.rows] == [{PLACEMENT: value} for value in THREE[PLACEMENT]]
    assert [row.n for row in table.rows] == [5, 5, 5]


def test_a_cell_holds_mean_sd_interval_and_run_keys_of_its_runs(stand_in):
    table = make(stand_in, THREE, placements)
    study = load_study(stand_in.root, stand_in.study)
    cell = table.rows[1].cell("test_top1")
    values = [study.records[key].values["test_top1"] for key in cell.run_keys]
    assert len(cell.run_keys) == cell.n == 5
    assert cell.value == pytest.approx(np.mean(values))
    assert cell.sd == pytest.approx(np.std(values, ddof=1))
    expected = stats.t.interval(0.95, 4, loc=np.mean(values), scale=stats.sem(values))
    assert cell.interval == pytest.approx(expected)


def test_the_default_columns_are_accuracy_and_measured_costs(stand_in):
    table = make(stand_in, THREE, placements)
    assert [q.name for q in table.quantities] == ["test_top1", "params", "macs", "train_seconds"]


def test_the_baseline_is_no_attention_and_differences_are_paired_by_seed(stand_in):
    table = make(stand_in, THREE, placements)
    study = load_study(stand_in.root, stand_in.study)
    base, block = (
        [study.records[key].values["test_top1"] for key in row.cell("test_top1").run_keys]
        for row in table.rows[:2]
    )
    difference = table.rows[1].cell("test_top1").difference
    assert table.rows[0].baseline
    assert difference.p == pytest.approx(stats.ttest_rel(block, base).pvalue)
    assert difference.value == pytest.approx(np.mean(block) - np.mean(base))
    assert difference.significant


def test_pairing_uses_only_the_seeds_that_both_have(stand_in):
    def gain(chosen):
        return {} if chosen == {PLACEMENT: "block", "seed": 1} else placements(chosen)

    table = make(stand_in, THREE, gain)
    assert [row.cell("test_top1").difference.n for row in table.rows[1:]] == [4, 5]
    assert table.rows[1].missing == {"diverged": 1}


def test_a_baseline_that_no_run_has_is_refused_where_the_command_asks_for_it(stand_in):
    with pytest.raises(ConfigError, match=r"table.baseline.placement=nun: no run has it; .* takes none, "):
        make(stand_in, THREE, placements, None, {"table.baseline": {"placement": "nun"}})


def test_holm_corrects_over_all_comparisons_with_baselines(stand_in):
    table = make(stand_in, THREE, placements)
    raw = [row.cell("test_top1").difference for row in table.rows[1:]]
    smallest = min(raw, key=lambda difference: difference.p)
    assert smallest.p_holm == pytest.approx(2 * smallest.p)


def test_the_best_is_bold_with_all_that_cant_be_told_from_it(stand_in):
    table = make(stand_in, THREE, placements)
    assert [row.cell("test_top1").best for row in table.rows] == [False, True, False]
    assert [row.cell("test_top1").second for row in table.rows] == [True, False, True]


def test_nothing_told_apart_is_all_bold_and_said(stand_in):
    table = make(stand_in, THREE, lambda chosen: 0)
    assert all(row.cell("test_top1").best for row in table.rows)
    assert any("nothing can be told apart" in sentence for sentence in table.findings)


def test_of_an_error_the_lowest_is_best(stand_in):
    table = make(stand_in, THREE, placements, {"metrics": ["test_error1"]})
    assert [row.cell("test_error1").best for row in table.rows] == [False, True, False]


def test_one_seed_has_no_spread_no_bold_and_says_so(stand_in):
    table = make(stand_in, {PLACEMENT: ["none", "block"]}, placements)
    assert [(row.n, row.cell("test_top1").sd) for row in table.rows] == [(1, None), (1, None)]
    assert not any(row.cell("test_top1").best for row in table.rows)
    assert any("Nothing can be told apart" in sentence for sentence in table.findings)


def test_missing_runs_are_counted_by_class_and_named(stand_in):
    def gain(chosen):
        if chosen[PLACEMENT] == "class":
            return {"failure": "out_of_memory", "error": "needs 12 GiB"} if chosen["seed"] < 2 else None
        return placements(chosen)

    table = make(stand_in, THREE, gain)
    row = table.rows[2]
    assert (row.n, row.expected, row.missing) == (0, 5, {"out of memory": 2, "not run": 3})
    assert row.cell("test_top1").value is None
    assert row.cell("params").value == 272_474
    assert any("0/5 runs" in note and "needs 12 GiB" in note for note in table.notes)


def test_an_axis_without_effect_is_a_dash_and_one_baseline_serves_all(stand_in):
    axes = {PLACEMENT: ["none", "block"], REDUCTION: [4, 16], "seed": [0, 1, 2]}
    table = make(stand_in, axes, placements)
    assert [row.labels[REDUCTION] for row in table.rows] == ["–", "4", "16"]
    assert [row.cell("test_top1").difference is not None for row in table.rows] == [False, True, True]


def test_each_depth_has_its_own_baseline(stand_in):
    axes = {"model.depth": [20, 56], PLACEMENT: ["none", "block"], "seed": [0, 1, 2]}
    table = make(stand_in, axes, lambda chosen: placements(chosen) + chosen["model.depth"] / 10)
    assert [row.baseline for row in table.rows] == [True, False, True, False]
    for row in table.rows[1::2]:
        assert row.cell("test_top1").difference.value == pytest.approx(5, abs=0.3)


def test_axes_that_change_together_are_one(stand_in):
    axes = {"data.label_noise": [0.1, 0.5], "model.backbone": ["resnet_cifar", "vgg"], "seed": [0, 1, 2]}
    stand_in.build(axes, lambda chosen: 90.0 + chosen["seed"] - 9 * chosen["data.label_noise"])
    manifest = stand_in.manifest()
    for cell in manifest["cells"]:
        cell["axes"]["model.depth"] = {"vgg": 16, "resnet_cifar": 110}[cell["axes"]["model.backbone"]]
    stand_in.write_manifest({**manifest, "axes": {**manifest["axes"], "model.depth": [16, 110]}})
    options = {"columns": ["backbone"], "baseline": {"backbone": "resnet_cifar"}}
    table = build_table(load_study(stand_in.root, stand_in.study), options)
    assert [axis.name for axis in table.column_axes] == ["model.backbone", "model.depth"]
    assert [row.baseline for row in table.rows].count(True) == 2
    assert [row.cell("test_top1").difference is not None for row in table.rows].count(True) == 2


def test_a_declared_baseline_replaces_the_inferred_one(stand_in):
    table = make(stand_in, THREE, placements, {"baseline": {"placement": "class"}})
    assert [row.baseline for row in table.rows] == [False, False, True]


def test_axes_named_in_neither_direction_go_down(stand_in):
    axes = {PLACEMENT: ["block", "class"], REDUCTION: [4, 16], KERNEL: [3, 7], "seed": [0, 1]}
    table = make(stand_in, axes, placements, {"rows": ["reduction"], "columns": ["kernel"]})
    assert [axis.name for axis in table.row_axes] == [REDUCTION, PLACEMENT]
    assert [axis.name for axis in table.column_axes] == [KERNEL]


def test_an_axis_with_a_single_value_goes_to_the_caption(stand_in):
    axes = {PLACEMENT: ["none", "block"], "optimizer.weight_decay": [0.0005], "seed": [0, 1]}
    table = make(stand_in, axes, placements)
    assert [axis.name for axis in table.row_axes] == [PLACEMENT]
    assert "weight decay 0.0005" in " ".join(table.caption)


def test_filters_choose_rows_and_keep_what_they_dont_touch(stand_in):
    axes = {PLACEMENT: ["none", "block"], REDUCTION: [4, 16], "seed": [0, 1, 2]}
    table = make(stand_in, axes, placements, values={"table.filters": {"reduction": 16}})
    assert [row.axes[REDUCTION] for row in table.rows] == [None, 16]
    assert "Only reduction 16" in table.caption


def test_the_caption_holds_constants_selection_and_n(stand_in):
    caption = ". ".join(make(stand_in, THREE, placements).caption)
    for words in (
        "n = 5",
        "highest validation top-1",
        "backbone resnet_cifar",
        "epochs 5",
        "lr 0.1",
        "ddof 1",
    ):
        assert words in caption


def test_a_baseline_that_was_not_run_is_told_and_costs_no_table(stand_in):
    table = make(stand_in, THREE, placements, {"baseline": {"placement": "stage"}})
    assert not any(row.cell("test_top1").difference for row in table.rows)
    assert any("is the baseline (placement stage)" in note for note in table.notes)


def test_a_table_declared_for_axes_that_were_held_fixed_still_stands(stand_in):
    declared = {
        "rows": ["depth", "placement", "seed"],
        "baseline": {"placement": "none", "depth": 20},
        "filters": {"depth": [20]},
        "references": [
            {"label": "a", "values": [{"depth": 20, "placement": "none", "value": "84.36"}]},
            {"label": "b", "metric": "test_top5", "values": [{"placement": "none", "value": 1}]},
        ],
    }
    table = make(stand_in, THREE, placements, declared)
    assert [axis.name for axis in table.row_axes] == [PLACEMENT]
    assert [row.baseline for row in table.rows] == [True, False, False]
    assert [reference.values for reference in table.references] == [["84.36", "", ""]]
    assert any("model.depth was not swept: it is 20" in note for note in table.notes)
    assert any("seed makes no rows or columns" in note for note in table.notes)
    assert any("test_top5, which is no column" in note for note in table.notes)


@pytest.mark.parametrize(
    ("changes", "fact"),
    [
        ({"device": "cuda: H200"}, "device"),
        ({"precision": "bf16"}, "precision"),
        ({"code_sha256": 64 * "b"}, "code"),
        ({"versions": {"torch": "2.14.0"}}, "torch"),
        ({"dataset_sha256": 64 * "e"}, "data"),
    ],
)
def test_a_row_that_mixes_what_should_be_equal_says_so(stand_in, changes, fact):
    keys = stand_in.build(THREE, lambda chosen: 90.0 + chosen["seed"])
    stand_in.finish(keys["block", 2], 93.0, provenance=changes)
    table = build_table(load_study(stand_in.root, stand_in.study))
    assert [row.mixes for row in table.rows] == [[], [fact], []]
    assert any("differ" in note and "1 of 3 rows mix them" in note for note in table.notes)


def test_commits_of_the_same_source_are_the_same_code(stand_in):
    keys = stand_in.build(THREE, lambda chosen: 90.0 + chosen["seed"])
    stand_in.finish(keys["block", 2], 93.0, provenance={"git_commit": "f" * 40})
    assert build_table(load_study(stand_in.root, stand_in.study)).notes == []


@pytest.mark.parametrize(
    ("table", "word"),
    [
        ({"rows": ["dept"]}, "not an axis of this study"),
        ({"rows": ["placement"], "columns": ["placement"]}, "one way"),
        ({"metrics": ["f1"]}, "no run measured it"),
        ({"metrics": ["best_test_top1"]}, "test data chooses nothing"),
        ({"metrics": []}, "at least one"),
        ({"costs": ["euros"]}, "not one of params"),
        ({"filters": {"placement": "stage"}}, "took none, block, class"),
        ({"filters": {"depth": 18}}, "model.depth took 20"),
        ({"filters": {"dept": 18}}, "not an axis"),
        ({"baseline": {"dept": 18}}, "not an axis"),
        ({"references": [{"label": "x", "values": [{"dept": 1, "value": 1}]}]}, "not an axis"),
        ({"interval": "bootstrap"}, "covers too little"),
        ({"better": {"test_top1": "left"}}, "not one of up, down"),
        ({"references": [{"name": "x"}]}, "not of the form"),
        ({"labels": ["x"]}, "must be a mapping"),
    ],
)
def test_options_that_dont_fit_are_refused_in_words(stand_in, table, word):
    if "better" in table:
        table = {**table, "metrics": ["test_top1"]}
    with pytest.raises(ConfigError, match=word):
        make(stand_in, THREE, placements, table)


def test_a_metric_of_ones_own_is_shown_without_bold_until_its_direction_is_declared(stand_in):
    keys = stand_in.build(THREE, lambda chosen: 90.0)
    level = {"none": 3, "block": 1, "class": 2}
    for row, ((placement, seed), key) in enumerate(keys.items()):
        stand_in.finish(key, 90.0, metrics={"calibration": level[placement] + 0.1 * NOISE[row % 8, seed]})
    study = load_study(stand_in.root, stand_in.study)
    plain = build_table(study, {"metrics": ["calibration"]})
    assert not any(row.cell("calibration").best for row in plain.rows)
    assert any("table.better.calibration" in note for note in plain.notes)
    ranked = build_table(study, {"metrics": ["calibration"], "better": {"calibration": "down"}})
    assert [row.cell("calibration").best for row in ranked.rows] == [False, True, False]
