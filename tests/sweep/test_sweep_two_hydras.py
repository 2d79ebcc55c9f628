"""The same words make the same study, keys, manifest and table on every version of Hydra and OmegaConf.

What each command makes was recorded in `two_hydras.json` by

    .venv/bin/python tests/sweep/test_sweep_two_hydras.py
"""

import importlib.util
import json
import os
import tempfile
from pathlib import Path

import pytest

from cbam_ablate.config.canonical import flatten
from cbam_ablate.config.schema import RunConfig
from cbam_ablate.report import write_table
from cbam_ablate.sweep.manifest import content_of, freeze
from cbam_ablate.sweep.plan import make_plan

RECORD = Path(__file__).resolve().with_name("two_hydras.json")
OWN = {
    "optimizer/slow.yaml": "name: sgd\nlr: 1e-3\nweight_decay: 0\n",
    "schedule/after.yaml": "name: cosine\nwarmup_epochs: ${oc.decode:'2'}\n",
    "experiment/small.yaml": "# @package _global_\n"
    "defaults: [override /optimizer: adam]\ntrain: {epochs: 1_0, batch_size: 32}\naugment: {flip: off}\n",
    "study/joined.yaml": "# @package _global_\ndefaults: [override /data: synthetic]\n"
    "name: 'on'\ntable: {labels: {18: shallow, 34: deep, true: both}, rows: [depth]}\n"
    "hydra: {sweeper: {params: {seed: '0,1'}, grids: [{placement: none}, {placement: block, "
    "reduction: [4, '8'], kernel: 3}], exclude: [{seed: 1, reduction: 8}]}}\n",
    "study/around.yaml": "# @package _global_\ndefaults: [override /data: synthetic]\n"
    "optimizer: {lr: 1, clip_norm: 1}\nhydra: {sweeper: {params: {depth: '18,34', placement: 'none,block', "
    "data.subset_seed: '${seed}', seed: 3}, around: {depth: 18, placement: none}}}\n",
}
COMMANDS = {
    "groups": ["depth=18,34", "placement=none,block", "seed=0,1"],
    "other spellings of numbers": ["optimizer.lr=1e-1,.01,1", "train.ema=0,0.5", "train.epochs=1_0"],
    "a range in decimals": ["optimizer.lr=range(0.1,0.4,0.1)", "seed=range(2)"],
    "truth and null": ["augment.flip=true,off", "optimizer.clip_norm=null,1", "optimizer.nesterov=0"],
    "lists": ["placement=block", "model.attention.pool=[avg],[avg,max]", "augment.crop_scale=[0.5,1]"],
    "an option that follows another": ["seed=3,4", "data.subset_seed=${seed},7", "data.train_size=500"],
    "a choice of one's own": ["optimizer=sgd,slow", "schedule=after"],
    "a group of one's own": ["+experiment=small", "seed=0,1"],
    "every choice of a pattern": ["placement=glob([b*,n*])", "++seed=2"],
    "a grid of Hydra's sweeper": ["hydra.sweeper.params={seed:'0,1',model.depth:'18,34'}"],
    "texts": ["seed=0,1", "table.labels.seed='a|b, (c) 12:30'", "+table.labels.0=010", "data.cache='x: y'"],
    "joined grids": ["study=joined", "seed=0,1"],
    "one at a time": ["study=around", "placement=none,block,class"],
}


def made(words, finish):
    """What a command makes in this folder: its manifest less what is as everywhere, and its table."""
    plan = make_plan([f"store={Path('store')}", "data=synthetic", *words])
    freeze(plan, ["cbam-ablate"])
    manifest = content_of(plan, ["cbam-ablate"])
    usual = flatten(RunConfig())
    constants = {name: value for name, value in manifest["constants"].items() if value != usual[name]}
    table = {name: value for name, value in manifest["table"].items() if value != usual[f"table.{name}"]}
    for index, key in enumerate(plan.runs):
        finish(key, 50 + index)
    write_table("store", plan.study)
    return {
        "study": plan.study,
        "axes": manifest["axes"],
        "constants": constants,
        "runs": manifest["runs"],
        "cells": manifest["cells"],
        "labels and the like": table,
        "table": Path("store", "studies", plan.study, "table.csv").read_text().splitlines(),
    }


def write_own(folder):
    for name, text in OWN.items():
        path = folder / "conf" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


QUICK = ("texts", "a group of one's own", "joined grids", "lists")


@pytest.mark.hydra
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in QUICK else pytest.mark.slow) for name in COMMANDS]
)
def test_a_command_makes_what_it_makes_on_every_version(tmp_path, monkeypatch, stand_in, name):
    write_own(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert (
        json.loads(json.dumps(made(COMMANDS[name], stand_in.finish))) == json.loads(RECORD.read_text())[name]
    )


if __name__ == "__main__":
    found = importlib.util.spec_from_file_location("conftest", RECORD.parents[1] / "conftest.py")
    conftest = importlib.util.module_from_spec(found)
    found.loader.exec_module(conftest)
    record = {}
    for name, words in COMMANDS.items():
        with tempfile.TemporaryDirectory() as folder:
            os.chdir(folder)
            write_own(Path(folder))
            record[name] = made(words, conftest.StandIn(Path(folder) / "store").finish)
    text = json.dumps(record, indent=1, ensure_ascii=False)
    RECORD.write_text(text + "\n")
