"""W&B from the command line, with real training."""

import json
import shlex

import pytest


@pytest.mark.slow
def test_a_sweep_says_once_what_it_could_not_send_and_push_sends_it(cli, tiny, wandb_server, no_key):
    env = {**no_key, **wandb_server.env}
    wandb_server.fail = {"graphql": 401}
    swept = cli("train", "-m", *tiny, "seed=0,1", "logger=wandb", env=env)
    assert swept.returncode == 0, swept.stderr
    (line,) = [line for line in swept.stderr.splitlines() if line.startswith("W&B")]
    assert "2 of 2 runs were not sent" in line
    assert [json.loads((path / "status.json").read_text())["state"] for path in cli.runs().values()] == [
        "finished",
        "finished",
    ]
    wandb_server.fail = {}
    words = shlex.split(line.partition("cbam-ablate ")[2])
    pushed = cli(*words[:-1], env=env)
    assert pushed.returncode == 0, pushed.stderr
    study = next((cli.store / "studies").glob("*/manifest.json")).parent.name
    assert set(wandb_server.runs) == {*cli.runs(), f"study-{study}"}
    assert {run["group"] for run in wandb_server.runs.values()} == {study}


@pytest.mark.slow
def test_each_job_of_a_sweep_is_a_run_and_the_study_a_table(cli, tiny, wandb_server, no_key):
    env = {**no_key, **wandb_server.env}
    swept = cli("train", "-m", *tiny, "placement=none,block", "logger=wandb", env=env)
    assert swept.returncode == 0, swept.stderr
    (line,) = [line for line in swept.stderr.splitlines() if line.startswith("W&B")]
    assert "2 runs and the study's table: http" in line
    assert {run["state"] for run in wandb_server.runs.values()} == {"finished"}
    for key in cli.runs():
        assert [row["epoch"] for row in wandb_server.rows(key)] == [1, 2]
        assert wandb_server.runs[key]["summary"]["test_top1"] == cli.result(key)["metrics"]["test_top1"]
