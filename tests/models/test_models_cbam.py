import pytest
import torch
from timm.layers.cbam import CbamModule
from torch import nn

from cbam_ablate.errors import ConfigError
from cbam_ablate.models import CBAM, ChannelAttention, SpatialAttention
from cbam_ablate.models.attention.cbam import DESCRIPTORS


def random_parameters(module: nn.Module) -> nn.Module:
    for tensor in [*module.parameters(), *module.buffers()]:
        if tensor.is_floating_point():
            nn.init.uniform_(tensor, 0.1, 1.0)
    return module


def timm_weights(theirs: nn.Module) -> dict[str, torch.Tensor]:
    """timm's weights under our names; it concatenates [mean, max], the official code [max, mean]."""
    state = theirs.state_dict()
    ours = {
        "channel.mlp.0.weight": state["channel.fc1.weight"].flatten(1),
        "channel.mlp.2.weight": state["channel.fc2.weight"].flatten(1),
        "spatial.conv.weight": state["spatial.conv.conv.weight"].flip(1),
    }
    return ours | {
        key.replace("spatial.conv.bn", "spatial.norm"): value for key, value in state.items() if ".bn." in key
    }


@pytest.mark.parametrize(("channels", "reduction", "kernel"), [(64, 16, 7), (96, 8, 3), (20, 4, 5)])
def test_equals_timm_with_copied_weights(channels: int, reduction: int, kernel: int) -> None:
    theirs = CbamModule(channels, rd_ratio=1 / reduction, spatial_kernel_size=kernel).eval()
    random_parameters(theirs)
    ours = CBAM(channels, reduction, kernel, mlp_bias=False).eval()
    ours.load_state_dict(timm_weights(theirs))
    x = torch.randn(3, channels, 9, 7)
    torch.testing.assert_close(ours(x), theirs(x), rtol=0, atol=1e-5)


def test_spatial_gate_starts_at_exactly_one_half() -> None:
    gate = SpatialAttention()(torch.randn(2, 8, 6, 6))
    assert gate.shape == (2, 1, 6, 6)
    assert torch.equal(gate, torch.full_like(gate, 0.5))


def test_official_parameter_count() -> None:
    # MLP with biases 64 -> 4 -> 64, a 7x7 convolution on two maps, one norm
    assert sum(p.numel() for p in CBAM(64).parameters()) == 2 * 64 * 4 + 64 + 4 + 2 * 49 + 2


def test_hidden_width_is_at_least_one() -> None:
    assert ChannelAttention(8, 16).mlp[0].weight.shape == (1, 8)


@pytest.mark.parametrize(
    "order", ["channel_first", "spatial_first", "parallel", "channel_only", "spatial_only"]
)
@pytest.mark.parametrize("residual", [False, True])
def test_orders_multiply_the_gates_in_the_order_they_name(order: str, residual: bool) -> None:
    module = CBAM(8, 2, 3, order=order, residual=residual).eval()
    random_parameters(module)
    x = torch.randn(2, 8, 5, 5)
    if order == "channel_first":
        y = module.channel(x) * x
        expected = module.spatial(y) * y
    elif order == "spatial_first":
        y = module.spatial(x) * x
        expected = module.channel(y) * y
    else:
        expected = x.clone()
        if order != "spatial_only":
            expected = expected * module.channel(x)
        if order != "channel_only":
            expected = expected * module.spatial(x)
    torch.testing.assert_close(module(x), expected + x if residual else expected)


def test_descriptors_are_what_their_names_say() -> None:
    x = torch.randn(2, 3, 4, 5, dtype=torch.float64)
    flat = x.flatten(2)
    torch.testing.assert_close(DESCRIPTORS["avg"](x), flat.sum(-1) / 20)
    torch.testing.assert_close(DESCRIPTORS["max"](x), flat.sort(-1).values[..., -1])
    torch.testing.assert_close(DESCRIPTORS["lp"](x), flat.square().sum(-1).sqrt())
    torch.testing.assert_close(DESCRIPTORS["lse"](x), flat.exp().sum(-1).log())


