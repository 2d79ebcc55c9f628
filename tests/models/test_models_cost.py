import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from cbam_ablate.data import DATASETS
from cbam_ablate.errors import ConfigError
from cbam_ablate.models import build_model, cost, model_cost
from cbam_ablate.models.attention import ATTENTIONS
from tests.composed import composed

NAMED = {"timm": ["model.attention.timm=coord"]}
NETWORKS = [
    ["backbone=resnet", "depth=50", "placement=both"],
    ["backbone=vgg", "depth=19", "placement=stage", "data=cifar100"],
    ["backbone=mobilenet", "placement=block", "data=imagenet"],
    ["backbone=residual_attention", "depth=56"],
    ["backbone=timm", "model.timm=regnetx_002", "placement=block"],
    ["backbone=torchvision", "model.torchvision=densenet121", "placement=class"],
    ["backbone=timm", "model.timm=vit_tiny_patch16_224", "data=imagenet"],
    *(["backbone=resnet_cifar", "placement=block", "attention=timm", f"model.attention.timm={name}"]
      for name in ("nl", "halo")),
    *(["backbone=resnet_cifar", "placement=both", "reduction=4", f"attention={kind}", *NAMED.get(kind, [])]
      for kind in ATTENTIONS),
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("words", NETWORKS, ids=lambda words: " ".join(words))
def test_parameters_and_macs_are_pytorchs_own_count(words):
    cfg = composed(words)
    data = DATASETS[cfg.data.name]
    with torch.device("meta"):
        network = build_model(cfg).eval()
        image = torch.empty(1, data.channels, data.size, data.size)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(image)
    macs = counter.get_total_flops() / 2
    assert model_cost(cfg) == (sum(parameter.numel() for parameter in network.parameters()), macs)


def test_inference_mode_changes_no_count(monkeypatch):
    cfg = composed(["backbone=resnet_cifar", "depth=20"])
    monkeypatch.setattr(cost, "_counted", {})
    with torch.inference_mode():
        assert model_cost(cfg) == (272_474, 40_813_184)


@pytest.mark.parametrize(
    "wrong",
    [
        [nn.Conv2d(3, 4, 3), nn.BatchNorm2d(8)],
        [nn.Conv2d(3, 4, 3), nn.BatchNorm1d(4)],
        [nn.Conv2d(3, 4, 3), nn.LayerNorm(8)],
        [nn.Flatten(), nn.Linear(3072, 4), nn.BatchNorm1d(8)],
    ],
    ids=str,
)
def test_a_norm_of_other_channels_is_refused(monkeypatch, wrong):
    """What a backbone of somebody's own may come with."""
    wrong = nn.Sequential(*wrong)
    monkeypatch.setattr(cost, "build_model", lambda cfg, pretrained: wrong.to("meta"))
    monkeypatch.setattr(cost, "_counted", {})
    with pytest.raises(ConfigError, match="takes no images of 3x32x32"):
        model_cost(composed(["backbone=resnet_cifar", "depth=20"]))
