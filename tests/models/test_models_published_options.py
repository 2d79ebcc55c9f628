"""What published systems need beside the defaults; each is off unless asked for."""

import itertools

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from cbam_ablate.config.canonical import run_key
from cbam_ablate.errors import ConfigError
from cbam_ablate.models import build_model, model_cost
from cbam_ablate.models.attention import ATTENTIONS
from cbam_ablate.models.attention.bam import BAM
from cbam_ablate.models.attention.eca import ECA
from cbam_ablate.models.notes import notes_on
from cbam_ablate.models.weights import load_pretrained
from tests.composed import composed
from tests.models.public_layouts import ResNet, conv

MILLIONS = {
    "backbone=resnet_cifar depth=20 model.shortcut=pad": 0.269722,
    "backbone=wide_resnet": 36.5,
    "backbone=resnext_cifar": 34.4,
    "backbone=resnet_cifar depth=164": 1.704,
    "backbone=resnet_cifar_preact depth=164": 1.7,
}


@pytest.mark.parametrize("line", MILLIONS)
def test_networks_for_cifar_have_the_published_parameters(line):
    digits = len(str(MILLIONS[line]).partition(".")[2])
    assert round(model_cost(composed(line.split())).params / 1e6, digits) == MILLIONS[line]


def test_mobilenet_on_small_images_has_pytorch_cifar_s_macs():
    assert round(model_cost(composed(["backbone=mobilenet"])).macs / 1e6, 1) == 46.4


class OptionA(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.side = (outputs - inputs) // 2

    def forward(self, x):
        return F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.side, self.side))


def akamaster():
    network = ResNet((3, 3, 3), stem=8, large=False, last="linear", branch="shortcut")
    for stage in (2, 3):
        block = getattr(network, f"layer{stage}")[0]
        block.shortcut = OptionA(block.conv1.in_channels, block.conv1.out_channels)
    return network


