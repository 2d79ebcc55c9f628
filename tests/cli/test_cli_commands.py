"""The commands over a finished sweep, in one process: what they print agrees with what the store holds."""

import json

import pytest

from cbam_ablate.cli import run
from cbam_ablate.report import export
from cbam_ablate.runs import RunStore
from tests.tiny import SMALL

HERE = [*SMALL, "hydra.launcher.jobs=0"]


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """A store with a sweep of placement none and block by two seeds, and the study's name."""
    store = tmp_path_factory.mktemp("swept")
    words = ["placement=none,block", "seed=0,1", "train.epochs=1", f"store={store}"]
    assert run("train", ["-m", *HERE, *words]) == 0
    return store, next((store / "studies").iterdir()).name


def results(store):
    return {path.parent.name: json.loads(path.read_text()) for path in store.glob("runs/*/result.json")}


@pytest.mark.parametrize("name", ["best", "last"])
def test_evaluate_finds_the_stored_test_scores_again(swept, capsys, name):
    store, _ = swept
    key, result = next(iter(results(store).items()))
    assert run("evaluate", [f"run={key[:6]}", f"checkpoint={name}", f"store={store}"]) == 0
    found = json.loads(capsys.readouterr().out)
    prefix = "test" if name == "best" else "last_test"
    assert found["top1"] == result["metrics"][f"{prefix}_top1"]
    assert found["loss"] == pytest.approx(result["metrics"][f"{prefix}_loss"], abs=1e-6)


