"""The files of a finished run: made though the sweep is gone, and never worth a run."""

import subprocess
import sys

from matplotlib.figure import Figure

from cbam_ablate.loggers import viewing, write_views

KILLED = """
import os, signal
from cbam_ablate.loggers import viewing
from cbam_ablate.runs import RunStore
with viewing() as view:
    view(RunStore({root!r}).runs())
    os.kill(os.getpid(), signal.SIGKILL)
"""


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
    run = store.train(store.config(), ended="failed")
    before = sorted(run.path.iterdir())
    with viewing() as view:
        view([run])
    assert sorted(run.path.iterdir()) == before


def test_a_picture_that_is_being_drawn_is_not_there_yet(store, monkeypatch):
    run = store.train(store.config())
    seen, draw = [], Figure.savefig

    def look(*given, **named):
        draw(*given, **named)
        seen.append((run.path / "curves.png").exists())

    monkeypatch.setattr(Figure, "savefig", look)
    write_views(run)
    assert [*seen, (run.path / "curves.png").exists()] == [False, True]
