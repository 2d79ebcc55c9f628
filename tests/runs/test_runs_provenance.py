"""Where a number comes from: every source file, and every process that trained a part of the run."""

import pytest

from cbam_ablate.aggregate import build_table, load_study
from cbam_ablate.config.canonical import run_key
from cbam_ablate.runs import RunStore, provenance
from cbam_ablate.runs.writer import RunWriter
from cbam_ablate.sweep.job import run_one
from tests.composed import composed


@pytest.mark.parametrize("name", ["a.py", "accel/passes/b.c", "accel/passes/c.h", "conf/d.yaml"])
def test_the_codes_hash_covers_every_kind_of_source(tmp_path, monkeypatch, name):
    monkeypatch.setattr(provenance, "PACKAGE", tmp_path)
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("one")
    before = provenance.source_hash.__wrapped__()
    (tmp_path / "notes.txt").write_text("no source")
    assert provenance.source_hash.__wrapped__() == before
    path.write_text("another")
    assert provenance.source_hash.__wrapped__() != before


@pytest.fixture
def resumed(tiny, tmp_path, monkeypatch):
    """Goes on with a run by code of this hash, until this epoch has ended; returns its result at the end."""
    cfg = composed([*tiny, "train.epochs=3", f"store={tmp_path}"])
    run = RunStore(tmp_path).run(run_key(cfg))
    append = RunWriter.epoch

    def again(code, until=3):
        def epoch(self, record):
            append(self, record)
            if record["epoch"] == until < 3:
                raise KeyboardInterrupt

        monkeypatch.setattr(RunWriter, "epoch", epoch)
        monkeypatch.setattr(provenance, "source_hash", lambda: code)
        provenance._code.cache_clear()
        (run.path / "result.json").unlink(missing_ok=True)
        assert run_one(cfg).name == ("finished" if until == 3 else "interrupted")
        return run.result()

    yield again
    provenance._code.cache_clear()


@pytest.mark.slow
def test_a_run_names_each_kind_of_process_that_trained_it_once(resumed):
    assert resumed("a" * 64, until=1) is None
    assert resumed("b" * 64, until=2) is None
    result = resumed("a" * 64)
    assert [process["code_sha256"][0] for process in result["provenance_history"]] == ["a", "b", "a"]
    assert result["provenance"]["code_sha256"] == "a" * 64


@pytest.mark.slow
def test_a_checkpoint_from_before_leaves_what_it_does_not_know_unknown(resumed, tmp_path):
    import torch

    resumed("a" * 64)
    (path,) = tmp_path.glob("runs/*/checkpoints/last.pt")
    state = torch.load(path, weights_only=True)
    for name in ("provenance", "key", "schema"):
        del state[name]
    torch.save(state, path)
    history = resumed("a" * 64)["provenance_history"]
    assert [process["code_sha256"] for process in history] == [None, "a" * 64]


def test_a_table_marks_the_rows_whose_runs_were_gone_on_with_by_other_code(stand_in):
    keys = stand_in.build({"model.attention.placement": ["none", "block"], "seed": [0, 1]}, lambda axes: 50.0)
    key = next(key for values, key in keys.items() if values[0] == "block")
    base = stand_in.finish(key, 50.0)["provenance"]
    stand_in.finish(key, 50.0, provenance_history=[{**base, "code_sha256": 64 * "b"}, base])
    table = build_table(load_study(stand_in.root, stand_in.study))
    assert {row.labels["model.attention.placement"]: row.mixes for row in table.rows} == {
        "none": [],
        "block": ["code"],
    }
    assert any("bbbbbbbbbb, then aaaaaaaaaa in 1 run" in note for note in table.notes)


def test_a_table_says_which_accelerators_computed_its_runs_where_they_differ(stand_in):
    keys = stand_in.build({"seed": [0, 1, 2]}, lambda axes: 50.0)
    for key, how in zip(keys.values(), (["cpu passes"], [], None), strict=True):
        stand_in.finish(key, 50.0, **({} if how is None else {"provenance": {"accelerators": how}}))
    (note,) = [
        note
        for note in build_table(load_study(stand_in.root, stand_in.study)).notes
        if "Accelerators" in note
    ]
    assert "cpu passes in 1 run, none in 1 run, unknown in 1 run" in note


def test_runs_made_by_other_code_are_counted(stand_in, monkeypatch):
    keys = stand_in.build({"seed": [0, 1, 2]}, lambda axes: 50.0 if axes["seed"] else None)
    store = RunStore(stand_in.root)
    results = [result for key in keys.values() if (result := store.run(key).result())]
    assert [provenance.by_other_code(result) for result in results] == [True, True]
    monkeypatch.setattr(provenance, "source_hash", lambda: 64 * "a")
    assert not any(provenance.by_other_code(result) for result in results)
