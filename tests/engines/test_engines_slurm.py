"""A real one-node Slurm: killed workers, a killed parent, leaving, time limits and preemption."""

import json
import os
import re
import signal
import subprocess

import pytest

SLURM = ("hydra/launcher=submitit_slurm", "hydra.launcher.mem_gb=1")
MIDWAY = r"goes on from its own last.pt, epoch \d+, step [1-9]"
"""What a run's log says that was saved on a signal; one that was only killed goes on from an epoch's end."""
pytestmark = pytest.mark.usefixtures("slurm_cluster")


def submissions(cli):
    return [json.loads(path.read_text()) for path in (cli.store / "studies").glob("*/jobs/slurm-*.json")]


def squeue(columns):
    return subprocess.run(["squeue", "-h", "-r", "-o", columns], capture_output=True, text=True).stdout


def queue():
    return squeue("%i %T")


def scontrol(*words):
    return subprocess.run(["scontrol", *words], capture_output=True, text=True).stdout


def test_a_worker_killed_half_way_changes_nothing_in_the_table(study, reference, end):
    slurm = study(*SLURM)
    process = slurm.start()
    slurm.kill_one_half_way()
    done = end(process)
    assert done.returncode == 0, done.stderr
    assert slurm.resumed() == 1
    assert len(submissions(slurm.cli)) == 3, "two arrays and one more try"
    assert slurm.table() == reference


def test_a_node_that_is_lost_changes_nothing_in_the_table(study, reference, slurm_node, end, until):
    slurm = study(*SLURM)
    process = slurm.start()
    slurm.stop_one_half_way()
    slurm_node("lose")
    until(lambda: "RUNNING" not in queue(), "Slurm to notice")
    slurm_node("join")
    done = end(process)
    assert done.returncode == 0, done.stderr
    assert re.search(r"Restarts=[1-9]", scontrol("show", "job"))
    assert slurm.table() == reference


def test_jobs_go_on_without_their_parent_and_the_same_command_queues_nothing_twice(study, reference, until):
    slurm = study(*SLURM, "hydra.launcher.pack=2", "hydra.launcher.array_parallelism=2")
    process = slurm.start()
    with slurm.one_held():
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=300)
        until(lambda: slurm.done() >= 2, "runs without a parent")
        again = slurm.run("detach=true")
    assert again.returncode == 0, again.stderr
    assert "in the queue already" in again.stderr
    assert slurm.run().returncode == 0
    (one,) = submissions(slurm.cli)
    assert sorted(map(len, one["jobs"].values())) == [2, 2]
    assert slurm.table() == reference


def test_a_sweep_can_be_left_and_its_plan_shows_what_waits(study, reference, until):
    slurm = study(*SLURM, "hydra.launcher.pack=4")
    left = slurm.run("detach=true")
    assert left.returncode == 0, left.stderr
    assert "Handed over" in left.stdout
    with slurm.one_held():
        planned = slurm.plan()
    assert "queued" in planned
    assert "slurm:" in planned
    until(lambda: slurm.done() == 4, "the whole study")
    until(lambda: not queue(), "an empty queue")
    assert slurm.run().returncode == 0
    assert len(submissions(slurm.cli)) == 1
    assert slurm.table() == reference


def test_the_time_limit_saves_a_run_and_queues_it_again(study, until, end):
    """The run is stopped until Slurm, which looks at limits once a minute, continues and warns it."""
    limit = ["hydra.launcher.timeout_min=9", "hydra.launcher.signal_delay_s=115"]
    slurm = study(*SLURM, *limit, epochs=60, cells=["seed=0"])
    process = slurm.start()
    slurm.stop_one_half_way(after=0)
    job, run_time = squeue("%i %M").split()
    less_than_115_s_from_now = int(run_time.split(":")[-2]) + 2
    scontrol("update", f"JobId={job}", f"TimeLimit={less_than_115_s_from_now}")
    until(lambda: "Restarts=1" in scontrol("show", "job", job), "a job in the queue again")
    scontrol("update", f"JobId={job}", "TimeLimit=60")
    done = end(process)
    assert done.returncode == 0, done.stderr
    (folder,) = slurm.cli.runs().values()
    assert re.search(MIDWAY, (folder / "train.log").read_text())
    assert len(submissions(slurm.cli)) == 1


def test_preemption_saves_a_run_and_queues_it_again(study, end):
    """The run is stopped until Slurm, which continues what it warns, preempts it."""
    slurm = study(*SLURM, epochs=60, cells=["seed=0"])
    process = slurm.start()
    slurm.stop_one_half_way(after=0)
    urgent = ["sbatch", "--partition=urgent", "--exclusive", "--output=/dev/null", "--wrap=sleep 1"]
    subprocess.run(urgent, check=True, capture_output=True)
    done = end(process)
    assert done.returncode == 0, done.stderr
    (folder,) = slurm.cli.runs().values()
    assert re.search(MIDWAY, (folder / "train.log").read_text())
    assert len(submissions(slurm.cli)) == 1


def test_a_partition_that_is_not_there_is_refused_in_one_line(cli, tiny):
    done = cli("train", "-m", *tiny, "seed=0,1", *SLURM, "hydra.launcher.partition=nowhere")
    assert done.returncode == 1
    assert "Slurm refused the job" in done.stderr
    assert "Traceback" not in done.stderr
    assert cli.runs() == {}
    assert os.environ["SLURM_CONF"]


def test_workers_find_ones_own_module(own_module):
    own_module(*SLURM)


def test_hydra_1_4_with_its_launchers_makes_the_same(same_on_hydra_14):
    same_on_hydra_14(*SLURM)
