"""Main effects and interactions of the swept axes."""

import random

import numpy as np
import pytest
from scipy import stats

from cbam_ablate.aggregate import build_table, load_study

PLACEMENT, REDUCTION = "model.attention.placement", "model.attention.reduction"


def make(stand_in, axes, gain):
    """A table in which a run scores 90, its seed's own luck, its noise and `gain(axes)`."""

    def score(chosen):
        luck, noise = (random.Random(text).gauss(0, 1) for text in (f"seed {chosen['seed']}", repr(chosen)))
        return 90 + 0.5 * luck + gain(chosen) + 0.1 * noise

    stand_in.build(axes, score)
    return build_table(load_study(stand_in.root, stand_in.study))


def test_main_effects_and_interactions_are_contrasts_within_seeds(stand_in):
    axes = {PLACEMENT: ["block", "class"], REDUCTION: [4, 16], "seed": [0, 1, 2, 3, 4]}

    def gain(chosen):
        return (
            2 * (chosen[PLACEMENT] == "class")
            + (chosen[REDUCTION] == 16)
            + 4 * (chosen[PLACEMENT] == "class" and chosen[REDUCTION] == 16)
        )

    table = make(stand_in, axes, gain)
    found = {tuple(effect.axes): effect for effect in table.effects}
    study = load_study(stand_in.root, stand_in.study)
    y = {
        tuple(row.axes.values()): np.array([study.records[key].values["test_top1"] for key in row.run_keys])
        for row in table.rows
    }
    main = (y["class", 4] + y["class", 16] - y["block", 4] - y["block", 16]) / 2
    both = y["class", 16] - y["class", 4] - y["block", 16] + y["block", 4]
    assert found[PLACEMENT,].value == pytest.approx(main.mean())
    assert found[PLACEMENT,].p == pytest.approx(stats.ttest_1samp(main, 0).pvalue, rel=1e-6)
    assert found[PLACEMENT, REDUCTION].value == pytest.approx(both.mean())
    assert found[PLACEMENT, REDUCTION].significant


def test_effects_leave_out_rows_where_the_axis_has_none(stand_in):
    axes = {PLACEMENT: ["none", "block", "class"], REDUCTION: [4, 16], "seed": [0, 1, 2]}
    table = make(stand_in, axes, lambda chosen: int(chosen[REDUCTION] == 16))
    main = [effect for effect in table.effects if effect.axes == [REDUCTION]]
    assert [effect.value for effect in main] == [pytest.approx(1, abs=0.2)]
    against = {tuple(effect.against) for effect in table.effects if effect.axes == [PLACEMENT]}
    assert against == {("none",)}


def test_an_incomplete_crossing_has_no_interaction(stand_in):
    axes = {PLACEMENT: ["block", "class"], REDUCTION: [4, 16], "seed": [0, 1]}
    stand_in.build(axes, lambda chosen: 90.0)
    manifest = stand_in.manifest()
    manifest["cells"] = [
        cell
        for cell in manifest["cells"]
        if cell["axes"][REDUCTION] == 4 or cell["axes"][PLACEMENT] == "block"
    ]
    stand_in.write_manifest(manifest)
    table = build_table(load_study(stand_in.root, stand_in.study))
    assert [effect.axes for effect in table.effects if len(effect.axes) == 2] == []
