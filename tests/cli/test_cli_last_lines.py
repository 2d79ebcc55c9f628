"""The last three lines of a sweep, however it ended: where its table, its report and its failures are."""

import os
import signal
import time
from pathlib import Path

import pytest

from cbam_ablate.cli import run

HERE = "hydra.launcher.jobs=0"
WILD = ["optimizer.weight_decay=1", "train.epochs=1"]


@pytest.fixture
def swept(tmp_path, tiny, capsys):
    """Makes a sweep named `mine` in `store`, or goes on with it: its exit code and its last three lines."""

    def sweep(*words, here=HERE):
        code = run("train", ["-m", *tiny, *words, here, "name=mine", f"store={tmp_path / 'store'}"])
        printed = capsys.readouterr()
        return code, last_three(printed.out if code == 0 else printed.err)

    return sweep


def last_three(text):
    lines = [line.split(maxsplit=1) for line in text.splitlines()[-3:]]
    assert [line[0] for line in lines] == ["table", "report", "failures"]
    return dict(lines)


@pytest.mark.slow
def test_after_success_and_where_all_was_done_already(swept, tmp_path, capsys):
    store = tmp_path / "store"
    table = f"{store}/studies/mine/table.md, .tex, .csv, .html, .json"
    makes = f"cbam-ablate report study=mine store={store}"
    first = swept("train.epochs=1", "seed=0,1")
    assert first == (0, {"table": table, "report": f"not made yet: {makes}", "failures": "none"})
    assert swept("train.epochs=1", "seed=0,1") == first
    assert swept("train.epochs=1", "seed=0,1", "sweep.mode=read_only") == first
    for name in ("md", "tex", "csv", "html", "json"):
        assert (store / "studies" / "mine" / f"table.{name}").is_file()
    assert run("report", makes.split()[2:]) == 0
    page = store / "studies" / "mine" / "report.html"
    capsys.readouterr()
    assert swept("train.epochs=1", "seed=0,1")[1]["report"] == str(page)
    os.utime(page, (1, 1))
    assert swept("train.epochs=1", "seed=0,1")[1]["report"] == f"{page}, older than its runs: {makes}"


@pytest.mark.slow
def test_after_runs_that_diverged_or_failed(swept, tmp_path):
    runs = tmp_path / "store" / "runs"
    code, places = swept(*WILD, "optimizer.lr=0.01,100")
    assert code == 3
    count, _, file = places["failures"].partition(": ")
    assert count == "1"
    assert "not finite" in Path(file).read_text()
    assert places["table"].startswith(f"{tmp_path / 'store'}/studies/mine/table.md")
    code, places = swept(*WILD, "optimizer.lr=100", "seed=0,1", "sweep.extend=true")
    assert (code, places["failures"]) == (3, f"2: {runs}/<run>/traceback.txt")


@pytest.mark.parametrize("launcher", [pytest.param("joblib", marks=pytest.mark.slow), "basic"])
def test_of_another_launcher(swept, launcher):
    code, places = swept("train.epochs=1", "seed=0,1", here=f"hydra/launcher={launcher}")
    assert code == 0
    assert places["failures"] == "none"


@pytest.mark.slow
def test_after_ctrl_c(cli, tiny):
    process = cli.start("train", "-m", *tiny, "train.epochs=1000", "seed=0,1", HERE, "name=mine")
    deadline = time.monotonic() + 120
    while not any((path / "history.jsonl").exists() for path in cli.runs().values()):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 130
    places = last_three(err)
    assert places["failures"] == "none"
    assert places["report"] == f"not made yet: cbam-ablate report study=mine store={cli.store}"
