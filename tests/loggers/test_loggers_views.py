"""The files of a finished run: made though the sweep is gone, and never worth a run."""

import shutil
import subprocess
import sys

import matplotlib
import pytest
from matplotlib.figure import Figure

from cbam_ablate.loggers import beside, viewing, write_views
from cbam_ablate.runs import Run

FONTS = matplotlib.get_cachedir()
KILLED = """
import os, signal
from cbam_ablate.loggers import viewing
from cbam_ablate.runs import RunStore
with viewing() as view:
    view(RunStore({root!r}).runs())
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(autouse=True)
def fonts(store, monkeypatch):
    """Of the machine's own home, where Matplotlib has looked for them before."""
    monkeypatch.setenv("MPLCONFIGDIR", FONTS)


def test_views_that_were_asked_for_are_made_though_the_sweep_is_killed(store, until):
    runs = [store.train(store.config(f"seed={seed}")) for seed in (0, 1)]
    assert subprocess.run([sys.executable, "-c", KILLED.format(root=str(store.root))]).returncode < 0
    assert until(lambda: all((run.path / "curves.png").exists() for run in runs))


def test_a_view_that_fails_is_a_line_in_its_runs_log_and_the_others_are_made(store):
    bad, good = (store.train(store.config("logger=csv", f"seed={seed}")) for seed in (0, 1))
    (bad.path / "history.jsonl").write_text('{"epoch": 1}\n')
    with viewing() as view:
        view([bad, good])
    assert "its views could not be made: KeyError" in (bad.path / "train.log").read_text()
    assert (good.path / "curves.png").exists()
    assert len((good.path / "history.csv").read_text().splitlines()) == 4


def test_runs_that_have_not_finished_have_no_views(store):
    failed = store.train(store.config(), ended="failed")
    finished = store.train(store.config("seed=1"))
    before = sorted(failed.path.iterdir())
    with viewing() as view:
        view([failed, finished])
    assert (finished.path / "curves.png").exists()
    assert sorted(failed.path.iterdir()) == before


@pytest.mark.parametrize("name", ["by \udcff", "new\nline", "café 'quoted'"])
def test_any_folder_can_be_drawn_in(store, tmp_path, monkeypatch, name):
    monkeypatch.setenv("PYTHONIOENCODING", "latin-1")
    made = store.train(store.config())
    run = Run(shutil.copytree(made.path, tmp_path / name / made.key))
    with viewing() as view:
        view([run])
    assert (run.path / "curves.png").exists()


DIES = [sys.executable, "-c", "raise SystemExit(3)"]


@pytest.mark.parametrize(("command", "said"), [(["/not/there"], "no curves"), (DIES, "not all curves")])
def test_a_process_that_can_not_draw_is_said_and_stops_nothing(store, monkeypatch, capsys, command, said):
    monkeypatch.setattr(beside, "DRAW", command)
    run = store.train(store.config())
    with viewing() as view:
        view([run])
    assert said in capsys.readouterr().err


def test_a_picture_that_is_being_drawn_is_not_there_yet(store, monkeypatch):
    run = store.train(store.config())
    seen, draw = [], Figure.savefig

    def look(*given, **named):
        draw(*given, **named)
        seen.append((run.path / "curves.png").exists())

    monkeypatch.setattr(Figure, "savefig", look)
    write_views(run, str)
    assert [*seen, (run.path / "curves.png").exists()] == [False, True]
