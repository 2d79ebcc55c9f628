import os
import time

import pytest

from cbam_ablate.cli.show import show
from cbam_ablate.runs import RunStore
from cbam_ablate.runs.writer import mark_ended
from cbam_ablate.sweep import pack, slurm
from cbam_ablate.sweep.estimate import Guess
from cbam_ablate.sweep.ledger import Ledger
from cbam_ablate.sweep.manifest import freeze
from cbam_ablate.sweep.plan import make_plan
from cbam_ablate.sweep.submit import ENDINGS


@pytest.fixture
def plan(tiny, tmp_path):
    return make_plan([*tiny, f"store={tmp_path}", "seed=0,1,2"])


@pytest.fixture
def trained(monkeypatch):
    """The keys that a pack hands to training, which here does nothing."""
    keys = []

    def train_cell(manifest, key, *_, **__):
        keys.append(key)
        return RunStore(manifest.parents[2]).run(key).state()

    monkeypatch.setattr(pack, "train_cell", train_cell)
    return keys


def fail(plan, key, failure="bug"):
    run = plan.store.run(key)
    run.path.mkdir(parents=True)
    mark_ended(run, failure, "sabotaged")


def test_a_run_that_failed_since_the_pack_was_made_is_not_tried_again(plan, trained):
    manifest = freeze(plan, ["cbam-ablate"])
    before, now, later = plan.runs
    fail(plan, before)
    time.sleep(0.01)
    made = pack.Pack(manifest, [before, now, later, "not of the study"], None)
    fail(plan, now)
    made()
    assert trained == [before, later]


def test_a_job_that_slurm_started_anew_tries_again_what_was_lost_with_it(plan, trained, monkeypatch):
    manifest = freeze(plan, ["cbam-ablate"])
    made = pack.Pack(manifest, list(plan.runs), None)
    first, second, third = plan.runs
    fail(plan, first, "killed")
    fail(plan, second, "diverged")
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    made()
    assert trained == [first, third]


def test_only_a_process_that_is_the_same_one_counts_as_alive(tmp_path, plan):
    manifest = freeze(plan, ["cbam-ablate"])
    ledger = Ledger(manifest)
    path = ledger.add("local", {str(os.getpid()): list(plan.runs)})
    assert set(ledger.waiting()[0]) == set(plan.runs)
    path.write_text(path.read_text().replace('"started": "', '"started": "1'))
    assert ledger.waiting() == ({}, [])


def test_a_plan_says_when_the_queue_does_not_answer(plan, monkeypatch, capsys):
    Ledger(freeze(plan, ["cbam-ablate"])).add("slurm", {"12_0": list(plan.runs)})
    monkeypatch.setattr(slurm, "_ask", lambda *words: None)
    show(plan)
    assert "slurm doesn't answer" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("launcher", "together"),
    [
        ("hydra/launcher=submitit_slurm hydra.launcher.array_parallelism=7", 7),
        ("hydra/launcher=local hydra.launcher.jobs=2", 2),
    ],
)
def test_a_plan_reckons_with_as_many_runs_at_a_time_as_the_launcher_allows(launcher, together, tiny):
    plan = make_plan([*tiny, *launcher.split(), "seed=0,1,2,3,4,5,6,7,8,9,10,11,12,13"])
    plan.guesses = dict.fromkeys(plan.runs, Guess(3600.0, None, "probe"))
    assert plan.hours() == pytest.approx(max(1, 14 / together))


@pytest.mark.parametrize(
    ("text", "minutes"),
    [("infinite", None), ("30:00", 30), ("4:00:00", 240), ("1-00:00:00", 1440), ("2-01:30:00", 2970)],
)
def test_a_partitions_time_limit_is_read_in_minutes(text, minutes, monkeypatch):
    monkeypatch.setattr(slurm, "_ask", lambda *words: f"main* {text}\nother 1:00\n")
    assert slurm.most_minutes(None) == minutes


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_job_that_ended_in_whatever_way_is_over_though_the_queue_lists_it_still(ending, monkeypatch):
    monkeypatch.setattr(slurm, "_ask", lambda *_: f"12_0 {ending}\n12_1 RUNNING\n")
    assert slurm.states(["12_0", "12_1"]) == {"12_1": "RUNNING"}
