"""A table asks for any metric of finished runs: it is worked out then, and kept."""

import json
import os

import numpy as np
import pytest
import sklearn.metrics as sk

from cbam_ablate.aggregate import build_table, load_study
from cbam_ablate.cli import run as command
from cbam_ablate.errors import ConfigError
from cbam_ablate.metrics.predictions import unpack
from tests.metrics.conftest import content

ASKED = ["test_f1_macro", "test_auroc", "test_ece", "val_brier", "last_test_kappa", "test_top3"]


def table_of(study, *metrics, **options):
    return build_table(load_study(study.root, study.study), {"metrics": list(metrics), **options})


def test_a_table_has_the_metrics_that_it_asks_for_of_finished_runs(study):
    table = table_of(study, "test_top1", *ASKED)
    assert [quantity.label for quantity in table.quantities[1:7]] == [
        "test macro F1", "test AUROC", "test ECE", "val. Brier score", "test, last epoch Cohen's kappa",
        "test top-3",
    ]  # fmt: skip
    assert [quantity.unit for quantity in table.quantities[1:7]] == ["%", "", "%", "", "", "%"]
    row = next(row for row in table.rows if row.axes["model.attention.placement"] == "block")
    keys = [key for (placement, _), key in study.keys.items() if placement == "block"]
    samples = [unpack((study.run(key) / "predictions.npz").read_bytes(), key).sample("test") for key in keys]
    expected = [100 * sk.f1_score(one.labels, one.predicted, average="macro") for one in samples]
    assert row.cell("test_f1_macro").value == pytest.approx(np.mean(expected), abs=1e-9)
    assert row.cell("test_f1_macro").n == 5
    assert row.cell("test_f1_macro").difference is not None
    assert not any("predictions" in note for note in table.notes)


def test_what_was_worked_out_is_kept_and_not_worked_out_again(study):
    first = table_of(study, "test_f1_macro")
    for key in study.keys.values():
        kept = json.loads((study.run(key) / "metrics" / "test_f1_macro.json").read_text())
        assert kept["unit"] == "%"
        (study.run(key) / "predictions.npz").unlink()
    assert table_of(study, "test_f1_macro") == first


def test_newer_predictions_are_worked_out_anew(study):
    table_of(study, "test_accuracy")
    key = study.keys["none", 0]
    path = study.run(key) / "predictions.npz"
    path.write_bytes(content(key, 79.5))
    later = (study.run(key) / "metrics" / "test_accuracy.json").stat().st_mtime_ns + 10
    os.utime(path, ns=(later, later))
    load = load_study(study.root, study.study)
    build_table(load, {"metrics": ["test_accuracy"]})
    assert load.records[key].values["test_accuracy"] == pytest.approx(79.5)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda key, whole: whole[: len(whole) // 2], "predictions.npz is refused: cut short"),
        (lambda key, whole: content("f" * 16, 80.0), "predictions.npz is refused: belongs to run ffff"),
        (lambda key, whole: content(key, 80.0, data="e" * 64), "refused: of another data set"),
        (lambda key, whole: None, "no predictions were kept"),
    ],
)
def test_predictions_that_can_not_be_used_are_named_and_the_other_numbers_stand(study, change, why):
    key = study.keys["none", 0]
    path = study.run(key) / "predictions.npz"
    changed = change(key, path.read_bytes())
    path.unlink() if changed is None else path.write_bytes(changed)
    table = table_of(study, "test_top1", "test_f1_macro")
    row = next(row for row in table.rows if row.axes["model.attention.placement"] == "none")
    assert (row.cell("test_top1").n, row.cell("test_f1_macro").n) == (5, 4)
    (note,) = [note for note in table.notes if note.startswith("test_f1_macro")]
    assert why in note
    assert key in note


def test_a_metric_of_ones_own_gets_labels_and_probabilities(study, tmp_path, monkeypatch):
    (tmp_path / "my_metrics.py").write_text(
        "def sure(labels, probabilities):\n    return float((probabilities.max(axis=1) > 0.9).mean())\n"
        "def broken(labels, probabilities):\n    raise RuntimeError('no')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    own = {"sure": "my_metrics:sure", "broken": "my_metrics:broken"}
    table = table_of(study, "test_sure", "test_broken", "test_top1", **{"metrics.own": own})
    assert 0 < table.rows[0].cell("test_sure").value < 1
    assert any(
        "my_metrics:broken: RuntimeError in" in note
        and "my_metrics.py line" in note
        and ": no (15 runs" in note
        for note in table.notes
    )
    assert table.options["metrics.own"] == own
    with pytest.raises(ConfigError, match=r"metrics.own.x=my_metrics:nothing: my_metrics has no nothing"):
        table_of(study, "test_x", **{"metrics.own": {"x": "my_metrics:nothing"}})


def test_another_function_of_the_same_file_under_the_same_name_is_another_metric(
    study, tmp_path, monkeypatch
):
    (tmp_path / "my_pair.py").write_text(
        "def low(y, p):\n    return 0.25\ndef high(y, p):\n    return 0.75\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    found = [
        table_of(study, "test_mine", **{"metrics.own": {"mine": f"my_pair:{name}"}}).rows[0].cell("test_mine")
        for name in ("low", "high")
    ]
    assert [cell.value for cell in found] == [0.25, 0.75]


def test_the_command_line_takes_metrics_and_a_check_finds_them_unchanged(study, capsys):
    words = [f"study={study.study}", f"store={study.root}"]
    assert command("table", [*words, "table.metrics=[test_top1,test_f1_macro]"]) == 0
    assert "macro F1" in capsys.readouterr().out
    assert command("table", [*words, "--check"]) == 0


def test_an_unknown_metric_is_answered_with_those_there_are(study):
    with pytest.raises(ConfigError, match=r"test_f2: no run measured it.*last_test_ or val_ with topK"):
        table_of(study, "test_f2")
