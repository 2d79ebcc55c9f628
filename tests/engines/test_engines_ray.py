"""A real Ray cluster of two nodes: a killed worker, a lost node, leaving, shares of a GPU."""

import contextlib
import signal

import pytest


@pytest.fixture
def ray(ray_cluster):
    return ("hydra/launcher=ray", f"hydra.launcher.address={ray_cluster}")


def test_a_worker_killed_half_way_changes_nothing_in_the_table(study, reference, ray, end):
    tasks = study(*ray)
    process = tasks.start()
    tasks.kill_one_half_way()
    done = end(process)
    assert done.returncode == 0, done.stderr
    assert tasks.resumed() == 1
    assert tasks.table() == reference


def test_a_node_that_is_lost_changes_nothing_in_the_table(study, reference, ray, ray_node, end, until):
    tasks = study(*ray)
    process = tasks.start()
    until(tasks.done, "a run")
    with tasks.one_held():
        ray_node("lose")
    try:
        done = end(process)
    finally:
        ray_node("join")
    assert done.returncode == 0, done.stderr
    assert tasks.table() == reference


def test_runs_share_a_gpu_by_fractions(study, reference, ray, end):
    """Three at a time on two GPUs."""
    tasks = study(*ray, "hydra.launcher.num_gpus=0.5", "hydra.launcher.num_cpus=0.5")
    process = tasks.start()
    with contextlib.ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(tasks.one_held(saved=False))
    done = end(process)
    assert done.returncode == 0, done.stderr
    assert tasks.table() == reference


def test_a_sweep_can_be_left_and_its_plan_shows_what_waits(study, ray):
    tasks = study(*ray, epochs=60)
    left = tasks.run("detach=true")
    assert left.returncode == 0, left.stderr
    with tasks.one_held():
        assert "queued" in tasks.plan()
        again = tasks.run("detach=true")
    assert again.returncode == 0, again.stderr
    assert "in the queue already" in again.stderr
    waited = tasks.run()
    assert waited.returncode == 0, waited.stderr
    assert tasks.done() == 4


def test_the_same_command_goes_on_after_its_parent_was_killed(study, reference, ray, until):
    tasks = study(*ray)
    process = tasks.start()
    until(tasks.done, "a run")
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=300)
    assert tasks.run().returncode == 0
    assert tasks.table() == reference


def test_a_ray_of_its_own_gives_the_same_table(study, reference):
    pytest.importorskip("ray")
    own = study("hydra/launcher=ray")
    done = own.run()
    assert done.returncode == 0, done.stderr
    assert own.table() == reference


def test_hydra_1_4_with_its_launchers_makes_the_same(same_on_hydra_14):
    """On a Ray of its own: the cluster's nodes train with the Hydra that they were started with."""
    same_on_hydra_14("hydra/launcher=ray")


def test_workers_find_ones_own_module(own_module, ray):
    own_module(*ray)


def test_what_no_node_has_is_refused_before_anything_runs(cli, tiny, ray):
    done = cli("train", "-m", *tiny, "seed=0,1", *ray, "hydra.launcher.num_gpus=2")
    assert done.returncode == 1
    assert "num_gpus=2" in done.stderr
    assert "1 GPUs" in done.stderr
    assert cli.runs() == {}
