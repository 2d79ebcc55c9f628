"""How commands end: exit codes and last lines that say what the same command can still do."""

import contextlib
import json
import os
import pty
import re
import subprocess
import sys

from cbam_ablate.cli import run

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


def test_a_terminal_shows_that_a_command_has_begun_before_anything_large_is_imported():
    parent, child = pty.openpty()
    program = [sys.executable, "-X", "importtime", "-m", "cbam_ablate", "plan", "placemnt=none"]
    process = subprocess.Popen(program, stdout=child, stderr=child)
    os.close(child)
    said = b""
    with contextlib.suppress(OSError):
        while chunk := os.read(parent, 4096):
            said += chunk
    process.wait(120)
    os.close(parent)
    before = said.partition(b"planning ...")[0]
    assert b"did you mean placement?" in said
    assert b"| cbam_ablate.cli" in before
    assert not any(b"| " + name in before for name in (b"torch", b"hydra", b"numpy"))
