"""The engines that need no cluster, and what is refused before anything runs."""

import json
import os
import signal
from pathlib import Path

import pytest

from cbam_ablate.sweep import pack, slurm, submit
from cbam_ablate.sweep.ledger import Ledger
from cbam_ablate.sweep.manifest import freeze
from cbam_ablate.sweep.plan import make_plan


def test_joblib_gives_the_same_table(study, reference):
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    joblib = study("hydra/launcher=joblib")
    done = joblib.run()
    assert done.returncode == 0, done.stderr
    assert joblib.table() == reference


def test_submitit_local_gives_the_same_table_with_a_worker_killed_half_way(study, reference, end):
    pytest.importorskip("submitit")
    local = study("hydra/launcher=submitit_local")
    process = local.start()
    local.kill_one_half_way()
    done = end(process)
    assert done.returncode == 0, done.stderr
    assert local.resumed() == 1
    assert local.table() == reference


def test_processes_of_submitit_local_go_on_when_left(study, reference, until):
    pytest.importorskip("submitit")
    local = study("hydra/launcher=submitit_local")
    assert local.run("detach=true").returncode == 0
    assert local.waiting() == 4
    until(lambda: local.done() == 4, "the whole study")
    assert local.run().returncode == 0
    assert local.table() == reference


def test_ctrl_c_saves_what_submitit_local_has_at_work(study, until, end):
    pytest.importorskip("submitit")
    local = study("hydra/launcher=submitit_local", epochs=60)
    process = local.start()
    until(local.at_work, "a run at work")
    process.send_signal(signal.SIGINT)
    assert end(process).returncode == 130
    states = [json.loads((folder / "status.json").read_text()) for folder in local.cli.runs().values()]
    assert {status["state"] for status in states} <= {"interrupted", "finished"}
    assert "interrupted" in {status["state"] for status in states}


HEARS = """from hydra.experimental.callback import Callback
class Hears(Callback):
    def note(self, *words): print(*words, file=open("heard", "a"))
    def on_job_start(self, config, **_): self.note("start", config.key)
    def on_job_end(self, config, job_return, **_): self.note(job_return.status.name, config.key)
"""


def test_callbacks_hear_of_each_run_once_though_processes_share_the_runs(cli, tiny, tmp_path, monkeypatch):
    pytest.importorskip("submitit")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hears_each.py").write_text(HEARS)
    words = ["seed=0,1,2", "hydra/launcher=submitit_local", "+hydra.callbacks.its._target_=hears_each.Hears"]
    done = cli("train", "-m", *tiny, "train.epochs=1", *words)
    assert done.returncode == 0, done.stderr
    heard = sorted((tmp_path / "heard").read_text().splitlines())
    assert heard == sorted(f"{what} {key}" for what in ("start", "COMPLETED") for key in cli.runs())


@pytest.mark.parametrize(("launcher", "jobs"), [("joblib", "n_jobs=2"), ("submitit_local", "jobs=1")])
def test_hydra_1_4_with_its_launchers_makes_the_same(same_on_hydra_14, launcher, jobs):
    same_on_hydra_14(f"hydra/launcher={launcher}", f"hydra.launcher.{jobs}")


@pytest.mark.parametrize("launcher", ["local", "basic", "joblib"])
def test_engines_whose_jobs_end_with_the_command_cannot_be_left(cli, tiny, launcher):
    done = cli("train", "-m", *tiny, "seed=0,1", f"hydra/launcher={launcher}", "detach=true")
    assert done.returncode == 1
    assert f"hydra/launcher={launcher}" in done.stderr
    assert "submitit_slurm" in done.stderr
    assert "Traceback" not in done.stderr
    assert cli.runs() == {}


