"""Files of weights as others save them; each public layout is defined here, small, by its keys and shapes."""

import pytest
import timm
import torch
from torch import nn

from cbam_ablate.errors import ConfigError
from cbam_ablate.models import build_model
from cbam_ablate.models.build import check_pretrained
from cbam_ablate.models.weights import load_pretrained
from tests.models.public_layouts import (
    ECA,
    SE,
    VGG,
    OfficialBAM,
    OfficialCBAM,
    ResNet,
    ResNeXtOfCIFAR,
    SEModule,
    Weiaicunzai,
    three_layers,
)

TWOS, NARROW = (2, 2, 2, 2), {"width": 8}
GATED = {"placement": "block", "reduction": 4, **NARROW}
FIVE = ("conv2_x", "conv3_x", "conv4_x", "conv5_x")
LAYOUTS = {
    "torchvision": (lambda: ResNet(TWOS), ("resnet_imagenet", 18), NARROW),
    "torchvision deep": (lambda: ResNet((3, 4, 6, 3), deep=True), ("resnet_imagenet", 50), NARROW),
    "official CBAM": (
        lambda: ResNet(TWOS, gate=("cbam", OfficialCBAM)),
        ("resnet_imagenet", 18),
        GATED,
    ),
    "official CBAM for CIFAR": (
        lambda: ResNet(TWOS, stem=8, large=False, gate=("cbam", OfficialCBAM)),
        ("resnet", 18),
        GATED,
    ),
    "official BAM": (
        lambda: ResNet(TWOS, after=("bam", OfficialBAM)),
        ("resnet_imagenet", 18),
        {**GATED, "placement": "stage", "kind": "bam", "combine": "multiply"},
    ),
    "SE": (lambda: ResNet(TWOS, gate=("se", SE)), ("resnet_imagenet", 18), {**GATED, "kind": "se"}),
    "SE for CIFAR": (
        lambda: ResNet((3, 3, 3), stem=8, large=False, gate=("se", SE)),
        ("resnet_cifar", 20),
        {**GATED, "kind": "se"},
    ),
    "SE by another name": (
        lambda: ResNet(TWOS, gate=("se_module", SEModule)),
        ("resnet_imagenet", 18),
        {**GATED, "kind": "se"},
    ),
    "ECA": (lambda: ResNet(TWOS, gate=("eca", ECA)), ("resnet_imagenet", 18), {**GATED, "kind": "eca"}),
    "timm SE": (
        lambda: ResNet(TWOS, gate=("se", SEModule)),
        ("resnet_imagenet", 18),
        {**GATED, "kind": "se"},
    ),
    "pytorch-cifar": (
        lambda: ResNet(TWOS, stem=8, large=False, last="linear", branch="shortcut"),
        ("resnet", 18),
        NARROW,
    ),
    "pytorch-cifar deep": (
        lambda: ResNet((3, 4, 6, 3), stem=8, large=False, last="linear", branch="shortcut", deep=True),
        ("resnet", 50),
        NARROW,
    ),
    "akamaster, option B": (
        lambda: ResNet((3, 3, 3), stem=8, large=False, last="linear", branch="shortcut"),
        ("resnet_cifar", 20),
        NARROW,
    ),
    "pytorch-cifar100": (
        lambda: Weiaicunzai((64, 128, 256, 512), "residual_function", FIVE),
        ("resnet", 18),
        {},
    ),
    "ResNeXt of pytorch-cifar100": (ResNeXtOfCIFAR, ("resnext", 50), {"stem": "cifar"}),
    "VGG of pytorch-cifar": (lambda: VGG(nn.Linear(64, 10)), ("vgg", 11), NARROW),
    "VGG of pytorch-cifar100": (
        lambda: VGG(three_layers()),
        ("vgg", 11),
        {**NARROW, "classifier": "mlp", "dropout": 0.5},
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", LAYOUTS)
def test_a_public_layout_loads_and_gives_the_same_logits(configure, randomise, tmp_path, name):
    make, network, options = LAYOUTS[name]
    theirs = randomise(make()).double().eval()
    torch.save(theirs.state_dict(), tmp_path / "weights.pth")
    cfg = configure(*network, pretrained=str(tmp_path / "weights.pth"), **options)
    ours = build_model(cfg, pretrained=False).double().eval()
    report = load_pretrained(ours, cfg.model)
    assert report.fresh == report.unused == []
    images = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    torch.testing.assert_close(ours(images), theirs(images), rtol=1e-10, atol=1e-10)


def test_timm_s_spatial_gate_sees_the_mean_first(configure, randomise, tmp_path):
    theirs = timm.create_model("resnet18", num_classes=10, block_args={"attn_layer": "cbam"})
    randomise(theirs).double().eval()
    torch.save(theirs.state_dict(), tmp_path / "weights.pth")
    cfg = configure("resnet_imagenet", 18, "block", mlp_bias=False, pretrained=str(tmp_path / "weights.pth"))
    ours = build_model(cfg, pretrained=False).double().eval()
    assert load_pretrained(ours, cfg.model).layout == "timm"
    images = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    torch.testing.assert_close(ours(images), theirs(images), rtol=1e-10, atol=1e-10)


def test_a_file_without_counters_of_batches_loads(configure, tmp_path):
    state = {
        name: value
        for name, value in ResNet(TWOS, width=64).state_dict().items()
        if "num_batches" not in name
    }
    torch.save(state, tmp_path / "weights.pth")
    cfg = configure("resnet_imagenet", 18, pretrained=str(tmp_path / "weights.pth"))
    network = build_model(cfg, pretrained=False)
    report = load_pretrained(network, cfg.model)
    assert len(report.loaded) == len(state) == 102
    assert report.fresh == report.unused == []


def test_bam_s_published_weights_are_of_the_multiplied_form(configure, tmp_path):
    torch.save(ResNet(TWOS, after=("bam", OfficialBAM)).state_dict(), tmp_path / "weights.pth")
    cfg = configure(
        "resnet_imagenet", 18, "stage", kind="bam", reduction=4, pretrained=str(tmp_path / "weights.pth"),
        **NARROW,
    )  # fmt: skip
    with pytest.raises(ConfigError, match=r"those of model\.attention\.combine=multiply, not of add"):
        check_pretrained(cfg)


@pytest.mark.parametrize(("backbone", "option"), [("timm", "timm"), ("torchvision", "torchvision")])
def test_a_library_s_network_takes_its_own_weights_beside_attention(configure, tmp_path, backbone, option):
    plain = configure(backbone, **{option: "resnet18"})
    trained = build_model(plain)
    torch.save({"state_dict": trained.state_dict()}, tmp_path / "weights.pt")
    cfg = configure(
        backbone, placement="block", pretrained=str(tmp_path / "weights.pt"), **{option: "resnet18"}
    )
    network = build_model(cfg)
    state = network.state_dict()
    assert all(torch.equal(state[name], value) for name, value in trained.state_dict().items())


def test_attention_beside_a_network_s_own_is_loaded_with_it(configure, tmp_path):
    names = {"timm": "mobilenetv3_small_050", "placement": "class"}  # whose blocks have gates called se
    trained = build_model(configure("timm", **names))
    torch.save(trained.state_dict(), tmp_path / "weights.pt")
    cfg = configure("timm", pretrained=str(tmp_path / "weights.pt"), **names)
    report = load_pretrained(build_model(cfg, pretrained=False), cfg.model)
    assert (len(report.loaded), report.fresh) == (len(trained.state_dict()), [])


@pytest.mark.parametrize(
    ("backbone", "options", "message"),
    [
        ("timm", {"timm": "resnet18", "pretrained": "no_such"}, r"no such weights of resnet18; .*a1_in1k"),
        ("torchvision", {"torchvision": "resnet18", "pretrained": "V9"}, r"of resnet18; .*IMAGENET1K_V1"),
    ],
)
def test_names_of_published_weights_are_checked_without_a_download(configure, backbone, options, message):
    with pytest.raises(ConfigError, match=message):
        check_pretrained(configure(backbone, **options))
    assert check_pretrained(configure(backbone, **{**options, "pretrained": "imagenet"})) is None
