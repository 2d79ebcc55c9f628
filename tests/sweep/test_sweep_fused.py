import json
import os
import signal

import pytest

from cbam_ablate.config.canonical import flatten
from cbam_ablate.runs import RunStore
from cbam_ablate.sweep.fused import Group, groups, likeness
from cbam_ablate.sweep.manifest import freeze, read
from cbam_ablate.sweep.plan import make_plan
from tests.composed import composed

FUSED = "hydra/launcher=fused"
BREAK = """
import cbam_ablate.sweep.fused as fused
plain = fused.FusedTrainer.step
def step(self, images, labels, number):
    if number == 3:
        raise MemoryError("sabotaged")
    return plain(self, images, labels, number)
fused.FusedTrainer.step = step
"""


@pytest.fixture
def words(tiny):
    return ["train", "-m", *tiny, "train.epochs=2", "train.batch_size=32"]


def logs(cli):
    return {key: (folder / "train.log").read_text() for key, folder in cli.runs().items()}


def files(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()} - {"output.log"}


def cells(cli):
    table = json.loads(next((cli.store / "studies").glob("*/table.json")).read_text())
    return json.dumps(table["rows"], sort_keys=True).count('"run'), [row["axes"] for row in table["rows"]]


@pytest.mark.slow
def test_a_fused_sweep_leaves_the_files_and_cells_of_a_separate_one(cli, words, tmp_path):
    sweep = [*words, "optimizer.lr=0.01,0.02", "placement=class", "seed=0,1", "logger=csv"]
    apart = type(cli)(tmp_path / "apart")
    assert apart(*sweep, "hydra.launcher.jobs=0").returncode == 0
    done = cli(*sweep, FUSED, "hydra.launcher.jobs=1")
    assert done.returncode == 0, done.stderr
    assert cli.runs().keys() == apart.runs().keys()
    for key, folder in cli.runs().items():
        ours, theirs = cli.result(key), apart.result(key)
        assert files(folder) == files(apart.runs()[key])
        assert "trained as one of 4 runs together" in (folder / "train.log").read_text()
        assert ours["provenance"].pop("fused") == 4
        assert {name: value.keys() for name, value in ours.items() if isinstance(value, dict)} == {
            name: value.keys() for name, value in theirs.items() if isinstance(value, dict)
        }
        assert ours["metrics"]["train_loss"] == pytest.approx(theirs["metrics"]["train_loss"], rel=1e-3)
        assert ours["cost"]["params"] == theirs["cost"]["params"]
        assert len(cli.history(key)) == len(apart.history(key)) == 2
    assert cells(cli) == cells(apart)


@pytest.mark.slow
@pytest.mark.parametrize("launcher", [[FUSED], []], ids=["together", "alone"])
def test_the_same_command_goes_on_after_a_kill(cli, words, launcher):
    sweep = [*words, "train.epochs=12", "seed=0,1,2,3"]

    def an_epoch_is_saved():
        return any((folder / "checkpoints" / "last.pt").exists() for folder in cli.runs().values())

    assert cli.kill_when(cli.start(*sweep, FUSED), an_epoch_is_saved) == -signal.SIGKILL
    done = cli(*sweep, *launcher)
    assert done.returncode == 0, done.stderr
    for key, log in logs(cli).items():
        assert [record["epoch"] for record in cli.history(key)] == list(range(1, 13))
        if launcher or "goes on from its own last.pt" in log:
            assert cli.result(key)["provenance_history"][0]["fused"] > 1
    assert any("goes on from its own last.pt" in log for log in logs(cli).values())


@pytest.mark.slow
def test_a_run_that_fits_no_other_is_trained_alone(cli, words):
    grid = ["seed=0,1", "depth=8,14", "hydra.sweeper.exclude=[{seed: 1, model.depth: 14}]"]
    done = cli(*words, *grid, FUSED, "train.epochs=1")
    assert done.returncode == 0, done.stderr
    fused = {key: cli.result(key)["provenance"].get("fused") for key in cli.runs()}
    assert sorted(fused.values(), key=str) == [2, 2, None]
    table = json.loads(next((cli.store / "studies").glob("*/table.json")).read_text())
    assert "fused in 2 runs, separate in 1 run" in json.dumps(table)


@pytest.mark.slow
def test_a_diverging_run_fails_and_the_others_finish(cli, words):
    done = cli(
        *words, "optimizer.lr=0.01,100", "optimizer.weight_decay=1", "seed=0,1", FUSED, "sweep.retries=0"
    )
    assert done.returncode == 3
    found = {}
    for folder in cli.runs().values():
        rate = json.loads((folder / "config.json").read_text())["optimizer"]["lr"]
        status = json.loads((folder / "status.json").read_text())
        found.setdefault(rate, []).append((status["state"], status.get("class")))
    assert found == {0.01: [("finished", None)] * 2, 100: [("failed", "diverged")] * 2}


