"""Attention of one's own is tried before anything runs, with values as well as with shapes."""

import pytest

from cbam_ablate.config import load_config
from cbam_ablate.errors import ConfigError
from cbam_ablate.models import model_cost
from tests.tiny import SMALL

CODE = """
import torch
from torch import nn


class Scaled(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(channels))

    def forward(self, x):
        y = (x.contiguous().permute(0, 2, 3, 1) * self.scale).permute(0, 3, 1, 2)
        return y.view(len(x), -1).view(x.shape)


class Elsewhere(Scaled):
    def forward(self, x):
        y = x.contiguous().permute(0, 2, 3, 1) * self.scale
        return x * y.view(len(x), -1).mean()


class Sideways(Scaled):
    def forward(self, x):
        return x * x.mean((2, 3)).softmax(5)[:, :, None, None]


class Crossed(Scaled):
    def __init__(self, channels):
        super().__init__(channels)
        self.up = nn.ConvTranspose2d(channels + 1, channels, 1)

    def forward(self, x):
        return self.up(x)
"""


@pytest.fixture(autouse=True)
def own(tmp_path, monkeypatch):
    (tmp_path / "own_maps.py").write_text(CODE)
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("kind", ["Scaled", "Elsewhere", "Sideways", "Crossed"])
def test_what_runs_is_planned_and_what_does_not_is_refused_with_file_and_line(kind):
    cfg = load_config([*SMALL, "placement=block", f"attention=own_maps:{kind}"])
    if kind == "Scaled":
        assert model_cost(cfg).params > 0
        return
    with pytest.raises(
        ConfigError, match=rf"kind=own_maps:{kind}: takes no map of 4x32x32 .* own_maps.py line"
    ):
        model_cost(cfg)
