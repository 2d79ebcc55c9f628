"""A store of several users: what one makes, others of the group go on with, as far as they may."""

import contextlib
import json
import os
import shutil
import stat
import time

import pytest

from cbam_ablate.cli import run
from cbam_ablate.runs import RunStore, claim
from cbam_ablate.runs.claim import acquire
from cbam_ablate.runs.files import write_json
from tests.tiny import SMALL

SWEEP = ["-m", *SMALL, "train.epochs=1", "placement=none,block", "name=ours", "hydra.launcher.jobs=0"]


@pytest.fixture
def lab(open_folder, second_user, monkeypatch):
    """A store of a group's, as a lab sets it up: setgid."""
    store = open_folder / "store"
    store.mkdir()
    os.chown(store, 0, second_user.group)
    store.chmod(0o2775)
    monkeypatch.chdir(open_folder)
    yield store
    shutil.rmtree(store)


@contextlib.contextmanager
def umask(mask):
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def contents(store):
    return {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in store.rglob("*")}


def modes(folder):
    return {path: stat.S_IMODE(path.stat().st_mode) for path in folder.rglob("*")}


@pytest.mark.slow
def test_all_that_a_store_holds_has_the_modes_of_the_umask_and_its_group(lab, second_user):
    with umask(0o002):
        assert run("train", [*SWEEP, "logger=csv", f"store={lab}"]) == 0
        assert run("export", ["study=ours", f"store={lab}", f"to={lab / 'kept'}"]) == 0
    found = modes(lab)
    assert {path.name for path in found} > {"claims", "train.log", "best.pt", "history.csv", "manifest.json"}
    assert {path for path, mode in found.items() if mode != (0o2775 if path.is_dir() else 0o664)} == set()
    assert {path for path in found if path.stat().st_gid != second_user.group} == set()


@pytest.mark.slow
def test_what_the_jobs_of_a_sweep_write_has_the_modes_of_the_umask(lab, command_line):
    with umask(0o002):
        done = command_line(lab, cold=True)(
            "train", *SWEEP[:-1], "hydra.launcher.jobs=1", "logger=tensorboard"
        )
        assert done.returncode == 0, done.stderr
    found = modes(lab)
    assert {path.name for path in found} > {"output.log", "tensorboard"}
    assert {path for path, mode in found.items() if mode != (0o2775 if path.is_dir() else 0o664)} == set()


@pytest.mark.slow
def test_a_second_user_of_the_group_goes_on_where_the_first_stopped(lab, open_folder, capsys, second_user):
    one = [*SMALL, "placement=block", f"store={lab}"]
    with umask(0o002):
        assert run("train", [*one, "train.epochs=2"]) == 0
        (mine,) = RunStore(lab).runs()
        (mine.path / "result.json").unlink()
        write_json(mine.path / "status.json", {"state": "interrupted"})
        (mine.path / "train.log").chmod(0o644)
        before = (mine.path / "train.log").read_text()
        assert run("train", [*SWEEP, f"store={open_folder / 'another'}"]) == 0  # with what it imports
        with second_user():
            assert run("train", [*one, "train.epochs=2"]) == 0
            assert run("train", [*SWEEP, f"store={lab}"]) == 0
            assert run("table", ["study=ours", f"store={lab}"]) == 0
    assert (mine.path / "result.json").stat().st_uid == second_user.user
    assert "goes on from" in (mine.path / "train.log").read_text().removeprefix(before)
    assert len(mine.history()) == 2
    assert "2 distinct, 2 done" in capsys.readouterr().out


def test_runs_that_another_user_may_not_read_are_told_and_not_trained_again(lab, capsys, second_user):
    with umask(0o002):
        assert run("train", [*SWEEP, f"store={lab}"]) == 0
    first, second = RunStore(lab).runs()
    (first.path / "result.json").chmod(0o600)
    second.path.chmod(0o700)
    before = contents(lab / "runs")
    with umask(0o002), second_user():
        assert run("plan", [*SWEEP[:-1], f"store={lab}"]) == 0
        assert "2 unusable" in capsys.readouterr().out
        assert run("table", ["study=ours", f"store={lab}"]) == 0
        told = capsys.readouterr().out
        assert f"Run {first.key} is not used: result.json can't be read (Permission denied)" in told
        assert f"Run {second.key} is not used" in told
        assert run("runs", [f"store={lab}"]) == 0
        assert capsys.readouterr().out.count("unreadable") == 2
        assert run("train", [*SWEEP, f"store={lab}"]) == 1
        assert "2 runs of the plan can't be read" in capsys.readouterr().err
    assert contents(lab / "runs") == before


@pytest.mark.parametrize(
    "command", [["train", *SWEEP], ["table", "study=ours"], ["runs"]], ids=lambda words: words[0]
)
def test_a_store_that_another_user_may_not_read_is_told_with_its_owner(lab, capsys, second_user, command):
    for name in ("runs", "studies"):
        (lab / name).mkdir(mode=0o700)
    with second_user():
        assert run(command[0], [*command[1:], f"store={lab}"]) == 1
    assert capsys.readouterr().err.count("Permission denied: it is root's, and chmod") == 1


def test_a_run_in_a_folder_that_is_not_the_groups_to_write_is_left_with_a_word(lab, capsys, second_user):
    words = [*SMALL, "train.epochs=1", f"store={lab}"]
    with umask(0o002):
        assert run("train", words) == 0
    (mine,) = RunStore(lab).runs()
    (mine.path / "result.json").unlink()
    for path in (mine.path, mine.path / "claims"):
        path.chmod(0o755)
    with umask(0o002), second_user():
        assert run("train", words) == 1
    assert f"{mine.path} is root's" in capsys.readouterr().err


@pytest.fixture
def private(lab):
    """A run that another user holds, whose claim nobody else may read, as an earlier version made it."""
    with umask(0o002):
        mine = RunStore(lab).run("0" * 16)
        mine.path.mkdir(parents=True)
        acquire(mine.path)
    (mine.path / "claims" / "1.json").chmod(0o600)
    return mine


@pytest.mark.parametrize("readable", [True, False])
def test_a_claim_that_can_not_be_read_is_judged_by_its_heartbeat(private, monkeypatch, readable, second_user):
    status = private.path / "status.json"
    write_json(status, {"state": "running"})
    status.chmod(0o644 if readable else 0o600)
    monkeypatch.setattr(claim, "SILENCE", 0.5)
    monkeypatch.setattr(claim, "WRITING", 0.0)
    with umask(0o002), second_user():
        assert private.state().name == "running"
        time.sleep(0.3)
    os.utime(status, ns=(1, 1)) if not readable else write_json(status, {"state": "running", "step": 2})
    with umask(0o002), second_user():
        assert private.state().name == "running"
        time.sleep(0.3)
        assert private.state().name == "running"
        time.sleep(0.3)
        assert private.state().name != "running"
        assert acquire(private.path) is not None


def test_a_claim_that_can_not_be_read_of_a_run_that_stopped_is_free(private, second_user):
    write_json(private.path / "status.json", {"state": "interrupted"})
    with umask(0o002), second_user():
        assert private.state().name == "interrupted"
        assert json.loads(acquire(private.path).path.read_text())["pid"] == os.getpid()
