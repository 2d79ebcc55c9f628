"""What an author declares of a table or figure, and where it counts."""

import json
import re

import numpy as np
import pytest
from matplotlib.figure import Figure

from cbam_ablate.aggregate import build_table, load_study
from cbam_ablate.aggregate.study_file import figures_now
from cbam_ablate.cli import run
from cbam_ablate.config.output import FigureConfig
from cbam_ablate.report import figures, latex
from cbam_ablate.report.learning import curves_of
from cbam_ablate.runs import RunStore

PLACEMENT, REDUCTION = "model.attention.placement", "model.attention.reduction"
AXES = {PLACEMENT: ["none", "block", "class"], "seed": [0, 1, 2]}


def score(chosen):
    gain = {"none": 0.0, "block": 2.0, "class": 1.0}[chosen[PLACEMENT]]
    return 90.0 + gain + chosen["seed"] ** 2 / 7 + gain * chosen["seed"] / 11


@pytest.fixture
def words(stand_in):
    stand_in.build(AXES, score)
    return [f"study={stand_in.study}", f"store={stand_in.root}"]


def kept(stand_in):
    return json.loads((stand_in.folder / "table.json").read_text())


def test_the_study_file_is_read_as_it_is_now(stand_in, words, tmp_path, monkeypatch):
    file = tmp_path / "conf" / "study" / f"{stand_in.study}.yaml"
    file.parent.mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    for label in ("In each block", "Everywhere"):
        file.write_text(f"# @package _global_\ntable: {{labels: {{block: {label}}}}}\n")
        assert run("table", words) == 0
        assert label in (stand_in.folder / "table.md").read_text()


def test_what_the_command_that_trained_it_said_counts_over_the_study_file(
    stand_in, words, tmp_path, monkeypatch
):
    manifest = stand_in.manifest()
    stand_in.write_manifest({**manifest, "command": [*manifest["command"], "table.metrics=[test_top5]"]})
    file = tmp_path / "conf" / "study" / f"{stand_in.study}.yaml"
    file.parent.mkdir(parents=True)
    file.write_text("# @package _global_\ntable: {metrics: [test_loss], labels: {block: Everywhere}}\n")
    monkeypatch.chdir(tmp_path)
    assert run("table", words) == 0
    text = (stand_in.folder / "table.md").read_text()
    assert ("top-5" in text, "loss" in text, "Everywhere" in text) == (True, False, True)


def test_a_table_told_to_go_elsewhere_leaves_the_one_that_is_there(stand_in, words, tmp_path):
    assert run("table", words) == 0
    before = {path.name: path.read_bytes() for path in stand_in.folder.iterdir()}
    assert run("table", [*words, f"out={tmp_path / 'paper'}", "table.metrics=[test_top5]"]) == 0
    assert {path.name: path.read_bytes() for path in stand_in.folder.iterdir()} == before
    assert "top-5" in (tmp_path / "paper" / "table.tex").read_text()


@pytest.mark.slow
def test_what_the_table_was_told_stays_for_the_report(stand_in, words):
    assert run("table", [*words, "table.metrics=[test_top5]"]) == 0
    assert run("report", words) == 0
    assert kept(stand_in)["told"] == {"metrics": ["test_top5"]}
    assert "top-5" in (stand_in.folder / "table.md").read_text()


@pytest.mark.slow
def test_what_a_table_elsewhere_was_told_stays_for_the_report_there(stand_in, words, tmp_path):
    there = [*words, f"out={tmp_path / 'paper'}"]
    assert run("table", [*words, "table.metrics=[test_loss]"]) == 0
    assert run("table", [*there, "table.metrics=[test_top5]"]) == 0
    assert run("report", there) == 0
    assert "top-5" in (tmp_path / "paper" / "table.tex").read_text()
    assert kept(stand_in)["told"] == {"metrics": ["test_loss"]}


def test_an_interval_of_a_percentage_stays_within_0_and_100(stand_in):
    stand_in.build(AXES, lambda chosen: [99.9, 100.0, 98.2][chosen["seed"]])
    cell = build_table(load_study(stand_in.root, stand_in.study), {}).rows[0].cell("test_top1")
    assert cell.interval[1] == 100
    assert cell.interval[0] == pytest.approx(96.9, abs=0.1)


def test_a_rule_stands_between_the_values_of_a_separating_axis(stand_in):
    axes = {PLACEMENT: ["block", "class"], REDUCTION: [4, 16], "seed": [0, 1, 2]}
    stand_in.build(axes, score)
    study = load_study(stand_in.root, stand_in.study)
    rules = [
        latex.render(build_table(study, options)).count(r"\midrule")
        for options in ({}, {"separators": ["placement"]})
    ]
    assert rules[1] == rules[0] + 1


@pytest.mark.slow
def test_figures_have_truetype_letters_and_the_width_of_the_column(stand_in, words):
    assert run("report", [*words, "figure.width=252pt", "figure.font=serif"]) == 0
    drawn = sorted((stand_in.folder / "figures").glob("*.pdf"))
    assert drawn
    for path in drawn:
        content = path.read_bytes()
        (width,) = {float(found) for found in re.findall(rb"/MediaBox \[ 0 0 ([\d.]+)", content)}
        assert width == pytest.approx(252 * 72 / 72.27, abs=0.1)
        assert b"/Type3" not in content


def test_figures_are_as_the_study_file_its_command_and_the_report_have_it(stand_in, tmp_path, monkeypatch):
    file = tmp_path / "conf" / "study" / f"{stand_in.study}.yaml"
    file.parent.mkdir(parents=True)
    file.write_text("# @package _global_\nfigure: {width: 2in, size: 5, font: serif}\n")
    monkeypatch.chdir(tmp_path)
    command = ["cbam-ablate", "train", f"study={stand_in.study}", "figure.size=6", "figure.font=sans"]
    stand_in.build(AXES, score, command=command)
    study = load_study(stand_in.root, stand_in.study)
    assert figures_now(study, {"font": "serif"}) == FigureConfig(width="2in", size=6, font="serif")


def test_learning_curves_are_by_their_own_epochs_and_lack_what_is_missing(stand_in):
    keys = list(stand_in.build(AXES, score).values())[:2]
    for key, epochs in zip(keys, ([1, 2, 3], [1, 3]), strict=True):
        lines = [json.dumps({"epoch": epoch, "val_top1": 10.0 * epoch}) for epoch in epochs]
        (stand_in.run(key) / "history.jsonl").write_text("\n".join(lines) + "\n")
    found = curves_of("block", keys, RunStore(stand_in.root))
    assert found.epochs.tolist() == [1, 2, 3]
    np.testing.assert_array_equal(found.values, [[10, 20, 30], [10, np.nan, 30]])
    axes = Figure().subplots()
    figures.curves(axes, [found], "validation top-1, %")
    assert axes.lines[0].get_xdata().tolist() == [1, 2, 3]
    assert axes.lines[0].get_ydata().tolist() == [10, 20, 30]
    assert axes.lines[0].get_label() == "block (n = 1 to 2)"
