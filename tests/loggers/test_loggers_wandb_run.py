"""A run as W&B sees it: the real client beside the run, a stand-in server on loopback."""

import json
import os
import signal
import subprocess
import sys

import pytest

from cbam_ablate.config.canonical import canonical
from cbam_ablate.runs import RunStore

EPOCHS = [1, 2, 3]


def test_a_run_arrives_whole(store, wandb_server):
    cfg = store.config("logger=wandb", "placement=block")
    run = store.train(cfg, study="gates")
    sent = wandb_server.runs[run.key]
    assert (sent["group"], sent["project"], sent["state"]) == ("gates", "cbam-ablate", "finished")
    assert {name: sent["config"][name] for name in canonical(cfg)} == canonical(cfg)
    short = {name: sent["config"][name] for name in ("placement", "depth", "reduction", "kernel", "seed")}
    assert short == {"placement": "block", "depth": 8, "reduction": 4, "kernel": 7, "seed": 0}
    rows = wandb_server.rows(run.key)
    assert [(row["_step"], row["epoch"]) for row in rows] == [(epoch, epoch) for epoch in EPOCHS]
    assert [row["val_top1"] for row in rows] == [record["val_top1"] for record in run.history()]
    result = run.result()
    numbers = {**result["metrics"], **result["cost"]}
    assert {name: sent["summary"][name] for name in numbers} == numbers
    assert [line for line in store.lines if run.key in line and line.startswith("W&B: http")]


@pytest.mark.slow
def test_the_x_axis_of_every_curve_is_the_epoch(store, wandb_server):
    run = store.train(store.config("logger=wandb"))
    metrics = wandb_server.runs[run.key]["config"]["_wandb"]["m"]
    assert [metric["5"] for metric in metrics if metric.get("2") == "*"] == [1]
    assert metrics[0]["1"] == "epoch"


@pytest.mark.slow
def test_tags_are_every_study_placement_and_backbone(store, wandb_server):
    study, runs = store.study("logger=wandb", placements="none", seeds="0")
    run = runs["none", 0]
    for name in ("another", "unrelated"):
        folder = RunStore(store.root).study(name)
        folder.mkdir(parents=True)
        keys = {run.key: {}} if name == "another" else {}
        (folder / "manifest.json").write_text(json.dumps({"runs": keys}))
    store.train(store.config("logger=wandb", "placement=none", "seed=0"), study="another")
    sent = wandb_server.runs[run.key]
    assert sent["group"] == study
    assert sorted(sent["tags"]) == sorted([study, "another", "none", "resnet_cifar"])


@pytest.mark.slow
def test_curves_arrive_while_the_run_is_trained(store, wandb_server, until):
    arrived = []

    def look(epoch):
        if epoch == 2:
            arrived.append(until(lambda: any(run["history"] for run in wandb_server.runs.values()), 30))

    store.train(store.config("logger=wandb"), after=look)
    assert arrived == [True]


@pytest.mark.slow
def test_a_resumed_run_continues_and_doubles_nothing(store, wandb_server):
    cfg = store.config("logger=wandb")
    run = store.train(cfg, epochs=2, ended="killed")
    assert wandb_server.runs[run.key]["state"] == "failed"
    store.train(cfg)
    assert [row["epoch"] for row in wandb_server.rows(run.key)] == EPOCHS
    assert list(wandb_server.runs) == [run.key]
    assert wandb_server.runs[run.key]["state"] == "finished"


@pytest.mark.slow
def test_a_failed_run_says_in_w_and_b_how_it_failed(store, wandb_server):
    run = store.train(store.config("logger=wandb"), epochs=1, ended="failed")
    sent = wandb_server.runs[run.key]
    assert (sent["state"], sent["summary"]["failure"], len(sent["history"])) == ("failed", "diverged", 1)


@pytest.mark.slow
def test_a_killed_trainer_leaves_no_process_and_a_run_marked_failed(store, wandb_server, until):
    code = f"""
import sys, time
sys.path.insert(0, {os.path.dirname(__file__)!r})
from conftest import Store
store = Store({str(store.root)!r}, {store.tiny!r})
store.train(store.config("logger=wandb"), after=lambda epoch: time.sleep(60))
"""
    trainer = subprocess.Popen([sys.executable, "-c", code])
    assert until(lambda: wandb_server.runs, 30)
    trainer.send_signal(signal.SIGKILL)
    trainer.wait()
    (sent,) = wandb_server.runs.values()
    assert until(lambda: sent["state"] == "failed")
    processes = ["ps", "-eo", "args"]
    assert until(lambda: sent["name"] not in subprocess.run(processes, capture_output=True, text=True).stdout)


@pytest.mark.slow
def test_offline_a_run_is_w_and_bs_own_file(store, wandb_server):
    run = store.train(store.config("logger=wandb", "logger.wandb.mode=offline"))
    store.train(store.config("logger=wandb", "logger.wandb.mode=offline"))
    (file,) = store.root.glob(f"wandb/offline-run-*-{run.key}/*.wandb")
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", file]
    read = subprocess.run(command, capture_output=True, text=True, check=True)
    assert read.stdout.count('"val_top1"') >= len(EPOCHS)
    assert wandb_server.runs == {}
    assert f"cbam-ablate wandb push run={run.key}" in store.lines[-1]
