"""Sizes and outputs against what others published."""

import pytest
import torch
from timm import create_model
from timm.layers import BatchNormAct2d, create_conv2d
from timm.models.resnetv2 import ResNetV2
from torch import nn
from torchvision import models as torchvision

from cbam_ablate.models import CBAM, build_model, model_cost


@pytest.mark.parametrize(
    ("depth", "params"),
    [(18, 11_779_392), (34, 21_960_468), (50, 28_089_624), (101, 49_330_172), (152, 66_826_848)],
)
def test_imagenet_resnets_with_cbam_have_the_published_parameters(configure, depth, params):
    assert model_cost(configure("resnet_imagenet", depth, "block", "imagenet")).params == params


@pytest.mark.parametrize(("classifier", "params"), [("mlp", 39_327_652), ("linear", 20_086_692)])
def test_vgg19_on_cifar100_has_the_published_parameters(configure, classifier, params):
    assert model_cost(configure("vgg", 19, data="cifar100", classifier=classifier)).params == params


@pytest.mark.parametrize(("depth", "params"), [(56, 31_810_728), (92, 52_466_344)])
@pytest.mark.parametrize("mode", ["arl", "nal"])
def test_imagenet_residual_attention_has_the_published_parameters(configure, depth, params, mode):
    assert (
        model_cost(configure("residual_attention_imagenet", depth, data="imagenet", mode=mode)).params
        == params
    )


def test_cifar_residual_attention_92_has_the_paper_s_1_9_million_parameters(configure):
    assert 1_900_000 <= model_cost(configure("residual_attention", 92)).params < 2_000_000


@pytest.mark.parametrize(
    ("depth", "plain", "attended"), [(18, 1.814, 1.815), (50, 3.858, 3.864), (101, 7.570, 7.581)]
)
def test_cbam_table_4_to_the_printed_digit(configure, depth, plain, attended):
    for placement, giga in (("none", plain), ("block", attended)):
        cfg = configure("resnet_imagenet", depth, placement, "imagenet", stride_in_1x1=True)
        assert round(model_cost(cfg).macs / 1e9, 3) == giga


@pytest.mark.parametrize("depth", [50, 101])
def test_resnext_has_timm_s_parameters(configure, depth):
    with torch.device("meta"):
        theirs = create_model(f"resnext{depth}_32x4d")
    params = sum(parameter.numel() for parameter in theirs.parameters())
    assert model_cost(configure("resnext", depth, data="imagenet")).params == params


def test_a_wide_imagenet_resnet_keeps_its_stem(configure):
    with torch.device("meta"):
        network = build_model(configure("resnet_imagenet", 18, data="imagenet", width=96))
    assert network.stem[0].out_channels == 64
    assert network.classifier.in_features == 8 * 96


def test_mobilenet_gates_every_norm_in_block_placement(configure):
    with torch.device("meta"):
        network = build_model(configure("mobilenet", data="imagenet", placement="block", spatial_norm=False))
    kinds = [type(module) for module in network.modules()]
    assert kinds.count(CBAM) == kinds.count(nn.BatchNorm2d) == 27


@pytest.mark.parametrize(("placement", "giga"), [("none", 4.089), ("block", 4.096)])
def test_stride_in_the_3x3_counts_as_torchvision_s(configure, placement, giga):
    assert round(model_cost(configure("resnet_imagenet", 50, placement, "imagenet")).macs / 1e9, 3) == giga


@pytest.mark.slow
@pytest.mark.parametrize(
    ("backbone", "name"),
    [("resnet_imagenet", "resnet18"), ("resnet_imagenet", "resnet50"), ("resnext", "resnext50_32x4d")],
)
def test_equals_torchvision_with_its_weights(configure, randomise, tmp_path, backbone, name):
    theirs = randomise(torchvision.get_model(name)).eval()
    torch.save(theirs.state_dict(), tmp_path / "weights.pt")
    depth = 18 if name == "resnet18" else 50
    cfg = configure(backbone, depth, data="imagenet", pretrained=str(tmp_path / "weights.pt"))
    ours = build_model(cfg).eval()
    images = torch.randn(1, 3, 64, 64)
    torch.testing.assert_close(ours(images), theirs(images), rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_vgg_equals_torchvision_with_copied_weights(configure, randomise):
    theirs = randomise(torchvision.vgg11_bn().features).eval()
    ours = build_model(configure("vgg", 11)).eval()
    state = zip(
        [key for key in ours.state_dict() if key.startswith("stages")],
        theirs.state_dict().values(),
        strict=True,
    )
    ours.load_state_dict(dict(state), strict=False)
    ours.classifier = nn.Identity()
    images = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(ours(images), theirs(images).mean((2, 3)), rtol=1e-4, atol=1e-5)


def test_mobilenet_equals_timm_with_copied_weights(configure, randomise, copy_in_order):
    theirs = randomise(create_model("mobilenetv1_100", act_layer=nn.ReLU)).eval()
    ours = build_model(configure("mobilenet", data="imagenet")).eval()
    copy_in_order(theirs, ours)
    images = torch.randn(1, 3, 64, 64)
    torch.testing.assert_close(ours(images), theirs(images), rtol=1e-4, atol=1e-5)


def test_preactivation_equals_timm_with_copied_weights(configure, randomise):
    theirs = ResNetV2(
        [3, 4, 6, 3],
        num_classes=10,
        stem_type="",
        conv_layer=create_conv2d,
        norm_layer=BatchNormAct2d,
    )
    theirs.stem = nn.Conv2d(3, 64, 3, padding=1, bias=False)
    randomise(theirs).eval()
    ours = build_model(configure("resnet_preact", 50)).eval()
    state = {}
    for name, value in theirs.state_dict().items():
        parts = name.split(".")
        if parts[0] == "stages":
            stage, block, layer, *rest = parts[1], parts[3], parts[4], parts[-1]
            inner = "shortcut" if layer == "downsample" else f"{layer[:-1]}s.{int(layer[-1]) - 1}"
            state[f"stages.{stage}.{block}.{inner}.{rest[-1]}"] = value
        elif parts[0] == "norm":
            state[f"stages.3.3.{parts[1]}"] = value
        elif parts[0] == "head":
            state[f"classifier.{parts[-1]}"] = value.flatten(1) if value.ndim > 1 else value
        else:
            state[name] = value
    ours.load_state_dict(state)
    images = torch.randn(1, 3, 32, 32)
    torch.testing.assert_close(ours(images), theirs(images), rtol=1e-4, atol=1e-5)
