"""Two processes that want one run: however they are stopped and whatever their clocks say, one writes it."""

import json
import os
import signal
import threading

import pytest
from filelock import FileLock

from cbam_ablate.errors import StoreError
from cbam_ablate.runs import RunStore
from cbam_ablate.runs.claim import identify
from cbam_ablate.runs.files import write_json

pytestmark = pytest.mark.slow
LONG = ["train.epochs=40", "train.batch_size=32"]


@pytest.fixture
def words(tiny):
    return ["train", *tiny, *LONG]


def lines(cli):
    """How many epochs the run's history has."""
    return sum(path.read_text().count("\n") for path in cli.store.glob("runs/*/history.jsonl"))


def epochs(cli):
    (key,) = cli.runs()
    return [record["epoch"] for record in cli.history(key)]


def test_who_was_stopped_until_another_took_the_run_over_ends_without_touching_it(cli, words, host, until):
    stopped = cli.start(*words, env=host("one"))
    until(lambda: lines(cli) >= 2)
    stopped.send_signal(signal.SIGSTOP)
    (folder,) = cli.runs().values()
    assert (folder / "curves.svg").read_text().count("<polyline") == 4
    heir = cli.start(*words, env=host("two", silence=3.0))
    until(lambda: (folder / "claims" / "2.json").exists())
    until(lambda: "goes on from its own last.pt" in (folder / "train.log").read_text())
    stopped.send_signal(signal.SIGCONT)
    _, err = stopped.communicate(timeout=600)
    assert stopped.returncode == 1
    assert "was taken over by two, process" in err
    assert "Traceback" not in err
    log = (folder / "train.log").read_text()
    _, err = heir.communicate(timeout=600)
    assert heir.returncode == 0, err
    assert epochs(cli) == list(range(1, 41))
    assert "taken over" not in log
    assert json.loads((folder / "claims" / "2.json").read_text())["host"] == "two"
    assert not (folder / "claims" / "3.json").exists()


@pytest.mark.parametrize("ahead", [200.0, -200.0])
def test_a_clock_that_is_wrong_takes_no_live_run_over(cli, words, host, until, ahead):
    first = cli.start(*words, env=host("one", pause=0.1))
    until(lambda: lines(cli) >= 1)
    second = cli(*words, env=host("two", ahead))
    assert second.returncode == 1
    assert "is being trained by another process" in second.stderr
    _, err = first.communicate(timeout=600)
    assert first.returncode == 0, err
    assert epochs(cli) == list(range(1, 41))


def test_of_two_commands_that_train_anew_one_does_and_the_other_says_who(cli, words):
    assert cli(*words, "train.epochs=1").returncode == 0
    force = [*words, "train.epochs=20", "sweep.mode=force"]
    both = [cli.start(*force), cli.start(*force)]
    ends = {process.pid: (*process.communicate(timeout=600), process.returncode) for process in both}
    codes = sorted(code for *_, code in ends.values())
    assert codes == [0, 1], ends
    winner = next(pid for pid, (*_, code) in ends.items() if code == 0)
    loser = next(err for _, err, code in ends.values() if code == 1)
    assert f"process {winner} on" in loser
    found = [path for path in cli.runs().values() if len(cli.history(path.name)) > 1]
    (folder,) = found
    assert [record["epoch"] for record in cli.history(folder.name)] == list(range(1, 21))


def test_who_trains_anew_is_told_though_it_has_not_written_its_name_yet(tmp_path):
    folder = tmp_path / "replaced"
    folder.mkdir()
    write_json(folder / ".single.json", {**identify(os.getpid()), "pid": 999_999})
    with FileLock(folder / ".single.lock"):
        late = threading.Timer(0.3, write_json, (folder / ".single.json", identify(os.getpid())))
        late.start()
        with pytest.raises(StoreError, match=f"trained anew by process {os.getpid()} on"):
            RunStore(tmp_path).replace("single", [])
    late.join()


def test_where_there_are_no_hard_links_runs_are_trained_all_the_same(cli, tiny, without_links):
    done = cli("train", "-m", *tiny, "train.epochs=1", "seed=0,1", env=without_links, cold=True)
    assert done.returncode == 0, done.stderr
    assert "has no hard links (Operation not permitted)" in done.stderr
    assert [(path / "claims" / "1.json").exists() for path in cli.runs().values()] == [True, True]
    assert all(cli.result(key)["metrics"] for key in cli.runs())


def test_on_exfat_two_commands_train_each_run_once_and_a_killed_one_goes_on(cli, tiny, exfat, until):
    on_exfat = type(cli)(exfat / "outputs")
    sweep = ["train", "-m", *tiny, "train.epochs=6", "train.batch_size=32", "seed=0,1,2"]
    killed = on_exfat.start(*sweep)

    def one_epoch_is_saved():
        return any((folder / "checkpoints" / "last.pt").exists() for folder in on_exfat.runs().values())

    assert on_exfat.kill_when(killed, one_epoch_is_saved) == -signal.SIGKILL
    both = [on_exfat.start(*sweep), on_exfat.start(*sweep)]
    ends = [process.communicate(timeout=600)[1] for process in both]
    assert "has no hard links" in "".join(ends)
    assert on_exfat(*sweep).returncode == 0
    assert len(on_exfat.runs()) == 3
    for key in on_exfat.runs():
        assert [record["epoch"] for record in on_exfat.history(key)] == list(range(1, 7))
        assert on_exfat.result(key)["metrics"]
