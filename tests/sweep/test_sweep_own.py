"""Own parts in sweeps, by real workers."""

import json
from types import SimpleNamespace

import pytest

from cbam_ablate.config import load_config
from cbam_ablate.errors import ConfigError
from cbam_ablate.sweep.job import run_one
from cbam_ablate.sweep.plan import make_plan

GATE = """
import torch
from torch import nn

class Gate(nn.Module):
    def __init__(self, channels, groups: int = 1):
        super().__init__()
        self.mix = nn.Conv2d(channels, channels, 1, groups=groups)

    def forward(self, x):
        return x * torch.sigmoid({factor} * self.mix(x.mean((2, 3), keepdim=True)))
"""


PARTS = """import torch

def flat(images):
    return images.mean(-1)

def late(step, total):
    return -1.0

class Slow(torch.optim.Optimizer):
    def __init__(self, params, lr):
        super().__init__(params, {"lr": lr})

    def step(self, closure=None):
        1 / 0

def odd(labels, probabilities):
    return {}["odd"]

def each(logits, labels):
    return torch.nn.functional.cross_entropy(logits, labels, reduction="none")
"""


TIRED = """from torch.nn.functional import cross_entropy

def loss(logits, labels):
    if len(logits) > 32:
        raise RuntimeError("too many")
    return cross_entropy(logits, labels)
"""


@pytest.fixture
def words(tiny):
    return ["-m", *tiny, "train.epochs=1", "attention=my_gate:Gate", "placement=none,block"]


def write(tmp_path, factor):
    (tmp_path / "my_gate.py").write_text(GATE.format(factor=factor))


def write_package(site):
    """What pip leaves of a package that offers a part."""
    for name, text in {
        "gates.py": GATE.format(factor=1.0),
        "gates-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: gates\nVersion: 1.0\n",
        "gates-1.0.dist-info/RECORD": "gates.py,,\ngates-1.0.dist-info/METADATA,,\n",
        "gates-1.0.dist-info/entry_points.txt": "[cbam_ablate.attention]\nsplit = gates:Gate\n",
    }.items():
        (site / name).parent.mkdir(parents=True, exist_ok=True)
        (site / name).write_text(text)


@pytest.mark.slow
def test_an_edited_module_is_trained_anew_by_the_workers_and_the_plan_says_so(
    cli, words, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    write(tmp_path, 1.0)
    sweep = [*words, "attention.options.groups=1,2"]
    first = cli("train", *sweep)
    assert first.returncode == 0, first.stderr
    table = json.loads(next(cli.store.glob("studies/*/table.json")).read_text())
    assert "groups" in (cli.store / "studies" / table["study"] / "table.csv").read_text().splitlines()[0]
    before = set(cli.runs())
    write(tmp_path, 2.0)
    planned = cli("plan", *sweep).stdout
    assert "3 distinct, 1 done, 2 done with other code of your own parts, 2 to run" in planned
    again = cli("train", *sweep)
    assert again.returncode == 0, again.stderr
    assert len(set(cli.runs()) - before) == 2
    write(tmp_path, 1.0)
    assert "3 distinct, 3 done" in cli("plan", *sweep).stdout


@pytest.mark.slow
def test_an_installed_package_s_entry_point_is_a_name_for_the_workers_too(cli, words, tmp_path):
    site = tmp_path / "site"
    write_package(site)
    env = {"PYTHONPATH": str(site)}
    done = cli(
        "train", *["attention=split" if word.startswith("attention=") else word for word in words], env=env
    )
    assert done.returncode == 0, done.stderr
    assert len(cli.runs()) == 2
    assert '"split"' in next(cli.store.glob("studies/*/manifest.json")).read_text()


def test_two_cells_with_attention_at_the_same_places_are_refused(monkeypatch):
    place = SimpleNamespace(module="last.attention")
    monkeypatch.setattr("cbam_ablate.sweep.own_checks.attention_places", lambda cfg: [place])
    words = ["data=synthetic", "backbone=resnet_cifar"]
    with pytest.raises(
        ConfigError, match=r"adds the same attention .* at last.attention: .*placement block and"
    ):
        make_plan([*words, "placement=block,class", "kernel=3,7"])
    assert len(make_plan([*words, "placement=block", "attention=cbam,simam"]).runs) == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["augment=my_parts:flat"], "gives (4, 3, 32)"),
        (["schedule=my_parts:late"], "gives -1.0 at step 0"),
        (["optimizer=my_parts:Slow", "optimizer.lr=1"], "ZeroDivisionError in my_parts.py line 14"),
        (["loss=my_parts:each"], "gives (4,) for logits (4, 10)"),
        (["metrics.own.odd=my_parts:odd"], "KeyError in my_parts.py line 17"),
    ],
)
def test_every_own_part_is_tried_before_anything_runs(words, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_parts.py").write_text(PARTS)
    with pytest.raises(ConfigError) as error:
        make_plan(["data=synthetic", "backbone=resnet_cifar", "seed=0,1", *words])
    assert said in str(error.value)


def test_a_failure_of_ones_own_code_in_training_is_told_by_its_file_and_line(tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tired.py").write_text(TIRED)
    state = run_one(load_config([*tiny, "loss=tired:loss", "store=store"]))
    assert (state.failure, state.error) == ("bug", "RuntimeError in tired.py line 5: too many")
