"""Odd files in a store: each costs its own run, in words, and never another."""

import json
import os
import random
import shutil

import pytest

from cbam_ablate import load_config
from cbam_ablate.cli import run as command
from cbam_ablate.config import ConfigError
from cbam_ablate.report.learning import curve_of
from cbam_ablate.runs import RunStore
from cbam_ablate.sweep.job import run_one
from cbam_ablate.sweep.plan import make_plan

pytestmark = pytest.mark.slow

SMALL = ["data.train_size=128", "train.epochs=2", "hydra.launcher.jobs=0"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory, tiny_words):
    """A store with a finished study of three seeds."""
    root = tmp_path_factory.mktemp("trained") / "store"
    sweep = ["-m", *tiny_words, *SMALL, "seed=0,1,2"]
    assert command("train", [*sweep, f"store={root}"]) == 0
    return root, sweep


@pytest.fixture
def store(trained, tmp_path):
    """A copy of it, to be harmed; and the words of its sweep."""
    root = tmp_path / "store"
    shutil.copytree(trained[0], root)
    return RunStore(root), [*trained[1], f"store={root}"]


def metrics(store):
    return {run.key: (run.result() or {}).get("metrics") for run in store.runs()}


FOREIGN = json.dumps(
    {"schema": 1, "key": "0" * 16, "metrics": {}, "cost": {}, "selection": {}, "provenance": {}}
)
HARMS = {
    "empty": "{}",
    "cut": '{"schema": 1, "metr',
    "nothing": "",
    "another format": '{"schema": 99}',
    "another run's": FOREIGN,
}


@pytest.mark.parametrize("mode", ["cached", "retry"])
def test_a_result_that_a_table_refuses_is_unusable_in_the_plan_and_trained_again(store, capsys, mode):
    root, words = store
    before = metrics(root)
    runs = root.runs()
    harms = list(HARMS.values())[:: 2 if mode == "retry" else 1][: len(runs)]
    for run, harm in zip(runs, harms, strict=True):
        (run.path / "result.json").write_text(harm)
        assert run.state().name == "unusable"
    assert command("plan", words) == 0
    assert "3 unusable, 3 to run" in capsys.readouterr().out
    assert command("train", [*words, f"sweep.mode={mode}"]) == 0
    assert metrics(root) == before
    kept = sorted(path.name for path in (root.root / "replaced").iterdir() if path.is_dir())
    assert kept == [f"{run.key}.1" for run in runs]
    assert (root.root / "replaced" / kept[0] / "result.json").read_text() == harms[0]


@pytest.mark.parametrize(("link", "jobs"), [(None, 1), ("nowhere", 0), ("itself", 0)])
def test_what_has_the_place_of_a_runs_folder_is_moved_away_and_the_run_trained(store, link, jobs):
    root, words = store
    words = [word.replace("jobs=0", f"jobs={jobs}") for word in words]
    before, run = metrics(root), root.runs()[1]
    shutil.rmtree(run.path)
    if link is None:
        run.path.write_text("notes")
    else:
        run.path.symlink_to(run.key if link == "itself" else root.root / link)
    assert [command("plan", words), command("train", words)] == [0, 0]
    assert metrics(root) == before
    kept = root.root / "replaced" / f"{run.key}.1"
    assert kept.is_symlink() if link else kept.read_text() == "notes"


def test_odd_lines_of_a_history_are_left_out_of_its_figures(store, tmp_path):
    root, _ = store
    odd = [{"epoch": epoch, "val_top1": 1} for epoch in (float("nan"), float("inf"), 10**400, 1e300, "x")]
    odd += [{"epoch": 3, "val_top1": value} for value in (float("nan"), float("inf"), 10**400, [])]
    with (root.runs()[0].path / "history.jsonl").open("a") as file:
        file.writelines(f"{json.dumps(line)}\n" for line in odd)
    words = [f"study={study(root)}", f"store={root.root}"]
    assert command("export", [*words, f"to={tmp_path / 'packed'}"]) == 0
    assert list(curve_of(root, root.runs()[0].key)) == [1, 2]


