"""Malformed command lines: one clear error, no traceback, a non-zero exit code, no run folder."""

import os
import subprocess
import sys

import pytest

from cbam_ablate.cli import main, run

LINES = {
    "trian": "did you mean train",
    "train depth=26": "18, 19, 20",
    "train -m depth=18,26": "depth=26",
    "train -m depth=18,34 backbone=vgg99": "backbone=vgg99",
    "train -x": "no such flag",
    "train seed=0,1": "add -m",
    "train -m seed=0,x": "seed=x",
    "train -m seed=range(": "can read",
    "train -m optimizer.lr=interval(0,1)": "interval",
    "train -m seed=0,1 hydra.sweeper.nothing=1": "nothing",
    "train -m seed=0,1 hydra/launcher=nowhere": "nowhere",
    "train -m seed=0,1 hydra.launcher.jobs=-1": "at least 1",
    "train -m seed=0,1 hydra.launcher.jobs=all": "at least 1",
    "train -m seed=0,1 hydra/launcher=fused hydra.launcher.width=0": "at least 1",
    "train -m seed=0,1 hydra.launcher.width=2": "has no such option; it has jobs",
    "train -m seed=0,1 hydra.sweeper.exclude=[x]": "give axes and values",
    "train -m seed=0,1 hydra.sweeper.grids=[x]": "give axes and values",
    "train study=nothing": "placement",
    "train study=quick,placement": "one study at a time",
    "train -m store=a,b": "one store at a time",
    "train placement=[none,block]": "a sweep is placement=none,block with -m",
    "train train.device=cuda:7": "this machine has cpu",
    "train train.resume_from=0123456789abcdef": "no checkpoints/last.pt",
    "train hydra.foo=1": "hydra.foo",
    "plan -m kernel=4": "kernel=4",
    "plan figure.width=wide": "a length from 1 to 40 inches",
    "plan --now": "no such flag",
    "table": "study=",
    "table study=nothing": "no such study",
    "table study=cbam_table5": "table study=cbam_table5 of=plan has what its networks cost",
    "table study=x foo=1": "this command takes",
    "table study=x table.rows=3": "table.rows=3",
    "evaluate": "which run",
    "evaluate run=0123": "no run's key starts so",
    "evaluate run=nothing.pt": "there is no nothing.pt",
    "evaluate run=0123 part=train": "test, val",
    "evaluate run=0123 checkpoint=first": "best, last",
    "data data=cifar11": "cifar10",
    "data data.root=/nowhere": "/nowhere",
}


TWICE = {
    "seed=1 seed=2": "seed=1 and seed=2",
    "-m depth=18,34 model.depth=50": "depth=18,34 and model.depth=50",
    "study=quick study=placement": "study=quick and study=placement",
    "detach=true sweep.detach=false": "detach=true and sweep.detach=false",
}


@pytest.mark.parametrize("line", TWICE)
def test_an_option_given_twice_with_two_values_is_refused(line, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["cbam-ablate", "plan", *line.split()])
    with pytest.raises(SystemExit, match="1"):
        main()
    assert (
        capsys.readouterr().err == f"cbam-ablate: {TWICE[line]}: an option has one value; leave out either\n"
    )


def test_an_option_given_twice_with_one_value_is_that_value(monkeypatch, capsys):
    monkeypatch.setattr(
        sys, "argv", ["cbam-ablate", "train", "--cfg", "job", "-p", "seed", "seed=3", "seed=3", "--multirun"]
    )
    with pytest.raises(SystemExit, match="0"):
        main()
    assert capsys.readouterr().out == "3\n"


@pytest.mark.parametrize("line", LINES)
def test_a_bad_line_gets_one_clear_error(line, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    command, *words = line.split()
    code = run(command, words)
    error = capsys.readouterr().err
    assert code != 0
    assert LINES[line] in error
    assert "a bug of ours" not in error
    assert not os.path.exists("outputs")


def test_a_terminal_that_lacks_a_sign_gets_another(stand_in):
    stand_in.build({"seed": [0, 1]}, lambda axes: 90.0 + axes["seed"])
    words = ["table", f"study={stand_in.study}", f"store={stand_in.root}"]
    done = subprocess.run(
        [sys.executable, "-m", "cbam_ablate", *words],
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "90.5 ? 0.7" in done.stdout


def test_errors_show_their_traceback_on_request(monkeypatch):
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    with pytest.raises(ValueError, match="depth=26"):
        run("train", ["depth=26"])


def test_ctrl_c_that_ends_in_another_error_is_ctrl_c(monkeypatch, capsys):
    def interrupted(arguments):
        try:
            raise KeyboardInterrupt
        finally:
            raise AttributeError("argparse, in the middle of its work")

    monkeypatch.setattr("cbam_ablate.cli.train.main", interrupted)
    assert run("train", []) == 130
    assert capsys.readouterr().err == "cbam-ablate: stopped\n"


def test_help_names_every_command(capsys):
    from cbam_ablate.cli import COMMANDS, usage

    assert all(f"  {name} " in usage() for name in COMMANDS)
    for command in COMMANDS:
        assert run(command, ["--help"]) == 0
        assert f"cbam-ablate {command}" in capsys.readouterr().out
