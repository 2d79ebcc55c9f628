import pytest
import torch
from torch import nn

from cbam_ablate.models import CBAM, build_model, model_cost
from cbam_ablate.models.gates import AddInput


def modules(network: nn.Module, kind: type[nn.Module]) -> list[str]:
    return [name for name, module in network.named_modules() if isinstance(module, kind)]


@pytest.mark.parametrize(
    ("backbone", "depth", "data", "placement", "params"),
    [
        ("resnet", 18, "cifar10", "none", 11_173_962),
        ("resnet", 34, "cifar10", "none", 21_282_122),
        ("resnet", 50, "cifar10", "none", 23_520_842),
        ("resnet", 101, "cifar10", "none", 42_512_970),
        ("resnet", 152, "cifar10", "none", 58_156_618),
        ("resnet", 18, "cifar100", "none", 11_220_132),
        ("resnet", 34, "cifar100", "none", 21_328_292),
        ("resnet", 50, "cifar100", "none", 23_705_252),
        ("resnet", 101, "cifar100", "none", 42_697_380),
        ("resnet", 18, "cifar10", "block", 11_263_842),
        ("resnet", 34, "cifar10", "block", 21_444_918),
        ("resnet", 50, "cifar10", "block", 26_053_434),
        ("resnet_cifar", 8, "cifar10", "none", 78_042),
        ("resnet_cifar", 14, "cifar10", "none", 175_258),
        ("resnet_cifar", 20, "cifar10", "none", 272_474),
        ("resnet_cifar", 56, "cifar10", "none", 855_770),
        ("resnet_cifar", 110, "cifar10", "none", 1_730_714),
    ],
)
def test_published_parameter_counts(configure, backbone, depth, data, placement, params):
    assert model_cost(configure(backbone, depth, placement, data)).params == params


def test_a_network_is_counted_once(configure, monkeypatch):
    found = model_cost(configure("resnet_cifar", 20, "block", width=6))
    monkeypatch.setattr("cbam_ablate.models.cost.build_model", lambda *_, **__: pytest.fail("built again"))
    assert model_cost(configure("resnet_cifar", 20, "block", width=6)) == found
    with pytest.raises(pytest.fail.Exception):
        model_cost(configure("resnet_cifar", 20, "block", width=6, data="cifar100"))


@pytest.mark.parametrize(("depth", "mega_macs"), [(18, 555.42), (50, 1297.83)])
def test_published_macs(configure, depth, mega_macs):
    assert round(model_cost(configure("resnet", depth)).macs / 1e6, 2) == mega_macs


@pytest.mark.parametrize(
    ("placement", "places"),
    [
        ("none", []),
        ("block", [f"stages.{stage}.{block}.attention" for stage in range(3) for block in range(3)]),
        ("class", ["attention"]),
        (
            "both",
            [f"stages.{stage}.{block}.attention" for stage in range(3) for block in range(3)] + ["attention"],
        ),
        ("stage", ["stages.0.attention", "stages.1.attention"]),
    ],
)
def test_placement_puts_attention_where_it_says(configure, placement, places: list[str]):
    assert modules(build_model(configure("resnet_cifar", 20, placement)), CBAM) == places


@pytest.mark.parametrize(("residual", "count"), [("none", 0), ("block", 9), ("class", 1), ("both", 10)])
def test_residual_adds_the_input_where_it_says(configure, residual, count):
    network = build_model(configure("resnet_cifar", 20, "both", residual=residual))
    assert len(modules(network, AddInput)) == count
    assert len(modules(network, CBAM)) == 10


@pytest.mark.parametrize("kind", ["cbam", "se"])
def test_attention_stands_between_the_last_norm_and_the_addition(configure, kind):
    block = build_model(configure("resnet_cifar", 20, "block", kind=kind)).stages[0][0].eval()
    x = torch.randn(2, 16, 8, 8).relu()
    y = block.bn2(block.conv2(block.bn1(block.conv1(x)).relu()))
    torch.testing.assert_close(block(x), (x + block.attention(y)).relu())


def test_attention_keeps_its_own_initialisation(configure):
    network = build_model(configure("resnet", 18, "both"))
    norms = [module for name, module in network.named_modules() if name.endswith("spatial.norm")]
    assert len(norms) == 9
    assert all(norm.weight.item() == 0 and norm.bias.item() == 0 for norm in norms)


def test_convolutions_start_with_the_variance_of_their_fan_out(configure):
    weight = build_model(configure("resnet", 18)).stages[3][1].conv2.weight
    assert weight.std().item() == pytest.approx((2 / (9 * 512)) ** 0.5, rel=0.01)


def test_same_seed_same_weights(configure):
    built = []
    for _ in range(2):
        torch.manual_seed(3)
        built.append(build_model(configure("resnet_cifar", 20, "block")).state_dict())
    assert all(torch.equal(built[0][key], built[1][key]) for key in built[0])


def test_gradients_of_a_narrow_network_are_exact(configure):
    torch.manual_seed(0)
    cfg = configure("resnet_cifar", 20, "both", conv_bias=True)
    cfg.model.width = 2
    cfg.model.attention.reduction = 2
    cfg.model.attention.kernel = 3
    network = build_model(cfg).double().eval()
    for name, parameter in network.named_parameters():
        if "spatial.norm" in name:
            nn.init.constant_(parameter, 0.5)
    x = torch.randn(1, 3, 8, 8, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(network, x, fast_mode=True)


def test_width_scales_every_stage(configure):
    cfg = configure("resnet", 18)
    cfg.model.width = 8
    assert build_model(cfg).classifier.in_features == 64