def test_a_single_run_cannot_be_left(cli, tiny):
    done = cli("train", *tiny, "detach=true")
    assert (done.returncode, "detach=true" in done.stderr) == (1, True)


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("hydra.launcher.num_cpus=none", "hydra.launcher.num_cpus=none: must be a number"),
        ("hydra.launcher.num_gpus=-1", "at least 0"),
        ("hydra.launcher.num_gpus=1.5", "a part of one GPU or whole GPUs"),
        ("train.device=cuda:1", "choose train.device=auto"),
        ("detach=true", "hydra.launcher.address=auto"),
    ],
)
def test_a_bad_word_is_refused_before_anything_runs(cli, tiny, word, said):
    pytest.importorskip("ray")
    words = [name for name in tiny if not name.startswith(word.partition("=")[0])]
    done = cli("train", "-m", *words, "seed=0,1", "hydra/launcher=ray", word)
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert cli.runs() == {}


def test_a_ray_task_without_a_gpu_is_a_cpu_run_where_there_is_one(cli, tiny):
    """On the device that tests/cuda/pretend makes up."""
    pytest.importorskip("ray")
    pretend = str(Path(__file__).parents[1] / "cuda" / "pretend")
    env = {"PYTHONPATH": os.pathsep.join([pretend, os.environ.get("PYTHONPATH", "")])}
    words = ["train", *(word for word in tiny if not word.startswith("train.device"))]
    assert cli(*words, "seed=9", env=env, cold=True).returncode == 0
    (there,) = cli.runs()
    assert cli.result(there)["provenance"]["device"] == "cuda: pretended"
    ray = ["hydra/launcher=ray", "hydra.launcher.num_gpus=0"]
    done = cli(*words[:1], "-m", *words[1:], "seed=0,1", *ray, env=env, cold=True)
    assert done.returncode == 0, done.stderr
    devices = [cli.result(key)["provenance"]["device"] for key in cli.runs() if key != there]
    assert len(devices) == 2
    assert all(device.startswith("cpu") for device in devices)


def test_an_engine_that_is_not_installed_names_its_extra(monkeypatch):
    from cbam_ablate.config import ConfigError
    from cbam_ablate.sweep import launchers

    monkeypatch.setitem(launchers.EXTRAS, "slurm", "not_there")
    with pytest.raises(ConfigError, match=r"pip install 'cbam_ablate\[slurm\]'"):
        launchers.require_extra("ours", "cbam_ablate.sweep.launchers.on_submitit.SlurmLauncher")


def test_what_slurm_refuses_of_a_submission_leaves_the_arrays_before_it(tiny, tmp_path, monkeypatch, capsys):
    """By a stand-in for sbatch that takes one array."""
    pytest.importorskip("submitit")
    plan = make_plan([*tiny, f"store={tmp_path}", "seed=0,1,2"])
    sbatch = tmp_path / "bin" / "sbatch"
    sbatch.parent.mkdir()
    sbatch.write_text(
        f"#!/bin/sh\n[ -e {tmp_path}/taken ] && echo QOSMaxSubmitJobPerUserLimit >&2 && exit 1\n"
        f"touch {tmp_path}/taken; echo Submitted batch job 7\n"
    )
    sbatch.chmod(0o755)
    (tmp_path / "bin" / "srun").symlink_to("sbatch")
    monkeypatch.setenv("PATH", f"{sbatch.parent}:{os.environ['PATH']}")
    monkeypatch.setattr(slurm, "max_array", lambda: 2)
    manifest = freeze(plan, ["cbam-ablate"])
    packs = [pack.Pack(manifest, [key], 1) for key in plan.runs]
    submit.submit_slurm(manifest, packs, 10, 64, {"max_num_timeout": 1})
    assert "QOSMaxSubmitJobPerUserLimit" in capsys.readouterr().err
    monkeypatch.setattr(slurm, "states", lambda jobs: dict.fromkeys(jobs, "PENDING"))
    assert list(Ledger(manifest).waiting()[0]) == list(plan.runs)[:2]


@pytest.mark.parametrize("launcher", ["joblib", "submitit_local"])
def test_workers_find_ones_own_module(own_module, launcher):
    pytest.importorskip({"joblib": "hydra_plugins.hydra_joblib_launcher"}.get(launcher, "submitit"))
    own_module(f"hydra/launcher={launcher}")
