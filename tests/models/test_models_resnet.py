import pytest
import torch
from torch import nn

from cbam_ablate.config.errors import ConfigError
from cbam_ablate.config.schema import AttentionConfig, DataConfig, ModelConfig, RunConfig
from cbam_ablate.models import CBAM, build_model, model_cost
from cbam_ablate.models.gates import AddInput


def config(
    backbone: str, depth: int, placement: str = "none", data: str = "cifar10", **options: object
) -> RunConfig:
    attention = AttentionConfig(
        kind=options.pop("kind", "cbam"), placement=placement, reduction=16, kernel=7, **options
    )
    return RunConfig(
        model=ModelConfig(backbone=backbone, depth=depth, attention=attention),
        data=DataConfig(name=data, val_size=1),
    )


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
        ("resnet_cifar", 20, "cifar10", "none", 272_474),
        ("resnet_cifar", 56, "cifar10", "none", 855_770),
        ("resnet_cifar", 110, "cifar10", "none", 1_730_714),
    ],
)
def test_published_parameter_counts(
    backbone: str, depth: int, data: str, placement: str, params: int
) -> None:
    assert model_cost(config(backbone, depth, placement, data)).params == params


@pytest.mark.parametrize(("depth", "mega_macs"), [(18, 555.42), (50, 1297.83)])
def test_published_macs(depth: int, mega_macs: float) -> None:
    assert round(model_cost(config("resnet", depth)).macs / 1e6, 2) == mega_macs


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
def test_placement_puts_attention_where_it_says(placement: str, places: list[str]) -> None:
    assert modules(build_model(config("resnet_cifar", 20, placement)), CBAM) == places


@pytest.mark.parametrize(("residual", "count"), [("none", 0), ("block", 9), ("class", 1), ("both", 10)])
def test_residual_adds_the_input_where_it_says(residual: str, count: int) -> None:
    network = build_model(config("resnet_cifar", 20, "both", residual=residual))
    assert len(modules(network, AddInput)) == count
    assert len(modules(network, CBAM)) == 10


@pytest.mark.parametrize("kind", ["cbam", "se"])
def test_attention_stands_between_the_last_norm_and_the_addition(kind: str) -> None:
    block = build_model(config("resnet_cifar", 20, "block", kind=kind)).stages[0][0].eval()
    x = torch.randn(2, 16, 8, 8).relu()
    y = block.bn2(block.conv2(block.bn1(block.conv1(x)).relu()))
    torch.testing.assert_close(block(x), (x + block.attention(y)).relu())


def test_attention_keeps_its_own_initialisation() -> None:
    network = build_model(config("resnet", 18, "both"))
    norms = [module for name, module in network.named_modules() if name.endswith("spatial.norm")]
    assert len(norms) == 9
    assert all(norm.weight.item() == 0 and norm.bias.item() == 0 for norm in norms)


def test_convolutions_start_with_the_variance_of_their_fan_out() -> None:
    weight = build_model(config("resnet", 18)).stages[3][1].conv2.weight
    assert weight.std().item() == pytest.approx((2 / (9 * 512)) ** 0.5, rel=0.01)


@pytest.mark.parametrize(("backbone", "depth"), [("resnet", 18), ("resnet_cifar", 20)])
@pytest.mark.parametrize("size", [32, 45, 64])
def test_any_input_size_goes_through(backbone: str, depth: int, size: int) -> None:
    with torch.device("meta"):
        logits = build_model(config(backbone, depth, "both"))(torch.empty(2, 3, size, size))
    assert logits.shape == (2, 10)


def test_meta_build_allocates_nothing() -> None:
    with torch.device("meta"):
        network = build_model(config("resnet", 152, "both"))
    assert all(tensor.is_meta for tensor in [*network.parameters(), *network.buffers()])


def test_same_seed_same_weights() -> None:
    built = []
    for _ in range(2):
        torch.manual_seed(3)
        built.append(build_model(config("resnet_cifar", 20, "block")).state_dict())
    assert all(torch.equal(built[0][key], built[1][key]) for key in built[0])


def test_gradients_of_a_narrow_network_are_exact() -> None:
    torch.manual_seed(0)
    cfg = config("resnet_cifar", 20, "both", conv_bias=True)
    cfg.model.width = 2
    cfg.model.attention.reduction = 2
    cfg.model.attention.kernel = 3
    network = build_model(cfg).double().eval()
    for name, parameter in network.named_parameters():
        if "spatial.norm" in name:
            nn.init.constant_(parameter, 0.5)
    x = torch.randn(1, 3, 8, 8, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(network, x, fast_mode=True)


def test_width_scales_every_stage() -> None:
    cfg = config("resnet", 18)
    cfg.model.width = 8
    assert build_model(cfg).classifier.in_features == 64


def test_a_depth_the_backbone_lacks_is_refused_with_the_legal_ones() -> None:
    with pytest.raises(ConfigError, match=r"model\.depth=21.*20, 32, 44, 56, 110"):
        build_model(config("resnet_cifar", 21))
