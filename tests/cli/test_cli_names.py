"""A store's runs by their names: listed, found, and the command that trains one again."""

import json
import shlex
import shutil

import pytest

from cbam_ablate.cli import run
from cbam_ablate.config import load_config
from tests.tiny import SMALL

ONE = [*SMALL, "train.epochs=1"]
BLOCK = "resnet_cifar8 cbam block r4 k7 seed 1"


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A store with the sweep `mine`, of placement by two seeds, and a single run called `the odd one`."""
    store = tmp_path_factory.mktemp("named")
    words = ["placement=none,block", "seed=0,1", "name=mine", "hydra.launcher.jobs=0", f"store={store}"]
    assert run("train", ["-m", *ONE, *words]) == 0
    assert run("train", [*ONE, "seed=7", "name=the odd one", f"store={store}"]) == 0
    return store


def top1(store):
    results = (json.loads(path.read_text()) for path in store.glob("runs/*/result.json"))
    return {result["key"]: result["metrics"]["test_top1"] for result in results}


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (
            [],
            {"the odd one", BLOCK, BLOCK.replace("1", "0"), *(f"resnet_cifar8 none seed {s}" for s in "01")},
        ),
        (["placement=block", "seed=1,7"], {BLOCK}),
        (["kernel=7"], {BLOCK, BLOCK.replace("seed 1", "seed 0")}),
        (["study=mine", "model.attention.placement=none"], {f"resnet_cifar8 none seed {s}" for s in "01"}),
        (["seed=7", "state=finished"], {"the odd one"}),
    ],
)
def test_runs_are_listed_with_key_and_metric_by_what_they_are(store, capsys, words, names):
    assert run("runs", [*words, f"store={store}"]) == 0
    listed = [line.split("  ") for line in capsys.readouterr().out.splitlines()[1:]]
    listed = [[part.strip() for part in line if part.strip()] for line in listed]
    assert {line[0] for line in listed} == names
    found = top1(store)
    for _, key, state, _, value in listed:
        assert (state, float(value)) == ("finished", pytest.approx(found[key], abs=1e-3))


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("placement=class", "there are model.attention.placement: block, none"),
        ("plcement=block", "did you mean placement?"),
        ("state=done", "not one of finished"),
        ("metric=acc", "test_top1"),
        ("state=failed", "none of the 5 runs"),
    ],
)
def test_a_list_that_would_be_empty_says_what_there_is(store, capsys, word, told):
    assert run("runs", [word, f"store={store}"]) == 1
    assert told in capsys.readouterr().err


def test_a_store_without_runs_is_no_error(tmp_path, capsys):
    assert run("runs", [f"store={tmp_path}"]) == 0
    assert "no runs" in capsys.readouterr().out


@pytest.mark.parametrize("name", [BLOCK, "the odd one"])
def test_evaluate_finds_a_run_by_its_name(store, capsys, name):
    assert run("evaluate", [f"run={name}", f"store={store}"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["top1"] == top1(store)[found["run"]]


def test_a_studys_name_is_not_taken_for_a_runs(store, capsys):
    assert run("evaluate", ["run=mine", f"store={store}"]) == 1
    assert "runs study=mine" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("odd", "did you mean 'the odd one'?"),
        ("the old one", "did you mean 'the odd one'?"),
        (BLOCK.replace("cbam", "cabm"), f"did you mean '{BLOCK}' or "),
        ("xyz", "; `cbam-ablate runs` lists them"),
    ],
)
def test_a_name_that_no_run_has_brings_the_near_ones(store, capsys, word, told):
    for command in ("evaluate", "reproduce"):
        assert run(command, [f"run={word}", f"store={store}"]) == 1
        assert told in capsys.readouterr().err


@pytest.mark.slow
def test_a_printed_command_trains_the_run_again_to_the_same_result(store, capsys):
    assert run("reproduce", [f"run={BLOCK}", f"store={store}"]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    command, *words = shlex.split(printed.out)[1:]
    assert run(command, words) == 0
    again = top1(store / "reproduced")
    assert len(again) == 1
    assert again.items() <= top1(store).items()


def test_a_printed_command_names_a_store_of_any_name(store, tmp_path, capsys):
    other = tmp_path / "mine, of may"
    shutil.copytree(store, other)
    assert run("reproduce", [f"run={BLOCK}", f"store={other}"]) == 0
    words = shlex.split(capsys.readouterr().out)[2:]
    assert load_config(words).store == str(other / "reproduced")


def test_what_trained_a_run_otherwise_is_told_with_its_command(store, tmp_path, capsys):
    path = next(store.glob("runs/*/result.json"))
    kept = path.read_text()
    result = json.loads(kept)
    result["provenance"] |= {"code_sha256": 64 * "0", "git_commit": "c0ffee", "device": "cuda: Some GPU"}
    result["provenance"]["versions"]["torch"] = "1.0"
    path.write_text(json.dumps(result))
    try:
        assert run("reproduce", [f"run={path.parent.name}", f"store={store}"]) == 0
    finally:
        path.write_text(kept)
    told = capsys.readouterr()
    assert "commit c0ffee" in told.err
    assert "torch: 1.0 then" in told.err
    assert "device: cuda: Some GPU then" in told.err
    assert "train.device=cuda" in told.out