class PreActivation(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.bn1, self.conv1 = nn.BatchNorm2d(inputs), conv(inputs, outputs, 3, stride)
        self.bn2, self.conv2 = nn.BatchNorm2d(outputs), conv(outputs, outputs)
        if stride > 1 or inputs != outputs:
            self.shortcut = nn.Sequential(conv(inputs, outputs, 1, stride))

    def forward(self, x):
        y = self.bn1(x).relu()
        straight = self.shortcut(y) if hasattr(self, "shortcut") else x
        return self.conv2(self.bn2(self.conv1(y)).relu()) + straight


class PreActivationNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, inputs = conv(3, 8), 8
        for stage, outputs in enumerate((8, 16, 32, 64)):
            first = PreActivation(inputs, outputs, 2 if stage else 1)
            setattr(self, f"layer{stage + 1}", nn.Sequential(first, PreActivation(outputs, outputs, 1)))
            inputs = outputs
        self.linear = nn.Linear(64, 10)

    def forward(self, x):
        x = self.layer4(self.layer3(self.layer2(self.layer1(self.conv1(x)))))
        return self.linear(x.mean((2, 3)))


class Separable(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv1 = conv(inputs, inputs, 3, stride, groups=inputs)
        self.conv2 = conv(inputs, outputs, 1)
        self.bn1, self.bn2 = nn.BatchNorm2d(inputs), nn.BatchNorm2d(outputs)

    def forward(self, x):
        return self.bn2(self.conv2(self.bn1(self.conv1(x)).relu())).relu()


class MobileNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.bn1, inputs, layers = conv(3, 4), nn.BatchNorm2d(4), 4, []
        for outputs, stride in zip(
            (8, 16, 16, 32, 32, *[64] * 6, 128, 128), (1, 2, 1, 2, 1, 2, *[1] * 5, 2, 1), strict=True
        ):
            layers.append(Separable(inputs, outputs, stride))
            inputs = outputs
        self.layers, self.linear = nn.Sequential(*layers), nn.Linear(128, 10)

    def forward(self, x):
        return self.linear(self.layers(self.bn1(self.conv1(x)).relu()).mean((2, 3)))


@pytest.mark.parametrize(
    ("make", "network", "options"),
    [
        (akamaster, ("resnet_cifar", 20), {"shortcut": "pad"}),
        (PreActivationNet, ("resnet_preact", 18), {"last_norm": False}),
        (MobileNet, ("mobilenet", 28), {"stem": "cifar"}),
    ],
)
def test_a_published_network_for_cifar_loads_and_gives_the_same_logits(
    configure, randomise, tmp_path, make, network, options
):
    theirs = randomise(make()).double().eval()
    torch.save({"net": theirs.state_dict()}, tmp_path / "weights.pth")
    cfg = configure(*network, pretrained=str(tmp_path / "weights.pth"), width=8, **options)
    ours = build_model(cfg, pretrained=False).double().eval()
    report = load_pretrained(ours, cfg.model)
    assert report.fresh == report.unused == []
    images = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    torch.testing.assert_close(ours(images), theirs(images), rtol=1e-10, atol=1e-10)


EVERY_START = [("block", "cbam"), ("class", "cbam"), *itertools.product(["both", "stage"], ATTENTIONS)]


@pytest.mark.slow
@pytest.mark.parametrize(("placement", "kind"), EVERY_START)
def test_attention_that_starts_as_the_identity_changes_no_logit(kind, placement):
    words = ["backbone=resnet_cifar", "depth=20", "model.width=8"]
    gated = [f"placement={placement}", f"attention={kind}", "reduction=4", "attention.start=identity"]
    if kind == "timm":
        gated.append("model.attention.timm=se")
    plain = build_model(composed(words)).eval()
    network = build_model(composed([*words, *gated])).eval()
    missing = network.load_state_dict(plain.state_dict(), strict=False).missing_keys
    assert missing
    images = torch.randn(2, 3, 32, 32)
    logits = network(images)
    assert torch.equal(logits, plain(images))
    logits.sum().backward()
    scales = [value for name, value in network.named_parameters() if name.endswith("attention.scale")]
    assert scales
    assert all(scale.grad is not None for scale in scales)


def test_the_input_added_back_too_is_left_out_at_the_start():
    words = ["backbone=resnet_cifar", "depth=20", "model.width=8", "placement=class", "reduction=4"]
    network = build_model(composed([*words, "model.attention.residual=class", "attention.start=identity"]))
    x = torch.randn(2, 32, 8, 8)
    assert torch.equal(network.attention(x), x)


def test_bam_s_maps_are_multiplied_where_that_is_asked_for(randomise):
    module = randomise(BAM(8, 4, combine="multiply")).eval()
    x = torch.randn(2, 8, 5, 5)
    channel, spatial = module.channel(x.mean((2, 3)))[:, :, None, None], module.spatial(x)
    torch.testing.assert_close(module(x), (1 + torch.sigmoid(channel * spatial)) * x)


def test_eca_net50_s_kernels_go_by_the_width_of_the_map():
    words = ["backbone=resnet_imagenet", "depth=50", "placement=block", "attention=eca", "data=imagenet"]
    with torch.device("meta"):
        network = build_model(composed([*words, "model.attention.kernels=[3,5,5,7]"]))
    kernels = [module.conv.kernel_size[0] for module in network.modules() if isinstance(module, ECA)]
    assert kernels == [3] * 3 + [5] * 4 + [5] * 6 + [7] * 3


def test_too_few_kernels_are_refused():
    cfg = composed(["placement=block", "attention=eca", "model.attention.kernels=[3,5]"])
    with pytest.raises(ConfigError, match="one for each width of map that is gated"):
        build_model(cfg)


def test_kernels_beyond_the_widths_of_maps_are_refused():
    cfg = composed(["placement=class", "attention=eca", "model.attention.kernels=[3,5]"])
    with pytest.raises(ConfigError, match=r"gated maps of 1 widths \(512\); one for each, or one for all"):
        model_cost(cfg)


def test_the_momentum_of_attention_s_norms_is_theirs_alone():
    words = ["backbone=resnet_cifar", "depth=20", "model.width=8", "placement=class", "reduction=4"]
    network = build_model(composed([*words, "model.attention.norm_momentum=0.3"]))
    assert network.attention.spatial.norm.momentum == 0.3
    assert network.stem[1].momentum == 0.1


@pytest.mark.parametrize(
    ("words", "stem"),
    [
        (["backbone=mobilenet"], "cifar"),
        (["model.backbone=resnext", "depth=50"], "cifar"),
        (["backbone=mobilenet", "data=imagenet"], "imagenet"),
        (["backbone=mobilenet", "model.stem=imagenet"], "imagenet"),
        (["backbone=resnet_imagenet", "model.pretrained=imagenet"], "imagenet"),
        (["backbone=resnet"], "imagenet"),
    ],
)
def test_the_stem_goes_by_the_images_unless_it_is_given(words, stem):
    assert composed(words).model.stem == stem


def test_a_last_map_of_one_pixel_is_worth_a_word():
    small = ["backbone=mobilenet", "model.stem=imagenet"]
    assert "a single pixel" in notes_on(composed(small))[0]
    assert notes_on(composed(["backbone=mobilenet"])) == ()


def test_a_word_on_the_last_map_is_of_the_images_size(tmp_path):
    images, labels = np.zeros((40, 64, 64), np.uint8), np.arange(40) % 2
    np.savez(tmp_path / "set.npz", images=images, labels=labels)
    words = ["data=npz", f"data.root={tmp_path / 'set.npz'}", "train.batch_size=4", "backbone=mobilenet"]
    notes = [notes_on(composed([*words, "model.stem=imagenet", f"data.size={size}"])) for size in (64, 32)]
    assert notes[0] == ()
    assert "a single pixel" in notes[1][0]


def test_coordinate_attention_has_its_own_reduction_unless_one_is_given():
    words = ["placement=block", "attention=coordinate"]
    assert composed(words).model.attention.reduction == 32
    assert composed([*words, "reduction=16"]).model.attention.reduction == 16
    assert run_key(composed([*words, "reduction=32"])) == run_key(composed(words))
    assert composed(["placement=block"]).model.attention.reduction == 16
