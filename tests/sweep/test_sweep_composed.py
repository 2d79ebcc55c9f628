"""Cells made from one composition are what Hydra composes for each, and Hydra itself is left as it was."""

import itertools

import pytest
from hydra import compose, initialize_config_dir
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.global_hydra import GlobalHydra

from cbam_ablate import load_config
from cbam_ablate.cli import run
from cbam_ablate.config.compose import to_run_config
from cbam_ablate.config.overrides import parse
from cbam_ablate.config.where import conf_dir
from cbam_ablate.sweep.outline import make_outline

OWN = {
    "optimizer/mine.yaml": "name: sgd\nlr: 0.3\nweight_decay: 0.0\n",
    "optimizer/everywhere.yaml": "# @package _global_\n"
    "optimizer: {name: adamw, lr: 0.01, weight_decay: 0.1}\nschedule: {warmup_epochs: 3}\n",
    "schedule/late.yaml": "name: cosine\nwarmup_epochs: 5\n",
    "augment/both.yaml": "defaults: [erasing, mixup]\n",
    "reduction/as_kernel.yaml": "# @package model.attention\nreduction: ${model.attention.kernel}\n",
    "study/body.yaml": "# @package _global_\ndefaults:\n  - override /optimizer: adamw\n"
    "model: {depth: 34}\noptimizer: {lr: 0.02}\nschedule: {warmup_epochs: 1}\n",
}
SWEEPS = {
    "every group": [
        "backbone=resnet,resnet_imagenet",
        "depth=18,50",
        "attention=cbam,se",
        "placement=none,both",
    ],
    "data and values": ["data=cifar10,svhn", "augment=none,cutmix", "seed=0,1", "data.train_size=null,1000"],
    "a file that writes two sections": ["optimizer=mine,everywhere", "schedule=late,cosine"],
    "a file with defaults of its own": ["augment=both,none", "seed=0,1"],
    "an interpolation": ["placement=block", "reduction=as_kernel,4", "model.attention.kernel=3,5"],
    "an interpolation on the command line": [
        "seed=3,4",
        "data.subset_seed=${seed},7",
        "data.train_size=1000",
    ],
    "a study's body": ["study=body", "optimizer=mine,sgd,adamw", "optimizer.momentum=0.8,0.9"],
    "a list for a value": ["model.attention.pool=[avg],[avg,max]", "placement=block"],
}
WITHOUT_HYDRA = ("every group", "data and values", "a file that writes two sections", "a study's body")


@pytest.fixture
def own(tmp_path, monkeypatch):
    for name, text in OWN.items():
        path = tmp_path / "conf" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.chdir(tmp_path)
    return f"hydra.searchpath=['file://{tmp_path}/conf']"


@pytest.fixture
def compositions(monkeypatch):
    """How often Hydra composes."""
    found, plain = [], ConfigLoaderImpl.load_configuration

    def counted(*arguments, **options):
        found.append(arguments[1])
        return plain(*arguments, **options)

    monkeypatch.setattr(ConfigLoaderImpl, "load_configuration", counted)
    return found


QUICK = ("a file that writes two sections", "an interpolation on the command line", "a list for a value")
CASES = [pytest.param(name, marks=[] if name in QUICK else pytest.mark.slow) for name in SWEEPS]


@pytest.mark.hydra
@pytest.mark.parametrize("name", CASES)
def test_every_cell_of_a_sweep_equals_what_hydra_composes(own, name, version_base):
    tokens = parse(SWEEPS[name])
    cells = make_outline(SWEEPS[name]).cells
    fixed = [token.for_hydra for token in tokens if not token.sweeps]
    axes = [[f"{one.for_hydra.partition('=')[0]}={text}" for text in one.override.sweep_string_iterator()]
            for one in tokens if one.sweeps]  # fmt: skip
    combinations = list(itertools.product(*axes))
    assert len(cells) == len(combinations)
    with initialize_config_dir(str(conf_dir()), **version_base):
        for cell, chosen in list(zip(cells, combinations, strict=True))[::3]:
            composed = compose("config", [*fixed, *chosen, own], return_hydra_config=True)
            assert cell.cfg == to_run_config(composed), cell.label


@pytest.mark.parametrize("name", WITHOUT_HYDRA)
def test_a_sweep_over_choices_is_composed_once(own, compositions, name):
    make_outline(SWEEPS[name])
    assert compositions == ["cbam_ablate"]


def test_a_program_that_uses_hydra_keeps_its_own(tmp_path, version_base):
    (tmp_path / "config.yaml").write_text("a: 1\n")
    with initialize_config_dir(str(tmp_path), **dict.fromkeys(version_base, "1.2")):
        before = GlobalHydra.instance().hydra
        load_config(["seed=3"])
        make_outline(["seed=0,1"])
        assert GlobalHydra.instance().hydra is before
        assert compose("config").a == 1


def test_hydras_callbacks_hear_of_a_sweep(tmp_path, monkeypatch, capsys, tiny):
    (tmp_path / "hears.py").write_text(
        "from hydra.experimental.callback import Callback\n"
        "class Hears(Callback):\n"
        "    def on_multirun_start(self, config, **_): print('started', config.seed)\n"
        "    def on_multirun_end(self, config, **_): print('ended')\n"
        "    def on_job_start(self, config, **_): print('job', len(config.key))\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    hook = "+hydra.callbacks.mine._target_=hears.Hears"
    assert run("train", ["-m", *tiny, "train.epochs=1", "seed=0,1", "hydra/launcher=basic", hook]) == 0
    out = capsys.readouterr().out
    assert [out.count(text) for text in ("started 0", "job 16", "ended")] == [1, 2, 1]


def test_another_sweeper_is_refused_by_name(capsys):
    assert run("plan", ["-m", "seed=0,1", "hydra/sweeper=basic"]) == 1
    assert "hydra/sweeper=basic" in capsys.readouterr().err