@pytest.fixture
def together(tiny, tmp_path, caplog):
    """Trains two runs together in this process and returns how they stand and what was logged."""

    def train(*words):
        manifest = read(freeze(make_plan([*tiny, *words, f"store={tmp_path}", "seed=0,1"]), []))
        keys = list(manifest["runs"])
        assert Group(manifest, keys).train("cpu", 1, lambda cfg: False) == []
        return [RunStore(tmp_path).run(key).state() for key in keys], caplog.messages

    return train


def test_a_time_limit_is_for_each_of_the_runs_together(together):
    states, _ = together("train.epochs=500", "sweep.timeout_minutes=0.005")
    assert [state.failure for state in states] == ["timeout"] * 2
    assert all("sweep.timeout_minutes=0.005 for each of 2 runs together" in state.error for state in states)


def test_runs_together_say_that_they_are_not_compiled(together):
    states, lines = together("train.epochs=1", "train.compile=on")
    assert [state.name for state in states] == ["finished"] * 2
    assert sum("train.compile=on: runs that are trained together aren't" in line for line in lines) == 2


@pytest.mark.slow
@pytest.mark.parametrize("jobs", [0, 1])
def test_fail_fast_stops_the_runs_of_a_group(cli, words, jobs):
    rates = ["optimizer.lr=0.01,100", "optimizer.weight_decay=1", "train.epochs=60"]
    launcher = [FUSED, f"hydra.launcher.jobs={jobs}"]
    done = cli(*words, *rates, *launcher, "sweep.fail_fast=true", "sweep.retries=0")
    assert done.returncode == 1
    states = [json.loads((folder / "status.json").read_text()) for folder in cli.runs().values()]
    assert sorted(status["state"] for status in states) == ["failed", "interrupted"]
    assert all(status["epoch"] < 60 for status in states)


@pytest.fixture
def broken(tmp_path):
    (tmp_path / "saboteur").mkdir()
    (tmp_path / "saboteur" / "sitecustomize.py").write_text(BREAK)
    return {"PYTHONPATH": os.pathsep.join([str(tmp_path / "saboteur"), os.environ.get("PYTHONPATH", "")])}


@pytest.mark.slow
def test_what_fails_together_is_recorded_for_each_and_tried_again_alone(cli, words, broken, tmp_path):
    done = cli(*words, "seed=0,1", FUSED, "hydra.launcher.jobs=1", env=broken)
    assert done.returncode == 0, done.stderr
    told = "sitecustomize.py line 6: sabotaged"
    assert all(
        f"failed (out_of_memory): MemoryError in {tmp_path}/saboteur/{told}" in log
        for log in logs(cli).values()
    )
    assert all("fused" not in cli.result(key)["provenance"] for key in cli.runs())


def test_runs_fuse_that_differ_in_seed_and_hyperparameters_only():
    assert likeness(composed(["seed=1", "optimizer=adamw"])) == likeness(composed(["augment=none"]))
    for word in ("augment=mixup", "placement=block", "train.epochs=2", "data.val_size=100"):
        assert likeness(composed([word])) not in (None, likeness(composed([])))
    assert likeness(composed(["model.dropout=0.5", "backbone=vgg", "depth=11"])) is None


def test_groups_are_as_wide_as_allowed_and_leave_no_slot_idle():
    sizes = {"a": 5, "b": 2, "c": 1}
    keys = [f"{name}{number}" for name, count in sizes.items() for number in range(count)]
    runs = {key: {"seed": int(key[1]), "train.epochs": 1 + "abc".index(key[0])} for key in keys}
    base = flatten(composed([]))
    kept = {k: v for k, v in base.items() if k.partition(".")[0] not in ("sweep", "table")}
    manifest = {"study": "s", "constants": kept, "runs": runs, "sweep": {}}

    def lengths(width, slots):
        found = groups(manifest, keys, width, slots)
        assert sorted(key for group in found for key in group) == keys
        assert all(len({key[0] for key in group}) == 1 for group in found)
        return [len(group) for group in found]

    assert lengths(None, 1) == [5, 2, 1]
    assert lengths(4, 1) == [3, 2, 2, 1]
    assert lengths(None, 4) == [2, 2, 2, 1, 1]
    assert lengths(1, 1) == lengths(None, 8) == [1] * 8
