from copy import deepcopy

import pytest
import timm
import torch
from torch import nn
from torchvision import models as torchvision

from cbam_ablate.errors import ConfigError
from cbam_ablate.models import CBAM, attach, build_model, model_cost

OF_NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


class Scale(nn.Module):
    """One number for a map, which is enough to be seen."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.scale


def gated(network: nn.Module) -> list[str]:
    return [
        name.removesuffix(".attention")
        for name, module in network.named_modules()
        if isinstance(module, CBAM)
    ]


def on_meta(library: str, name: str) -> nn.Module:
    with torch.device("meta"):
        if library == "timm":
            return timm.create_model(name, num_classes=10)
        return torchvision.get_model(name, num_classes=10)


FOUND = {  # library, name, place: how many, the first, the last
    ("torchvision", "resnet18", "block"): (8, "layer1.0.bn2", "layer4.1.bn2"),
    ("torchvision", "resnet50", "block"): (16, "layer1.0.bn3", "layer4.2.bn3"),
    ("torchvision", "resnet18", "stage"): (3, "layer1.1", "layer3.1"),
    ("torchvision", "resnet18", "class"): (1, "layer4", "layer4"),
    ("torchvision", "vgg16_bn", "block"): (5, "features.5", "features.42"),
    ("torchvision", "vgg16_bn", "class"): (1, "features", "features"),
    ("torchvision", "mobilenet_v2", "block"): (17, "features.1.conv.2", "features.17.conv.3"),
    ("torchvision", "efficientnet_v2_s", "block"): (40, "features.1.0.block.0.1", "features.6.14.block.3.1"),
    ("torchvision", "densenet121", "class"): (1, "features", "features"),
    ("timm", "resnet18", "both"): (9, "layer1.0.bn2", "layer4"),
    ("timm", "regnety_004", "block"): (16, "s1.b1.conv3.bn", "s4.b6.conv3.bn"),
    ("timm", "efficientnet_b0", "stage"): (4, "blocks.0.0", "blocks.4.2"),
    ("timm", "convnext_tiny", "stage"): (3, "stages.0", "stages.2"),
    ("timm", "mobilenetv3_small_100", "class"): (1, "blocks", "blocks"),
    ("timm", "mobilenetv3_large_100", "block"): (15, "blocks.0.0.bn2", "blocks.5.2.bn3"),
    ("timm", "resnetv2_50", "block"): (16, "stages.0.blocks.0.conv3", "stages.3.blocks.2.conv3"),
    ("timm", "inception_v4", "stage"): (2, "features.9", "features.17"),
    ("timm", "cspresnet50", "stage"): (3, "stages.0", "stages.2"),
}


QUICK = ("resnet18", "vgg16_bn", "mobilenet_v2", "regnety_004", "mobilenetv3_small_100")


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, marks=[] if case[1] in QUICK else pytest.mark.slow, id="-".join(case))
        for case in FOUND
    ],
)
def test_places_are_found(case):
    library, name, where = case
    places = gated(attach(on_meta(library, name), CBAM, where))
    assert (len(places), places[0], places[-1]) == FOUND[case]


REFUSED = {
    ("torchvision", "densenet121", "block"): r"add none; model.attention.at=\[features.denseblock1,",
    ("torchvision", "googlenet", "block"): r"add none; model.attention.at=\[inception3a,",
    ("torchvision", "vit_b_16", "block"): "sequences",
    ("torchvision", "vit_b_16", "class"): "sequences",
    ("torchvision", "squeezenet1_0", "class"): "isn't what its classifier takes",
    ("timm", "convnext_tiny", "block"): r"adds at its end; model.attention.at=\[stages.\*.blocks.\*\]",
    ("timm", "hrnet_w18_small", "stage"): "in parallel",
    ("timm", "coat_tiny", "block"): "sequences",
    ("timm", "coat_tiny", "stage"): "sequences",
}


SLOW = "coat_tiny"
CASES = [
    pytest.param(case, marks=pytest.mark.slow if case[1] == SLOW else [], id="-".join(case))
    for case in REFUSED
]


@pytest.mark.parametrize("case", CASES)
def test_what_has_no_place_is_refused_with_the_reason(configure, case):
    library, name, where = case
    with torch.device("meta"), pytest.raises(ConfigError, match=REFUSED[case]):
        build_model(configure(library, None, where, **{library: name}))


def test_an_unknown_place_is_refused_with_the_known_ones():
    with pytest.raises(ConfigError, match="block, class, both, stage"):
        attach(nn.Sequential(), CBAM, "everywhere")


@pytest.mark.parametrize("where", ["block", "class", "both", "stage"])
def test_attached_equals_built_in(configure, randomise, where):
    """torchvision's ResNet with attention attached is our ResNet with the same placement."""
    built = randomise(build_model(configure("resnet_imagenet", 18, where, "imagenet"))).eval()
    attached = attach(torchvision.resnet18(), CBAM, where).eval()
    ours = built.state_dict()
    for name, value in attached.state_dict().items():
        value.copy_(ours[our_name(name, where)])
    images = torch.randn(1, 3, 64, 64)
    torch.testing.assert_close(attached(images), built(images), rtol=1e-4, atol=1e-5)


