import json
import os
import re
import shlex
import signal
import subprocess
import time

import pytest

from cbam_ablate.sweep.outline import make_outline

HERE = "hydra.launcher.jobs=0"
SABOTAGE = """
import os, signal, sys, time
import cbam_ablate.sweep.job as job
plain = job._train
def sabotaged(cfg, writer, *rest):
    what = os.environ.get("SABOTAGE", "").split(",")
    if f"raise{cfg.seed}" in what:
        raise KeyError("sabotaged")
    if f"memory{cfg.seed}" in what:
        raise MemoryError("sabotaged")
    if f"sleep{cfg.seed}" in what:
        time.sleep(60)
    if f"exit{cfg.seed}" in what:
        os._exit(3)
    if f"kill{cfg.seed}" in what:
        os.kill(os.getpid(), signal.SIGKILL)
    return plain(cfg, writer, *rest)
job._train = sabotaged
"""


@pytest.fixture
def sabotage(tmp_path):
    """The environment in which the jobs of these seeds do as told: `raise1,exit2`."""
    (tmp_path / "saboteur").mkdir()
    (tmp_path / "saboteur" / "sitecustomize.py").write_text(SABOTAGE)
    paths = os.pathsep.join([str(tmp_path / "saboteur"), os.environ.get("PYTHONPATH", "")])
    return lambda what: {"PYTHONPATH": paths, "SABOTAGE": what}


@pytest.fixture
def words(tiny):
    return ["-m", *tiny, "train.epochs=1"]


def states(cli):
    found = {}
    for key, folder in cli.runs().items():
        seed = json.loads((folder / "config.json").read_text())["seed"]
        status = json.loads((folder / "status.json").read_text())
        done = (folder / "result.json").exists()
        found[seed] = "finished" if done else status.get("class") or status["state"]
        assert key == folder.name
    return found


def test_a_sweep_trains_each_distinct_run_once_and_the_same_command_none(cli, words):
    sweep = ["train", *words, "placement=none,class", "reduction=2,4", "seed=0"]
    assert make_outline([*sweep[2:], f"store={cli.store}"]).unfinished()
    first = cli(*sweep, cold=True)
    assert first.returncode == 0, first.stderr
    assert len(cli.runs()) == 3
    logs = {key: (folder / "train.log").read_text() for key, folder in cli.runs().items()}
    assert not make_outline([*sweep[2:], f"store={cli.store}"]).unfinished()
    again = cli(*sweep)
    assert again.returncode == 0
    assert {key: (folder / "train.log").read_text() for key, folder in cli.runs().items()} == logs
    assert "4 cells -> 3 distinct, 3 done, 0 to run" in again.stdout


@pytest.mark.slow
def test_every_failure_gets_its_class_and_the_others_go_on(cli, words, sabotage):
    env = sabotage("raise1,memory2,exit3,kill4")
    done = cli("train", *words, "seed=0,1,2,3,4,5", "sweep.retries=0", env=env)
    assert done.returncode == 1
    assert states(cli) == {0: "finished", 1: "bug", 2: "out_of_memory", 3: "bug", 4: "killed", 5: "finished"}
    traces = [folder / "traceback.txt" for folder in cli.runs().values()]
    assert any("KeyError" in trace.read_text() for trace in traces if trace.exists())
    assert "4 of 6 runs are not finished" in done.stderr
    assert "sweep.mode=retry" in done.stderr
    assert "exited with code 3" in done.stderr
    assert "killed by SIGKILL" in done.stderr


@pytest.mark.slow
def test_the_same_command_runs_what_failed_and_nothing_else(cli, words, sabotage):
    sweep = ["train", *words, "seed=0,1"]
    failed = cli(*sweep, env=sabotage("raise1"))
    assert failed.returncode == 1
    (again,) = re.findall("The same command goes on: cbam-ablate (.*)", failed.stderr)
    done = next(path for path in cli.runs().values() if (path / "result.json").exists())
    written = (done / "result.json").stat().st_mtime_ns
    assert cli(*shlex.split(again)).returncode == 0
    assert states(cli) == {0: "finished", 1: "finished"}
    assert (done / "result.json").stat().st_mtime_ns == written


@pytest.mark.slow
def test_retry_mode_runs_only_what_failed(cli, words, sabotage):
    cli("train", *words, "seed=0,1", env=sabotage("raise1"))
    done = cli("train", *words, "seed=0,1,2", "sweep.mode=retry", "sweep.extend=true")
    assert done.returncode == 1
    assert states(cli) == {0: "finished", 1: "finished"}


