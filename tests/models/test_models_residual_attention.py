import pytest
import torch
from torch import nn

from cbam_ablate.config.schema import AttentionConfig
from cbam_ablate.models import build_model
from cbam_ablate.models.backbones.residual_attention import MASKS, AttentionModule, MaskBranch
from cbam_ablate.models.gates import Gates

NO_GATES = Gates(AttentionConfig(placement="none"))


@pytest.mark.parametrize(("mode", "factor"), [("arl", 1.5), ("nal", 0.5)])
def test_a_zeroed_mask_leaves_the_trunk_times_the_mode_s_factor(mode, factor):
    module = AttentionModule(16, 2, mode, "mixed", NO_GATES).eval()
    nn.init.zeros_(module.mask.output[-1].weight)
    x = torch.randn(2, 16, 8, 8)
    torch.testing.assert_close(module.masked(x), factor * module.trunk(x))


@pytest.mark.parametrize(
    "depth", [56, 92, *(pytest.param(depth, marks=pytest.mark.slow) for depth in (128, 164, 236))]
)
def test_depth_is_the_layers_of_the_trunk(configure, depth):
    """Convolutions outside masks and shortcuts, and the classifier: 36m + 20."""
    with torch.device("meta"):
        network = build_model(configure("residual_attention", depth))
    layers = [
        name
        for name, module in network.named_modules()
        if isinstance(module, nn.Conv2d | nn.Linear) and not {"mask", "shortcut"} & set(name.split("."))
    ]
    assert len(layers) == depth


def test_mixed_mask_is_the_sigmoid_of_each_element():
    x = torch.randn(2, 3, 4, 4)
    torch.testing.assert_close(MASKS["mixed"](x), 1 / (1 + (-x).exp()))


def test_channel_mask_has_length_one_over_channels():
    mask = MASKS["channel"](torch.randn(2, 3, 4, 4))
    torch.testing.assert_close(mask.square().sum(1), torch.ones(2, 4, 4))


def test_spatial_mask_is_the_sigmoid_of_the_standardised_map():
    x = torch.randn(2, 3, 4, 4)
    logits = torch.logit(MASKS["spatial"](5 * x + 7))
    torch.testing.assert_close(logits.mean((2, 3)), torch.zeros(2, 3), atol=1e-4, rtol=0)
    torch.testing.assert_close(logits.flatten(2).std(-1, correction=0), torch.ones(2, 3), atol=1e-3, rtol=0)


def test_spatial_mask_of_a_constant_map_is_finite():
    x = torch.ones(1, 2, 3, 3, requires_grad=True)
    MASKS["spatial"](x).sum().backward()
    assert x.grad.isfinite().all()


@pytest.mark.parametrize("size", [4, 7, 16])
@pytest.mark.parametrize("levels", [1, 2, 3])
def test_a_mask_has_its_input_s_size(levels, size):
    x = torch.randn(1, 8, size, size)
    assert MaskBranch(8, levels).eval()(x).shape == x.shape


def test_maps_are_as_large_as_the_tensorflow_re_implementation_s(configure):
    with torch.device("meta"):
        network = build_model(configure("residual_attention", 56, widths="tensorflow"))
        x = network.stem(torch.empty(1, 3, 32, 32))
        shapes = [tuple(x.shape)]
        for stage in network.stages:
            x = stage(x)
            shapes.append(tuple(x.shape))
    assert shapes == [(1, 32, 16, 16), (1, 128, 16, 16), (1, 256, 8, 8), (1, 1024, 4, 4)]


@pytest.mark.parametrize("mask", ["mixed", "channel", "spatial"])
@pytest.mark.parametrize("mode", ["arl", "nal"])
def test_gradients_are_exact(configure, mode, mask):
    torch.manual_seed(0)
    network = build_model(configure("residual_attention", 56, width=8, mode=mode, mask=mask)).double().eval()
    x = torch.randn(1, 3, 16, 16, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(network, x, fast_mode=True)