def test_evaluate_takes_a_checkpoints_path(swept, capsys):
    store, _ = swept
    path = next(store.glob("runs/*/checkpoints/best.pt"))
    assert run("evaluate", [f"run={path}", "part=val"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["top1"] == results(store)[path.parents[1].name]["metrics"]["val_top1"]


def test_reproduce_trains_a_row_again_to_the_same_result(swept, capsys):
    store, study = swept
    words = [f"study={study}", "row=placement=block", f"store={store}", "tolerance=0"]
    assert run("reproduce", words) == 0
    assert "largest difference 0.00 points" in capsys.readouterr().out


@pytest.mark.slow
def test_reproduce_sends_nothing_to_the_runs_own_loggers(tmp_path):
    words = ["-m", *HERE, "train.epochs=1", "seed=0,1", f"store={tmp_path}", "logger=csv"]
    assert run("train", words) == 0
    study = next((tmp_path / "studies").iterdir()).name
    assert run("reproduce", [f"study={study}", "row=seed=0", f"store={tmp_path}"]) == 0
    assert len(list(tmp_path.glob("runs/*/history.csv"))) == 2
    assert list(tmp_path.glob("reproduced/runs/*/history.jsonl"))
    assert not list(tmp_path.glob("reproduced/runs/*/history.csv"))


def test_reproduce_notices_a_result_that_does_not_hold(swept, capsys):
    store, study = swept
    key, result = next(iter(results(store).items()))
    path = store / "runs" / key / "result.json"
    kept = path.read_text()
    result["metrics"]["test_top1"] += 20
    path.write_text(json.dumps(result))
    manifest = json.loads((store / "studies" / study / "manifest.json").read_text())
    placement = next(c["axes"]["model.attention.placement"] for c in manifest["cells"] if c["key"] == key)
    try:
        assert run("reproduce", [f"study={study}", f"row=placement={placement}", f"store={store}"]) == 1
    finally:
        path.write_text(kept)
    assert "NOT reproduced" in capsys.readouterr().out


@pytest.mark.slow
def test_reproduce_finds_a_run_that_went_on_from_another_and_the_seed_of_all(tmp_path, capsys):
    store = f"store={tmp_path}"
    single = SMALL
    assert run("train", [*single, "train.epochs=1", store]) == 0
    (parent,) = results(tmp_path)
    words = ["-m", *HERE, "train.epochs=2", f"train.resume_from={parent}", "optimizer.lr=0.01,0.02", store]
    assert run("train", words) == 0
    (study,) = (path.name for path in (tmp_path / "studies").iterdir())
    row = [f"study={study}", "row=optimizer.lr=0.02", "tolerance=0", store]
    assert run("reproduce", [*row, "seed=0"]) == 0
    assert run("reproduce", [*row, "seed=7"]) == 1
    assert "seed: 0" in capsys.readouterr().err


def test_a_committed_table_is_checked_against_its_runs(swept, capsys):
    store, study = swept
    table = store / "studies" / study / "table.json"
    assert run("table", [f"study={study}", f"store={store}", "--check"]) == 0
    kept = table.read_text()
    changed = json.loads(kept)
    changed["rows"][0]["cells"]["test_top1"]["value"] += 0.01
    table.write_text(json.dumps(changed))
    try:
        assert run("table", [f"study={study}", f"store={store}", "--check"]) == 1
    finally:
        table.write_text(kept)


def test_an_export_can_be_tabulated_elsewhere(swept, tmp_path, capsys):
    store, study = swept
    assert run("export", [f"study={study}", f"store={store}", f"to={tmp_path / 'kept'}"]) == 0
    assert list((tmp_path / "kept").rglob("*.pt")) == []
    assert run("table", [f"study={study}", f"store={tmp_path / 'kept'}", "--check"]) == 0


@pytest.mark.slow
@pytest.mark.parametrize("folders", [1000, 1], ids=["folders", "lines"])
def test_an_exports_finished_runs_are_planned_and_trained_as_done(
    swept, tmp_path, capsys, monkeypatch, folders
):
    monkeypatch.setattr(export, "MOST_FOLDERS", folders)
    kept = tmp_path / "kept"
    assert run("export", [f"study={swept[1]}", f"store={swept[0]}", f"to={kept}"]) == 0
    assert (kept / "runs" / "results.jsonl").exists() == (folders == 1)
    words = ["-m", *HERE, "placement=none,block", "train.epochs=1", f"store={kept}"]
    assert run("plan", [*words, "seed=0,1,2"]) == 0
    assert "6 distinct, 4 done, 2 to run, about" in capsys.readouterr().out
    assert run("runs", [f"store={kept}", "placement=block"]) == 0
    assert capsys.readouterr().out.count("finished") == 2
    assert run("train", [*words, "seed=0,1"]) == 0
    assert not list(kept.glob("runs/*/checkpoints"))
    assert run("train", [*words, "seed=0,1,2", "sweep.extend=true"]) == 0
    assert len(list(kept.glob("runs/*/checkpoints"))) == 2
    assert run("train", [*words, "seed=0,1", "sweep.mode=force", "sweep.extend=true"]) == 0
    assert len(list(kept.glob("runs/*/checkpoints"))) == 6
    found = {one.key: one.result()["metrics"]["test_top1"] for one in RunStore(kept).runs()}
    assert len(found) == 6
    assert all(found[key] == result["metrics"]["test_top1"] for key, result in results(swept[0]).items())


def test_a_dry_run_shows_the_plan_and_starts_nothing(tmp_path, capsys):
    words = ["data=synthetic", "placement=none,block", "seed=0,1", "sweep.dry_run=true"]
    assert run("train", ["-m", *words, f"store={tmp_path / 'store'}"]) == 0
    assert "4 cells -> 4 distinct, 0 done, 4 to run" in capsys.readouterr().out
    assert not (tmp_path / "store").exists()


def test_plan_says_what_is_done(swept, capsys):
    store, _ = swept
    words = ["-m", *HERE, "train.epochs=1", "placement=none,block", "seed=0,1,2"]
    assert run("plan", [*words, f"store={store}"]) == 0
    out = capsys.readouterr().out
    assert "6 cells -> 6 distinct, 4 done, 2 to run, about" in out
    assert "runs of the same network" in out


def test_plan_lists_where_attention_goes_with_the_maps(tmp_path, capsys):
    words = ["placement=none,stage", "data=synthetic", "where=true", f"store={tmp_path}"]
    assert run("plan", ["-m", *words]) == 0
    out = capsys.readouterr().out
    assert "placement=none: no attention" in out
    assert "placement=stage: attention at 3 places" in out
    lines = [line.split() for line in out.splitlines()]
    assert lines[-3:] == [
        ["stages.0", "32x32", "64", "channels"],
        ["stages.1", "16x16", "128", "channels"],
        ["stages.2", "8x8", "256", "channels"],
    ]


def test_data_verifies_what_it_has(capsys):
    assert run("data", ["data=synthetic"]) == 0
    assert "640 training, 200 test" in capsys.readouterr().out
