"""Commands on a store that may only be read: they print what they know and say that nothing was written."""

import json
import os

import pytest

from cbam_ablate.cli import run
from cbam_ablate.runs.files import unwritable
from tests.tiny import SMALL

SWEEP = [*SMALL, "train.epochs=1", "placement=none,block", "seed=0,1", "hydra.launcher.jobs=0"]
STUDY = "study=theirs"


@pytest.fixture(scope="module")
def trained(open_folder, second_user):
    """A store with the sweep `theirs`, and beside it a folder of the other user's."""
    store, mine = open_folder / "store", open_folder / "mine"
    assert run("train", ["-m", *SWEEP, "name=theirs", f"store={store}"]) == 0
    assert run("report", [STUDY, f"store={store}"]) == 0  # with what it imports
    mine.mkdir()
    os.chown(mine, second_user.user, second_user.user)
    return store


@pytest.fixture
def theirs(trained, monkeypatch):
    """That store, in which nothing may have changed at the end."""
    before = {path: path.stat().st_mtime_ns for path in trained.rglob("*")}
    monkeypatch.chdir(trained.parent)
    yield trained
    assert {path: path.stat().st_mtime_ns for path in trained.rglob("*")} == before


@pytest.fixture
def asked(theirs, second_user, capsys):
    """A command on that store as the other user: its exit code, and what it printed."""

    def ask(command, *words):
        with second_user():
            code = run(command, [*words, f"store={theirs}"])
        return code, *capsys.readouterr()

    return ask


@pytest.mark.slow
def test_a_store_that_may_only_be_read_is_printed(asked, theirs, open_folder, capsys):
    mine = open_folder / "mine"
    code, out, err = asked("table", STUDY)
    assert code == 0
    assert "placement" in out
    assert "nothing was written" in err
    assert "Permission denied" in err
    assert asked("table", STUDY, "--check")[0] == 0
    assert asked("table", STUDY, f"out={mine / 'table'}")[0] == 0
    rows = [json.loads((folder / "table.json").read_text())["rows"] for folder in
            (mine / "table", theirs / "studies" / "theirs")]  # fmt: skip
    assert rows[0] == rows[1]

    code, out, err = asked("report", STUDY)
    assert code == 0
    assert "placement" in out
    assert "nothing was written: " in err
    assert "may only be read (Permission denied); out=FOLDER" in err
    assert asked("report", STUDY, f"out={mine / 'report'}")[0] == 0
    assert (mine / "report" / "report.html").is_file()

    assert asked("export", STUDY, f"to={mine / 'kept'}")[0] == 0
    assert run("table", [STUDY, f"store={mine / 'kept'}", "--check"]) == 0
    capsys.readouterr()

    code, out, _ = asked("plan", "-m", *SWEEP, "name=theirs")
    assert code == 0
    assert "4 done, 0 to run" in out
    code, out, _ = asked("runs", "placement=block")
    assert code == 0
    assert out.count("finished") == 2


@pytest.mark.slow
def test_a_read_only_sweep_prints_the_table_of_what_is_there(asked, theirs):
    page = str(theirs / "studies" / "theirs" / "report.html")
    lacking = "none: the store doesn't hold this sweep"
    for name, report in (("name=theirs", page), ("name=another", lacking), ("name=null", lacking)):
        code, out, _ = asked("train", "-m", *SWEEP, name, "sweep.mode=read_only")
        assert code == 0
        assert "block" in out
        assert "4 done, 0 to run." in out
        assert out.splitlines()[-3:] == [
            f"table     above; nothing was written: {theirs} may only be read (Permission denied)",
            f"report    {report}",
            "failures  none",
        ]


@pytest.mark.slow
def test_what_a_store_that_may_only_be_read_lacks_is_told_and_not_trained(asked):
    code, out, err = asked("train", "-m", *SWEEP, "seed=0,1,2", "sweep.mode=read_only")
    assert code == 1
    assert "6 distinct, 4 done" in out
    assert "2 of 6 runs are not finished" in err
    code, _, err = asked("train", "-m", *SWEEP, "seed=0,1,2")
    assert code == 1
    assert "can't be written to (Permission denied)" in err


def test_a_folder_that_can_be_made_is_writable(open_folder, second_user):
    for name, user in (("theirs", second_user.user), ("roots", 0)):
        (open_folder / name).mkdir()
        os.chown(open_folder / name, user, user)
    with second_user():
        assert unwritable(open_folder / "theirs" / "new" / "deeper") is None
        assert unwritable(open_folder / "roots" / "new") == "Permission denied"