@pytest.mark.slow
def test_a_killed_job_is_tried_again(cli, words, sabotage):
    done = cli("train", *words, "seed=0,4", "sweep.retries=1", env=sabotage("kill4"))
    assert done.returncode == 1
    folder = next(p for p in cli.runs().values() if not (p / "result.json").exists())
    assert len(list((folder / "claims").glob("[0-9]*.json"))) == 2


@pytest.mark.slow
def test_a_job_past_its_time_limit_is_ended_and_classified(cli, words, sabotage):
    done = cli("train", *words, "seed=0,1", "sweep.timeout_minutes=0.3", env=sabotage("sleep1"))
    assert done.returncode == 1
    assert states(cli) == {0: "finished", 1: "timeout"}


def processes(cli):
    """The process that trained each seed."""
    found = {}
    for folder in cli.runs().values():
        seed = json.loads((folder / "config.json").read_text())["seed"]
        (claim,) = (folder / "claims").glob("[0-9]*.json")
        found[seed] = json.loads(claim.read_text())["pid"]
    return found


@pytest.mark.slow
def test_a_process_does_one_job_after_another_until_one_fails(cli, words, sabotage, tmp_path):
    sweep = ["train", *words, "seed=range(5)", "hydra.launcher.jobs=1"]
    done = cli(*sweep, env=sabotage("raise2"))
    assert done.returncode == 1
    assert states(cli) == {0: "finished", 1: "finished", 2: "bug", 3: "finished", 4: "finished"}
    by = processes(cli)
    assert by[0] == by[1] == by[2] != by[3] == by[4]
    alone = type(cli)(tmp_path / "alone")
    assert alone("train", *words[1:], "seed=4").returncode == 0
    (key,) = alone.runs()
    assert cli.result(key)["metrics"] == alone.result(key)["metrics"]


@pytest.mark.slow
@pytest.mark.parametrize("jobs", [0, 1])
def test_a_run_after_a_larger_one_in_the_same_process_has_a_peak_of_its_own(cli, words, jobs):
    done = cli("train", *words, "model.width=48,4", f"hydra.launcher.jobs={jobs}")
    assert done.returncode == 0, done.stderr
    in_time = sorted(cli.runs().values(), key=lambda folder: (folder / "result.json").stat().st_mtime)
    first, second = (cli.result(folder.name)["cost"] for folder in in_time)
    assert first["params"] > second["params"]
    assert second["peak_memory_mib"] < first["peak_memory_mib"] - 20


@pytest.mark.slow
def test_fail_fast_starts_nothing_more(cli, words, sabotage):
    cli(
        "train",
        *words,
        "seed=1,2,3,4",
        "sweep.fail_fast=true",
        "hydra.launcher.jobs=1",
        env=sabotage("raise1"),
    )
    assert states(cli) == {1: "bug"}


@pytest.mark.slow
def test_jobs_can_run_in_the_sweeps_own_process(cli, words):
    assert cli("train", *words, "seed=0,1", HERE).returncode == 0
    assert states(cli) == {0: "finished", 1: "finished"}


@pytest.mark.slow
def test_hydras_own_launcher_gives_the_same_runs(cli, words, tmp_path, without_times):
    assert cli("train", *words, "seed=0,1", HERE).returncode == 0
    other = type(cli)(tmp_path / "basic")
    done = other("train", *words, "seed=0,1", "hydra/launcher=basic")
    assert done.returncode == 0, done.stderr
    assert other.runs().keys() == cli.runs().keys()
    for key in cli.runs():
        assert other.result(key)["metrics"] == cli.result(key)["metrics"]


@pytest.mark.slow
def test_jobs_run_from_the_frozen_plan_whatever_becomes_of_the_config(cli, words, tmp_path):
    from cbam_ablate.sweep.job import run_cell

    cli("train", *words, "seed=0,1", "sweep.mode=read_only")
    manifest = next((cli.store / "studies").glob("*/manifest.json"))
    frozen = json.loads(manifest.read_text())
    frozen["constants"]["train.epochs"] = 2
    key = next(iter(frozen["runs"]))
    manifest.write_text(json.dumps(frozen))
    run_cell(manifest, key)
    assert (
        len(
            cli.store.joinpath("runs").iterdir().__next__().joinpath("history.jsonl").read_text().splitlines()
        )
        == 2
    )


