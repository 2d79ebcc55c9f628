import pytest

from cbam_ablate.config.compose import load_config
from cbam_ablate.runs.naming import name_of


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (["placement=block"], "resnet18 cbam block r16 k7 seed 0"),
        (["backbone=vgg", "placement=none", "seed=3"], "vgg19 none seed 3"),
        (["attention=timm", "model.attention.timm=eca", "placement=block"], "resnet18 timm eca block seed 0"),
        (["backbone=timm", "model.timm=resnet10t"], "timm resnet10t none seed 0"),
        (["backbone=torchvision", "model.torchvision=resnet18"], "torchvision resnet18 none seed 0"),
        (["name=baseline"], "baseline"),
    ],
)
def test_a_run_is_called_by_its_network_its_attention_and_its_seed(words, name):
    assert name_of(load_config(words)) == name
