"""Attention at modules that are named, and before a normalisation."""

import pytest
import torch
from torch import nn
from torchvision import models as torchvision

from cbam_ablate.config.canonical import run_key
from cbam_ablate.errors import ConfigError
from cbam_ablate.models import CBAM, attach, build_model
from cbam_ablate.models.attended import Attended
from cbam_ablate.models.cost import attention_places
from tests.composed import composed

RESNET18 = ["backbone=torchvision", "model.torchvision=resnet18"]


def places(*overrides):
    return [tuple(place) for place in attention_places(composed(overrides))]


def test_named_modules_outputs_are_attended_to():
    found = places(*RESNET18, "model.attention.at=[layer3.*,layer4.1]", "data=imagenet")
    assert found == [("layer3.0", 256, 14, 14), ("layer3.1", 256, 14, 14), ("layer4.1", 512, 7, 7)]


def test_a_star_stands_for_one_part_of_a_name_and_not_for_the_identity():
    assert [found[0] for found in places("model.attention.at=[stages.2.*]")] == ["stages.2.0", "stages.2.1"]


def test_the_ends_of_stages_by_name_are_placement_stage(configure):
    named = build_model(configure("resnet", 18, "at", at=["stages.0", "stages.1", "stages.2"]))
    found = build_model(configure("resnet", 18, "stage"))
    assert list(named.state_dict()) == list(found.state_dict())
    named.load_state_dict(found.state_dict())
    images = torch.randn(2, 3, 32, 32)
    assert torch.equal(named.eval()(images), found.eval()(images))


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        ("layer5.*", r"layer5\.\* names no module of ResNet; near it are layer4"),
        ("fc", r"gives a tensor of shape \(1, 10\)"),
    ],
)
def test_a_name_that_is_no_place_is_refused_with_the_reason(names, reason):
    cfg = composed([*RESNET18, f"model.attention.at=[{names}]"])
    with torch.device("meta"), pytest.raises(ConfigError, match=reason):
        build_model(cfg)


def test_what_runs_twice_is_refused():
    with pytest.raises(ConfigError, match=r"layer1\.0\.relu runs more than once"):
        attach(torchvision.resnet18(), CBAM, at=["layer1.0.relu"])


def test_names_and_a_placement_that_searches_are_not_given_together():
    with pytest.raises(ConfigError, match="placement=block finds its own places"):
        composed(["placement=block", "model.attention.at=[stages.0]"])


def test_keys_without_names_and_position_stay_and_with_them_differ():
    plain = composed(["placement=block"])
    off = composed(["placement=block", "model.attention.at=[]", "model.attention.position=after"])
    before = composed(["placement=block", "model.attention.position=before"])
    assert run_key(plain) == run_key(off) != run_key(before)
    assert run_key(composed(["model.attention.at=[]"])) == run_key(composed([]))
    assert len({run_key(composed([f"model.attention.at=[stages.{index}]"])) for index in range(3)}) == 3


OURS = [("resnet", 18), ("resnet", 50), ("vgg", 11), ("mobilenet", 28)]


@pytest.mark.parametrize(("backbone", "depth"), OURS, ids=str)
def test_before_a_norm_are_as_many_modules_with_the_same_weights_as_after_it(configure, backbone, depth):
    with torch.device("meta"):
        after = build_model(configure(backbone, depth, "block"))
        before = build_model(configure(backbone, depth, "block", position="before"))
    norms = [module for module in before.modules() if isinstance(module, Attended) and module.before]
    assert all(type(module.module) is nn.BatchNorm2d for module in norms)
    assert len(norms) == sum(isinstance(module, CBAM) for module in after.modules())
    assert sorted(p.shape for p in before.parameters()) == sorted(p.shape for p in after.parameters())


def test_before_computes_the_norm_of_what_attention_gives(configure, randomise):
    block = randomise(build_model(configure("resnet", 18, "block", position="before"))).eval().stages[0][0]
    x = torch.randn(2, 64, 8, 8)
    y = block.conv2(torch.relu(block.bn1(block.conv1(x))))
    wanted = torch.relu(block.bn2.module(block.bn2.attention(y)) + x)
    torch.testing.assert_close(block(x), wanted)


def test_before_in_an_attached_network_is_that_of_ours(configure, randomise):
    ours = randomise(build_model(configure("resnet_imagenet", 18, "block", "imagenet", position="before")))
    theirs = attach(torchvision.resnet18(), CBAM, "block", position="before")
    named = {our_name(name): name for name in theirs.state_dict()}
    theirs.load_state_dict({named[name]: value for name, value in ours.state_dict().items()})
    images = torch.randn(1, 3, 64, 64)
    torch.testing.assert_close(theirs.eval()(images), ours.eval()(images), rtol=1e-4, atol=1e-5)


def our_name(name: str) -> str:
    top = {"conv1": "stem.0", "bn1": "stem.1", "fc": "classifier"}
    first, _, rest = name.partition(".")
    stage = f"stages.{int(first[-1]) - 1}" if first.startswith("layer") else top[first]
    return f"{stage}.{rest}".replace("downsample", "shortcut")


@pytest.mark.parametrize(("backbone", "depth"), [("resnet_preact", 18), ("residual_attention", 56)])
def test_before_is_refused_where_no_norm_ends_our_blocks(configure, backbone, depth):
    with torch.device("meta"), pytest.raises(ConfigError, match="no norm ends this backbone's blocks"):
        build_model(configure(backbone, depth, "block", position="before"))


class Block(nn.Module):
    """A pre-activation block, x and the same shape out."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(8)
        self.convs = nn.ModuleList(nn.Conv2d(8, 8, 3, padding=1) for _ in range(2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.convs[1](torch.relu(self.convs[0](self.norm(x))))


def test_an_attached_branch_that_ends_in_a_convolution_has_attention_after_it_alone():
    network = nn.Sequential(nn.Conv2d(3, 8, 3), Block(), Block())
    with pytest.raises(ConfigError, match=r"ends in 1\.convs\.1, a Conv2d, not in a norm"):
        attach(network, CBAM, "block", position="before", size=16)
    attach(network, CBAM, "block", size=16)
    assert [name for name, module in network.named_modules() if isinstance(module, CBAM)] == [
        "1.convs.1.attention",
        "2.convs.1.attention",
    ]
