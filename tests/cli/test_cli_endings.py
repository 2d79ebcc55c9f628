"""How commands end: exit codes and last lines that say what the same command can still do."""

import contextlib
import io
import json
import os
import pty
import re
import subprocess
import sys
import time

from rich.console import Console

from cbam_ablate.cli import run
from cbam_ablate.runs.writer import RunWriter
from cbam_ablate.sweep.plan import make_plan
from cbam_ablate.sweep.watch import Watch

HERE = "hydra.launcher.jobs=0"
WILD = ["optimizer.lr=100", "optimizer.weight_decay=1", "train.epochs=1"]


def started(store):
    """When each run's last process began, by key."""
    return {
        path.parent.name: json.loads(path.read_text())["updated"] for path in store.glob("runs/*/status.json")
    }


def test_a_run_that_diverged_is_an_outcome_until_it_is_asked_for_again(tmp_path, tiny, capsys):
    words = [*tiny, *WILD, f"store={tmp_path}"]
    assert run("train", words) == 3
    before = started(tmp_path)
    assert run("train", words) == 3
    err = capsys.readouterr().err
    assert err.count("sweep.mode=retry") == 2
    assert "has diverged: " in err
    assert started(tmp_path) == before
    assert run("train", [*words, "sweep.mode=retry"]) == 3
    assert started(tmp_path) != before


def test_a_sweep_tells_what_diverged_from_what_the_same_command_would_mend(tmp_path, tiny, capsys):
    words = ["-m", *tiny, *WILD[1:], "optimizer.lr=0.01,100", HERE, f"store={tmp_path}"]
    assert run("train", words) == 3
    before = started(tmp_path)
    assert run("train", words) == 3
    assert started(tmp_path) == before
    last = capsys.readouterr().err
    assert "1 diverged, which is what came out" in last
    assert "The same command goes on" not in last
    assert run("plan", words) == 0
    assert "2 distinct, 1 done, 1 failed, 0 to run" in capsys.readouterr().out


def test_a_plan_says_which_file_its_study_comes_from(tmp_path, monkeypatch, capsys):
    mine = tmp_path / "conf" / "study" / "placement.yaml"
    mine.parent.mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert run("plan", ["study=placement", "data=synthetic"]) == 0
    assert "conf/study/placement.yaml declares it" in capsys.readouterr().out.replace(str(tmp_path), "HERE")
    mine.write_text("# @package _global_\nhydra: {sweeper: {params: {seed: '0,1'}}}\n")
    assert run("plan", ["study=placement", "data=synthetic"]) == 0
    out = capsys.readouterr().out
    assert f"study placement as {mine} declares it" in out
    assert "2 cells" in out


def test_a_plan_names_options_as_they_are_typed_and_a_root_that_is_not_there(capsys):
    words = ["-m", "data=cifar100", "data.root=nowhere", "data.label_noise=0.1,0.2"]
    assert run("plan", words) == 0
    out = capsys.readouterr().out
    assert "new     data.label_noise=0.2  11," in out
    assert "data.root=nowhere: there is no such folder or file here" in out


def test_a_plan_in_80_columns_cuts_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "80")
    words = ["-m", "attention=cbam,coordinate", "placement=block", "model.attention.order=spatial_first"]
    words += ["optimizer.weight_decay=0.0005,0.00001", "kernel=3,7", "augment.crop_padding=0,4"]
    assert run("plan", [*words, "data=synthetic", "backbone=resnet_cifar", f"store={tmp_path}"]) == 0
    lines = re.sub("\x1b\\[[0-9;]*m", "", capsys.readouterr().out).splitlines()
    table = [line for line in lines if re.match("run  |  |[0-9a-f]{16} ", line)]
    assert max(len(line) for line in table) <= 80
    assert len(table) > 1 + 12
    assert "MACs" in table[0]
    assert "…" not in "".join(table)


def on_a_terminal(*words):
    """What a command writes to a terminal."""
    parent, child = pty.openpty()
    process = subprocess.Popen([sys.executable, *words], stdout=child, stderr=child)
    os.close(child)
    said = b""
    with contextlib.suppress(OSError):
        while chunk := os.read(parent, 4096):
            said += chunk
    process.wait(120)
    os.close(parent)
    return said


def test_a_terminal_shows_that_a_command_has_begun_before_anything_large_is_imported():
    said = on_a_terminal("-X", "importtime", "-m", "cbam_ablate", "plan", "placemnt=none")
    before = said.partition(b"planning ...")[0]
    assert b"did you mean placement?" in said
    assert b"| cbam_ablate.cli" in before
    assert not any(b"| " + name in before for name in (b"torch", b"hydra", b"numpy"))


def test_a_terminal_shows_how_far_one_run_is(tmp_path, tiny, monkeypatch):
    monkeypatch.setattr("cbam_ablate.runs.writer.HEARTBEAT", 0.01)
    plan = make_plan([*tiny, f"store={tmp_path}"], sweep=False)
    (key,) = plan.runs
    run = plan.store.run(key)
    with RunWriter(run, plan.store.claim(run), plan.runs[key], None) as writer:
        writer.progress(epoch=2, epochs=4, step=3, steps=8, val_top1=31.25)
        deadline = time.monotonic() + 60
        while "step" not in run.status() and time.monotonic() < deadline:
            time.sleep(0.01)
        shown = Console(width=80, record=True, file=io.StringIO())
        shown.print(Watch(plan).picture())
        writer.interrupt()
    assert " epoch 2 of 4, step 3 of 8; val 31.2 %" in shown.export_text()
