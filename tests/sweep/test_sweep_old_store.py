"""A store that an earlier version trained: its runs are found finished by the command that trained them."""

import json
import shutil
from pathlib import Path

import pytest

from cbam_ablate.cli import run
from cbam_ablate.config.canonical import from_dict, run_key
from cbam_ablate.sweep.manifest import read, run_config
from cbam_ablate.sweep.outline import make_outline

KEPT = Path(__file__).parent / "store_of_0_1"
STUDY = "placement-seed-b554a018"


@pytest.fixture
def store(tmp_path):
    return Path(shutil.copytree(KEPT, tmp_path / "outputs"))


def command(store):
    manifest = json.loads((store / "studies" / STUDY / "manifest.json").read_text())
    return [*manifest["command"][3:], f"store={store}"]


def test_the_command_that_trained_a_store_finds_all_its_runs_done(store):
    asked = make_outline(command(store))
    assert asked.study == STUDY
    assert set(asked.runs) == {path.name for path in (store / "runs").iterdir()}
    assert not asked.unfinished()


def test_a_plan_says_that_other_code_made_them(store, capsys):
    assert run("plan", command(store)) == 0
    assert "4 distinct, 4 done (4 by another version of this package), 0 to run" in capsys.readouterr().out


def test_its_configs_and_its_manifest_give_the_keys_that_name_its_runs(store):
    manifest = read(store / "studies" / STUDY / "manifest.json")
    for folder in (store / "runs").iterdir():
        cfg = from_dict(json.loads((folder / "config.json").read_text()))
        assert run_key(cfg) == run_key(run_config(manifest, folder.name)) == folder.name


def test_its_table_can_be_made(store, capsys):
    assert run("table", [f"study={STUDY}", f"store={store}"]) == 0
    assert "block" in capsys.readouterr().out