def test_log_sum_exp_of_large_values_is_finite() -> None:
    x = torch.full((1, 2, 2, 2), 1e4)
    torch.testing.assert_close(DESCRIPTORS["lse"](x), x[:, :, 0, 0] + torch.tensor(4.0).log())


@pytest.mark.parametrize("pool", sorted(DESCRIPTORS))
def test_gradient_of_a_dead_channel_is_finite(pool: str) -> None:
    x = torch.zeros(1, 4, 3, 3, requires_grad=True)
    ChannelAttention(4, 2, pool=(pool,))(x).sum().backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()


def test_several_pools_share_one_mlp_and_add_its_outputs() -> None:
    module = ChannelAttention(6, 2, pool=("avg", "max", "lp", "lse"))
    x = torch.randn(2, 6, 4, 4)
    logits = sum(module.mlp(DESCRIPTORS[name](x)) for name in module.pool)
    torch.testing.assert_close(module(x)[:, :, 0, 0], torch.sigmoid(logits))


def test_gradients_are_exact() -> None:
    torch.manual_seed(0)
    module = CBAM(4, 2, 3, pool=("avg", "max", "lp", "lse")).double()
    random_parameters(module).train()
    x = torch.randn(2, 4, 5, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(module, x)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_maxima_give_a_tie_s_gradient_to_one_element(layout: torch.memory_format, dtype: torch.dtype) -> None:
    x = torch.ones(2, 4, 3, 3, dtype=dtype).to(memory_format=layout).requires_grad_()
    DESCRIPTORS["max"](x).sum().backward()
    assert x.grad is not None
    assert torch.equal(x.grad.sum((2, 3)), torch.ones(2, 4, dtype=dtype))
    assert torch.equal(x.grad.count_nonzero((2, 3)), torch.ones(2, 4, dtype=torch.int64))


def test_spatial_maximum_gives_a_tie_s_gradient_to_one_channel() -> None:
    module = SpatialAttention(1)
    with torch.no_grad():
        module.norm.weight.fill_(1)
        module.conv.weight.copy_(torch.tensor([1.0, 0.0]).view(1, 2, 1, 1))
    x = torch.ones(1, 4, 3, 3, requires_grad=True)
    module.eval()(x).sum().backward()
    assert x.grad is not None
    assert torch.equal(x.grad.count_nonzero(1), torch.ones(1, 3, 3, dtype=torch.int64))


def test_layout_and_values_agree_in_channels_last() -> None:
    module = CBAM(8, 2, 3).eval()
    random_parameters(module)
    x = torch.randn(2, 8, 6, 6)
    out = module.to(memory_format=torch.channels_last)(x.to(memory_format=torch.channels_last))
    assert out.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(out, module.to(memory_format=torch.contiguous_format)(x))


@pytest.mark.parametrize(
    ("arguments", "value"),
    [
        ({"kernel": 4}, "kernel=4"),
        ({"kernel": -1}, "kernel=-1"),
        ({"reduction": 0}, "reduction=0"),
        ({"pool": ("avg", "median")}, "median"),
        ({"pool": ()}, "pool=()"),
        ({"pool": ("max", "max")}, "max"),
        ({"order": "sideways"}, "sideways"),
    ],
)
def test_a_value_outside_its_range_is_named(arguments: dict[str, object], value: str) -> None:
    with pytest.raises(ConfigError, match=value.replace("(", r"\(").replace(")", r"\)")):
        CBAM(64, **arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize("order", ["channel_first", "parallel"])
def test_gates_are_computed_in_full_under_autocast(order):
    module, seen = CBAM(8, 2, order=order), []
    for layer in (module.channel.mlp, module.spatial.conv):
        layer.register_forward_hook(lambda _, given, made: seen.extend([given[0].dtype, made.dtype]))
    with torch.autocast("cpu", torch.bfloat16):
        z = module(torch.randn(2, 8, 6, 6).bfloat16())
    assert seen == [torch.float32] * 4
    assert z.dtype == torch.bfloat16
