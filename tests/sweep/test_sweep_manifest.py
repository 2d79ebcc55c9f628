"""The frozen plan among other commands, other folders and what can't be trained."""

import io
import sys

import pytest

from cbam_ablate import console
from cbam_ablate.cli import run
from cbam_ablate.config import ConfigError, load_config
from cbam_ablate.config.canonical import run_key
from cbam_ablate.models import cost
from cbam_ablate.runs import RunStore
from cbam_ablate.runs.claim import acquire
from cbam_ablate.sweep.job import run_job, run_one
from cbam_ablate.sweep.manifest import freeze, read, run_config
from cbam_ablate.sweep.plan import make_plan
from cbam_ablate.sweep.run import run_plan


def test_runs_are_where_the_manifest_lies_from_any_folder(tiny, tmp_path, monkeypatch):
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    monkeypatch.chdir(here)
    plan = make_plan([*tiny, "seed=0,1"])
    path = freeze(plan, [])
    monkeypatch.chdir(there)
    assert run_config(read(path), next(iter(plan.runs))).store == str(here / "outputs")


def test_a_study_that_is_at_work_loses_no_run(tiny, tmp_path):
    quick = ["study=quick", "placement=none", "data.val_size=128", "data.train_size=null"]
    words = [*tiny, *quick, f"store={tmp_path}", "sweep.extend=true"]
    plan = make_plan([*words, "seed=0,1"])
    freeze(plan, [])
    run = plan.store.run(next(iter(plan.runs)))
    claim = acquire(run.path)
    (run.path / "status.json").write_text('{"state": "running", "study": "quick"}')
    freeze(make_plan([*words, "seed=0,1,2"]), [])
    with pytest.raises(ConfigError, match=r"another command trains it .*, and 3 of its runs would no longer"):
        freeze(make_plan([*words, "seed=8,9"]), [])
    (run.path / "status.json").write_text('{"state": "running", "study": "another"}')
    assert freeze(make_plan([*words, "seed=8,9"]), [])
    claim.release()


def test_force_takes_nothing_away_before_there_is_data_to_train_on(tiny, tmp_path, monkeypatch):
    words = [*tiny, f"store={tmp_path}", "train.epochs=1"]
    cfg = load_config(words)
    run_one(cfg)

    def gone(cfg):
        raise ConfigError("no such data")

    monkeypatch.setattr("cbam_ablate.sweep.run.prepare", gone)
    monkeypatch.setattr("cbam_ablate.data.prepare", gone)
    with pytest.raises(ConfigError, match="no such data"):
        run_plan(make_plan([*words, "sweep.mode=force"]), lambda path, keys: None, [])
    assert run("train", [*words, "sweep.mode=force"]) == 1
    assert RunStore(tmp_path).run(run_key(cfg)).state().name == "finished"


@pytest.fixture
def gone(monkeypatch):
    """A terminal that was closed, to which messages go."""

    class Closed(io.StringIO):
        def write(self, text):
            raise BrokenPipeError

    monkeypatch.setattr(sys, "stderr", Closed())
    console.console.cache_clear()
    console.set_up()
    yield
    console.console.cache_clear()


def test_a_run_outlives_the_terminal_that_it_writes_to(tiny, tmp_path, gone):
    cfg = load_config([*tiny, f"store={tmp_path}", "train.epochs=1"])
    assert run_one(cfg).name == "finished"
    assert "epoch 1/1" in (tmp_path / "runs" / run_key(cfg) / "train.log").read_text()


def test_a_folder_may_have_any_name(tiny, tmp_path, monkeypatch, capsys):
    folder = tmp_path / r"it's (1), jörg=x \n $y"
    folder.mkdir()
    monkeypatch.chdir(folder)
    (folder / "conf" / "study").mkdir(parents=True)
    (folder / "conf" / "study" / "mine.yaml").write_text(
        "# @package _global_\nhydra: {sweeper: {params: {seed: '0,1'}}}\n"
    )
    words = ["study=mine", "train.epochs=1", "hydra.launcher.jobs=0"]
    assert run("train", [*tiny, *words]) == 0, capsys.readouterr().err
    assert run("table", ["study=mine", f"store={folder / 'outputs'}"]) == 0


@pytest.mark.parametrize("together", [1, 2])
def test_what_a_network_costs_is_taken_from_the_plan(tiny, tmp_path, monkeypatch, together):
    plan = make_plan([*tiny, f"store={tmp_path}", "train.epochs=1", "seed=0,1"])
    path, keys = freeze(plan, []), list(plan.runs)[:together]
    monkeypatch.setattr(cost, "_counted", {})
    monkeypatch.setattr(cost, "_count", lambda cfg: pytest.fail("counted again"))
    run_job(path, keys)
    for key in keys:
        result = plan.store.run(key).result()
        assert (result["cost"]["params"], result["cost"]["macs"]) == plan.costs[key]