@pytest.mark.parametrize("harm", ["another run's last.pt", "best.pt over last.pt", "another run's best.pt"])
def test_a_checkpoint_of_elsewhere_is_refused_and_the_run_starts_over(store, caplog, harm):
    root, words = store
    ours, theirs, _ = root.runs()
    before = metrics(root)
    os.unlink(ours.path / "result.json")
    if harm == "another run's last.pt":
        shutil.copy(theirs.last, ours.last)
    elif harm == "best.pt over last.pt":
        shutil.copy(ours.best, ours.last)
    else:
        shutil.copy(theirs.best, ours.best)
    assert command("train", words) == 0
    assert "starts over" in caplog.text
    assert metrics(root) == before


def test_an_unfinished_parent_is_refused(store):
    root, words = store
    parent = root.runs()[0]
    os.unlink(parent.path / "result.json")
    alone = [word for word in words if not word.startswith(("-m", "seed=", "hydra.", "train.epochs"))]
    for said in (parent.key, str(parent.last)):
        with pytest.raises(ConfigError, match="isn't finished"):
            make_plan([*alone, "seed=0,1", "train.epochs=4", f"train.resume_from={said}"])


def harmed(dice, root):
    """Changes one file of one run in one of many ways; returns the run's key and what was done."""
    run = dice.choice(root.runs())
    path = dice.choice([path for path in sorted(run.path.rglob("*")) if path.is_file()])
    ways = ["cut", "empty", "brace", "list", "null", "bits", "folder", "swap", "copy"]
    if path.suffix == ".json":
        ways += 4 * ["value"]
    way = dice.choice(ways)
    content = path.read_bytes()
    if way == "cut":
        path.write_bytes(content[: dice.randrange(len(content) or 1)])
    elif way in ("empty", "brace", "list", "null"):
        path.write_text({"empty": "", "brace": "{}", "list": "[1, 2]", "null": "null"}[way])
    elif way == "bits" and content:
        place = dice.randrange(len(content))
        path.write_bytes(content[:place] + bytes([content[place] ^ 0x55]) + content[place + 1 :])
    elif way == "folder":
        path.unlink()
        path.mkdir()
    elif way == "swap":
        shutil.copy(dice.choice([p for p in run.path.rglob("*") if p.is_file() and p != path]), path)
    elif way == "copy":
        shutil.copy(path, path.with_name(f"{path.stem} (1){path.suffix}"))
    elif way == "value":
        value = json.loads(content)
        holder = value
        while isinstance(inner := holder[dice.choice(sorted(holder))], dict) and inner:
            holder = inner
        name = dice.choice(sorted(holder))
        holder[name] = dice.choice([None, [], {}, "x", -1, 1e300, 10**400, True])
        path.write_text(json.dumps(value))
        way = f"{name}={holder[name]!s:.20}"
    return run.key, f"{path.relative_to(root.root)}: {way}"


@pytest.mark.parametrize("seed", range(6))
def test_an_odd_file_costs_its_own_run_alone(trained, tmp_path, capsys, seed):
    dice = random.Random(seed)
    for number in range(20):
        root = RunStore(tmp_path / f"store{number}")
        shutil.copytree(trained[0], root.root)
        key, what = harmed(dice, root)
        words = [*trained[1], f"store={root.root}"]
        codes = [command("plan", words), command("table", [f"study={study(root)}", f"store={root.root}"])]
        capsys.readouterr()
        assert codes == [0, 0], (seed, number, what, codes)
        others = {other.key: other.state().name for other in root.runs() if other.key != key}
        assert set(others.values()) == {"finished"}, (seed, number, what)
        if number % 5 == 0:
            assert command("train", words) == 0, (seed, number, what)
            assert RunStore(root.root).run(key).state().name == "finished", (seed, number, what)
        shutil.rmtree(root.root)


def study(root):
    return next((root.root / "studies").glob("*/manifest.json")).parent.name


def test_what_is_renamed_is_on_the_disk_before(tiny, tmp_path, monkeypatch):
    synced, renamed = set(), {}
    plain_sync, plain_replace = os.fsync, os.replace

    def fsync(handle):
        synced.add(os.stat(handle).st_ino)
        plain_sync(handle)

    def replace(source, target):
        renamed.setdefault(os.path.basename(target), []).append(os.stat(source).st_ino in synced)
        plain_replace(source, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", replace)
    cfg = load_config([*tiny, "data.train_size=128", "train.epochs=1", f"store={tmp_path}"])
    assert run_one(cfg).name == "finished"
    assert renamed["result.json"] == [True]
    assert renamed["last.pt"] == [True]
    assert renamed["coming_best.pt"] == [True]
    assert renamed["status.json"][-1]