@pytest.mark.slow
def test_force_trains_anew_and_keeps_the_old_run(cli, words):
    cli("train", *words, "seed=0", HERE)
    key = next(iter(cli.runs()))
    assert cli("train", *words, "seed=0", "sweep.mode=force", HERE).returncode == 0
    assert (cli.store / "replaced" / f"{key}.1" / "result.json").exists()
    assert (cli.runs()[key] / "result.json").exists()


@pytest.mark.slow
def test_a_changed_study_shows_the_difference_and_needs_a_word(cli, tiny):
    sweep = ["train", "study=quick", *tiny, "train.epochs=1", "data.train_size=null", "data.val_size=128"]
    small = ["placement=none", "schedule.warmup_epochs=0", HERE]
    assert cli(*sweep, *small, "seed=0").returncode == 0
    changed = cli(*sweep, *small, "seed=0,1")
    assert changed.returncode == 1
    assert "seed" in changed.stderr
    assert "sweep.extend=true" in changed.stderr
    assert len(cli.runs()) == 1
    assert cli(*sweep, *small, "seed=0,1", "sweep.extend=true").returncode == 0
    assert len(cli.runs()) == 2


def test_a_sweep_with_a_bad_cell_starts_nothing(cli, words):
    done = cli("train", *words, "model.attention.kernel=3,4", "placement=block")
    assert done.returncode == 1
    assert "1 of 2 cells" in done.stderr
    assert "Traceback" not in done.stderr
    assert cli.runs() == {}


@pytest.mark.slow
def test_a_budget_refuses_what_does_not_fit(cli, words):
    unknown = cli("train", *words, "seed=0,1", "sweep.max_hours=1")
    assert (unknown.returncode, "sweep.probe=true" in unknown.stderr) == (1, True)
    over = cli("train", *words, "seed=0,1", "sweep.max_hours=0.000001", "sweep.probe=true")
    assert (over.returncode, "will take about" in over.stderr) == (1, True)
    assert cli.runs() == {}
    assert cli("train", *words, "seed=0", "sweep.max_hours=1", "sweep.probe=true", HERE).returncode == 0


@pytest.mark.slow
def test_two_sweeps_at_once_train_no_run_twice(cli, words):
    sweep = ["train", *words, "seed=0,1,2"]
    processes = [cli.start(*sweep), cli.start(*sweep)]
    for process in processes:
        process.communicate(timeout=600)
    assert [process.returncode for process in processes] == [0, 0]
    for folder in cli.runs().values():
        assert len((folder / "history.jsonl").read_text().splitlines()) == 1
        assert (folder / "train.log").read_text().count("epoch 1/1 train") == 1


SLOW_IMPORT = """
import os, pathlib, sys, time
if any("forkserver import main" in word for word in sys.orig_argv):
    pathlib.Path(os.environ["SERVER"]).write_text(str(os.getpid()))
    time.sleep(300)
"""


def test_ctrl_c_while_jobs_import_ends_in_one_line_at_once(cli, words, tmp_path):
    """The terminal sends it to the server too, which is importing."""
    (tmp_path / "sitecustomize.py").write_text(SLOW_IMPORT)
    server = tmp_path / "server"
    paths = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    process = cli.start(
        "train", *words, "seed=0,1", env={"PYTHONPATH": paths, "SERVER": str(server)}, cold=True
    )
    while not (server.exists() and server.read_text()) and process.poll() is None:
        time.sleep(0.05)
    for pid in (int(server.read_text()), process.pid):
        os.kill(pid, signal.SIGINT)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 130
    assert "Traceback" not in err


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "times"),
    [(signal.SIGINT, 1), (signal.SIGTERM, 1), (signal.SIGTERM, 2)],
    ids=["Ctrl-C", "SIGTERM", "SIGTERM to it and to its group"],
)
def test_a_sweep_that_is_stopped_saves_the_running_jobs_and_writes_the_table(cli, tiny, number, times):
    sweep = ["train", "-m", *tiny, "train.epochs=40", "train.batch_size=16", "seed=0,1,2"]
    process = cli.start(*sweep, cold=True)

    def all_signals_but_the_last_are_sent():
        saved = any(folder.joinpath("checkpoints/last.pt").exists() for folder in cli.runs().values())
        for _ in range(times - 1) if saved else ():
            process.send_signal(number)
            time.sleep(0.05)
        return saved

    code = cli.kill_when(process, all_signals_but_the_last_are_sent, number)
    assert code == 130
    assert "interrupted" in states(cli).values()
    assert "running" not in states(cli).values()
    assert list((cli.store / "studies").glob("*/table.md"))
    assert subprocess.run(["pgrep", "-f", str(cli.store)], capture_output=True).returncode == 1