def our_name(name: str, where: str) -> str:
    parts = name.split(".")
    top = {"conv1": "stem.0", "bn1": "stem.1", "fc": "classifier"}
    if parts[0] in top:
        return ".".join([top[parts[0]], *parts[1:]])
    stage = f"stages.{int(parts[0][-1]) - 1}"
    if parts[1] == "attention":
        return ".".join(parts[1:])
    if "attention" in parts:
        inner = parts[parts.index("attention") :]
        return ".".join([stage, *inner] if where == "stage" else [stage, parts[1], *inner])
    return ".".join([stage, *parts[1:]]).replace("downsample", "shortcut")


def test_the_network_s_own_weights_keep_their_names():
    names = set(torchvision.resnet18().state_dict())
    attached = set(attach(torchvision.resnet18(), CBAM, "both").state_dict())
    assert names < attached


def test_weights_saved_without_attention_load_around_it():
    plain = torchvision.resnet18(num_classes=10)
    network = attach(torchvision.resnet18(num_classes=10), CBAM, "both")
    odd = network.load_state_dict(plain.state_dict(), strict=False)
    assert odd.unexpected_keys == []
    assert all(".attention." in name for name in odd.missing_keys)
    assert torch.equal(network.layer4[1].bn2.module.weight, plain.layer4[1].bn2.weight)
    assert torch.equal(network.layer1[0].conv1.weight, plain.layer1[0].conv1.weight)


def test_names_and_order_of_weights_are_those_of_stores_made_with_hooks():
    """The state dict that the hooked networks had, whose optimiser counts weights in their order."""
    names = [name for name in attach(torchvision.resnet18(), Scale, "block").state_dict() if "bn2" in name]
    assert names[:7] == [
        *(f"layer1.0.bn2.{own}" for own in OF_NORM),
        "layer1.0.bn2.attention.scale",
        "layer1.1.bn2.weight",
    ]


def small() -> nn.Module:
    """A ResNet of torchvision with a block a stage."""
    resnet = torchvision.resnet
    return resnet.ResNet(resnet.BasicBlock, [1, 1, 1, 1], num_classes=10)


@pytest.mark.slow
def test_attention_stays_through_conversion_copy_and_export():
    network = attach(small(), CBAM, "both").eval()
    images, wanted = torch.randn(2, 3, 32, 32), 5
    synced = nn.SyncBatchNorm.convert_sync_batchnorm(deepcopy(network))
    assert len(gated(synced)) == wanted
    assert type(synced.layer1[0].bn2.module) is nn.SyncBatchNorm
    torch.testing.assert_close(synced.eval()(images), network(images))
    exported = torch.export.export(network, (images,)).module()
    torch.testing.assert_close(exported(images), network(images))
    assert not torch.allclose(network(images), ungated(network)(images))


def ungated(network: nn.Module) -> nn.Module:
    plain = small().eval()
    plain.load_state_dict({k: v for k, v in network.state_dict().items() if "attention" not in k})
    return plain


@pytest.mark.parametrize("again", ["block", "class"])
def test_attaching_twice_is_refused_and_changes_nothing(again):
    network = attach(torchvision.resnet18(), CBAM, "block")
    before = list(network.state_dict())
    with pytest.raises(ConfigError, match=r"has attention already \(8 modules, the first at layer1\.0\.bn2"):
        attach(network, CBAM, again)
    assert list(network.state_dict()) == before


def test_a_copy_attends_with_its_own_weights():
    network = attach(torchvision.resnet18(num_classes=10), CBAM, "block").eval()
    twin = deepcopy(network)
    images = torch.randn(1, 3, 32, 32)
    before = network(images)
    for name, parameter in twin.named_parameters():
        if "attention" in name:
            nn.init.constant_(parameter, 3.0)
    assert torch.equal(network(images), before)
    assert not torch.equal(twin(images), before)


def test_cost_of_a_named_network_is_that_of_one_image_of_the_data(configure):
    with_torchvision = model_cost(configure("torchvision", torchvision="resnet50", data="imagenet"))
    assert with_torchvision == (25_557_032, 4_089_184_256)
    assert model_cost(configure("timm", timm="resnet50", data="imagenet")) == with_torchvision


@pytest.mark.parametrize("backbone", ["timm", "torchvision"])
@pytest.mark.parametrize(
    "placement",
    [pytest.param(name, marks=pytest.mark.slow) for name in ("none", "class", "both")] + ["block", "stage"],
)
def test_a_named_network_trains_in_every_placement(configure, backbone, placement):
    options = {backbone: "resnet18"}
    network = build_model(configure(backbone, None, placement, residual="none", **options))
    network(torch.randn(2, 3, 32, 32)).square().sum().backward()
    assert [name for name, parameter in network.named_parameters() if parameter.grad is None] == []


def test_a_network_that_computes_while_it_is_built_goes_to_meta_too(configure):
    with torch.device("meta"):
        network = build_model(configure("torchvision", None, "block", torchvision="regnet_y_400mf"))
    assert all(parameter.is_meta for parameter in network.parameters())


@pytest.mark.parametrize(
    ("backbone", "name", "known"),
    [("timm", "resnet1", "resnet18"), ("torchvision", "resnext", "resnext50_32x4d")],
)
def test_an_unknown_name_is_refused_with_like_ones(configure, backbone, name, known):
    with pytest.raises(ConfigError, match=known):
        build_model(configure(backbone, **{backbone: name}))
