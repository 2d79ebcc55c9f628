"""Code of one's own runs on maps in the order in memory that it takes."""

import pytest
import torch

from cbam_ablate import cli
from cbam_ablate.config import load_config
from cbam_ablate.models import build_model, model_cost
from cbam_ablate.training.layout import lay_out
from tests.tiny import SMALL

CPU = torch.device("cpu")
CODE = """
import torch
from torch import nn


class Flat(nn.Module):
    def __init__(self, num_classes, in_channels=3):
        super().__init__()
        self.conv, self.last = nn.Conv2d(in_channels, 4, 5, stride=4), nn.Linear(4 * 7 * 7, num_classes)

    def forward(self, x):
        x = self.conv(x).relu()
        return self.last(x.view(len(x), -1))


class Grouped(nn.Module):
    def __init__(self, channels):
        super().__init__()

    def forward(self, x):
        n, c, h, w = x.shape
        groups = x.view(2 * n, c // 2, h, w)
        return (groups * groups.mean((2, 3), keepdim=True).sigmoid()).view(n, c, h, w)


class Plain(nn.Module):
    def __init__(self, channels):
        super().__init__()

    def forward(self, x):
        return x * x.mean((2, 3), keepdim=True).sigmoid()
"""


@pytest.fixture(autouse=True)
def own(tmp_path, monkeypatch):
    (tmp_path / "own_maps.py").write_text(CODE)
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    "words",
    [
        [*(word for word in SMALL if word.startswith(("data", "train"))), "backbone=own_maps:Flat"],
        [*SMALL, "placement=block", "attention=own_maps:Grouped"],
    ],
    ids=["a network", "attention"],
)
def test_what_takes_maps_in_the_usual_order_alone_is_trained_evaluated_and_measured(tmp_path, words, capsys):
    words = [*words, "train.epochs=1", f"store={tmp_path}"]
    cfg = load_config(words)
    model_cost(cfg)
    network = build_model(cfg)
    with pytest.raises(RuntimeError, match="view size is not compatible"):
        network.to(memory_format=torch.channels_last)(
            torch.zeros(2, 3, 32, 32).contiguous(memory_format=torch.channels_last)
        )
    assert cli.run("train", words) == 0, capsys.readouterr().err
    (run,) = tmp_path.glob("runs/*")
    for command in (["evaluate", f"run={run.name}"], ["measure", f"run={run.name}", "batch=2", "rounds=5"]):
        assert cli.run(command[0], [*command[1:], f"store={tmp_path}", "train.device=cpu"]) == 0


def test_of_ours_and_of_what_takes_it_maps_are_in_channels_last():
    for words in ([], ["placement=block", "attention=own_maps:Plain"]):
        cfg = load_config([*SMALL, *words])
        network = lay_out(cfg, build_model(cfg), CPU)
        assert network.stages[1][0].conv2.weight.is_contiguous(memory_format=torch.channels_last)
        assert not network._forward_pre_hooks
