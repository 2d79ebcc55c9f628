"""Runs of one setting and seed in a store: pooled where they are repeats, refused where they differ."""

import pytest

from cbam_ablate.aggregate import build_table, load_study
from cbam_ablate.errors import StoreError
from tests.aggregate.test_aggregate_table import PLACEMENT

RATES = {PLACEMENT: ["none", "block"], "optimizer.lr": [0.1, 0.2], "seed": [0, 1]}


def without_rates(manifest):
    """The manifest as if the rate were no axis: two runs have each setting and seed."""
    axes = {name: values for name, values in manifest["axes"].items() if name != "optimizer.lr"}
    cells = [
        {**cell, "axes": {name: value for name, value in cell["axes"].items() if name in axes}}
        for cell in manifest["cells"]
    ]
    return {**manifest, "axes": axes, "cells": cells}


def test_different_configs_in_one_seed_s_place_are_refused_with_their_difference(stand_in):
    stand_in.build(RATES, lambda chosen: 90 + 10 * chosen["optimizer.lr"])
    stand_in.write_manifest(without_rates(stand_in.manifest()))
    with pytest.raises(StoreError, match=r"are both seed 0 of .*optimizer\.lr.*0\.1.*0\.2"):
        build_table(load_study(stand_in.root, stand_in.study))


def test_repeats_of_one_config_count_as_one_seed_with_a_word(stand_in):
    stand_in.build(RATES, lambda chosen: 90 + 10 * chosen["optimizer.lr"])
    manifest = without_rates(stand_in.manifest())
    for options in manifest["runs"].values():
        options["optimizer.lr"] = 0.1
    stand_in.write_manifest(manifest)
    table = build_table(load_study(stand_in.root, stand_in.study))
    assert [row.n for row in table.rows] == [2, 2]
    assert table.rows[0].cell("test_top1").value == pytest.approx(91.5)
    assert any("has 2 runs of seed 0" in note and "counts as one seed" in note for note in table.notes)
