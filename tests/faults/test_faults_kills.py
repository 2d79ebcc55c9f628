"""What a sweep must survive: kills at any moment, and a disk that is full or not to be written."""

import json
import os
import random
import shutil
import signal
import subprocess

import pytest

KILLS = 20


def table(cli, without_times):
    text = next((cli.store / "studies").glob("*/table.json")).read_text()
    return without_times(json.loads(text.replace(str(cli.store), "STORE")))


@pytest.mark.slow
def test_a_sweep_killed_at_random_moments_ends_with_the_same_table(cli, tiny, tmp_path, without_times):
    sweep = [
        "train",
        "-m",
        *tiny,
        "train.epochs=8",
        "train.batch_size=16",
        "placement=none,block",
        "seed=0,1,2",
    ]
    undisturbed = type(cli)(tmp_path / "undisturbed")
    assert undisturbed(*sweep).returncode == 0
    dice = random.Random(0)
    killed = 0
    while killed < KILLS:
        process = cli.start(*sweep)
        try:
            process.communicate(timeout=dice.uniform(0.5, 2.5))
            break
        except subprocess.TimeoutExpired:
            jobs = [pid for folder in cli.runs().values() for pid in _pids(folder)]
            victim = dice.choice([process.pid, *jobs])
            try:
                os.kill(victim, signal.SIGKILL)
                killed += 1
            except ProcessLookupError:
                pass
            if victim == process.pid:
                process.communicate()
            else:
                process.send_signal(signal.SIGKILL)
                process.communicate()
                killed += 1
    assert cli(*sweep).returncode == 0
    assert table(cli, without_times) == table(undisturbed, without_times)
    for key in cli.runs():
        assert cli.result(key)["metrics"] == undisturbed.result(key)["metrics"]


def _pids(folder):
    claims = sorted((folder / "claims").glob("[0-9]*.json"))
    if not claims or (folder / "result.json").exists():
        return []
    claim = json.loads(claims[-1].read_text())
    return [] if claim.get("released") else [claim["pid"]]


@pytest.mark.slow
def test_a_group_whose_process_is_killed_ends_alone_and_the_table_says_so(cli, tiny, until):
    jobs = ["hydra/launcher=fused", "hydra.launcher.jobs=1"]
    sweep = cli.start("train", "-m", *tiny, "train.epochs=12", "train.batch_size=32", "seed=0,1,2", *jobs)
    until(lambda: len(list(cli.store.glob("runs/*/checkpoints/last.pt"))) == 3)
    os.kill(_pids(next(iter(cli.runs().values())))[0], signal.SIGKILL)
    _, err = sweep.communicate(timeout=600)
    assert sweep.returncode == 0, err
    assert "failed (killed)" in err
    ways = {key: [one.get("fused") for one in cli.result(key)["provenance_history"]] for key in cli.runs()}
    assert list(ways.values()) == [[3, None]] * 3
    assert [len(cli.history(key)) for key in ways] == [12, 12, 12]
    text = next((cli.store / "studies").glob("*/table.md")).read_text()
    assert "differ: fused, then separate in 3 runs" in text


@pytest.mark.slow
def test_jobs_end_with_a_killed_parent_and_the_same_command_goes_on(cli, tiny):
    sweep = ["train", "-m", *tiny, "train.epochs=15", "train.batch_size=32", "seed=0,1"]
    process = cli.start(*sweep)

    def one_epoch_is_saved():
        return any(folder.joinpath("checkpoints/last.pt").exists() for folder in cli.runs().values())

    assert cli.kill_when(process, one_epoch_is_saved) == -signal.SIGKILL
    done = cli(*sweep)
    assert done.returncode == 0, done.stderr
    assert any("goes on from" in (folder / "train.log").read_text() for folder in cli.runs().values())


@pytest.mark.slow
def test_a_store_that_cannot_be_written_is_refused_in_one_line(cli, tiny, tmp_path):
    (tmp_path / "store").write_text("a file where the store should be")
    for words in (["train", *tiny], ["train", "-m", *tiny, "seed=0,1"]):
        done = cli(*words)
        assert done.returncode == 1
        assert "can't be written" in done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root")
def test_a_full_disk_fails_runs_in_words_and_the_same_command_finishes_later(cli, tiny, tmp_path):
    cli.store.mkdir(parents=True)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", cli.store]).returncode:
        pytest.skip("mounting is not allowed here")
    sweep = ["train", "-m", *tiny, "seed=0,1,2"]
    try:
        full = cli(*sweep)
        assert full.returncode == 1
        assert "No space left on device" in full.stderr
        assert "Traceback (most" not in full.stderr
        subprocess.run(["mount", "-o", "remount,size=100m", cli.store], check=True)
        assert cli(*sweep).returncode == 0
        assert len([f for f in cli.runs().values() if (f / "result.json").exists()]) == 3
        shutil.copytree(cli.store, tmp_path / "kept")
    finally:
        subprocess.run(["umount", cli.store], check=True)
