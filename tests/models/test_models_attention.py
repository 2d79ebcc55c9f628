import math

import pytest
import torch
from timm.layers import EcaModule, GlobalContext
from timm.layers.coord_attn import CoordAttn
from torch.nn import functional as F

from cbam_ablate.config.schema import AttentionConfig
from cbam_ablate.errors import ConfigError
from cbam_ablate.models import CBAM, ChannelAttention, SpatialAttention, build_model
from cbam_ablate.models.attention import ATTENTIONS, TIMM_ATTENTIONS
from cbam_ablate.models.attention.bam import BAM
from cbam_ablate.models.attention.coordinate import CoordinateAttention
from cbam_ablate.models.attention.eca import ECA
from cbam_ablate.models.attention.gc import GlobalContext as OurGlobalContext
from cbam_ablate.models.attention.se import SE
from cbam_ablate.models.attention.simam import SimAM
from cbam_ablate.sweep.plan import make_plan


def close(ours: torch.Tensor, theirs: torch.Tensor) -> None:
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)


def test_se_is_cbam_s_channel_gate_from_the_mean_alone():
    x = torch.randn(2, 32, 5, 6)
    ours, gate = SE(32, 4), ChannelAttention(32, 4, pool=("avg",))
    gate.load_state_dict(ours.channel.state_dict())
    logits = gate.mlp(x.mean((2, 3)))
    close(ours(x), x * logits.sigmoid()[:, :, None, None])


@pytest.mark.parametrize(
    ("channels", "kernel"), [(16, 3), (64, 3), (128, 5), (256, 5), (512, 5), (1024, 5), (2048, 7)]
)
def test_eca_equals_timm_and_has_the_paper_s_kernel(channels, kernel):
    ours, theirs = ECA(channels), EcaModule(channels)
    assert ours.conv.weight.shape == (1, 1, kernel)
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(2, channels, 4, 5)
    close(ours(x), theirs(x))


def test_coordinate_attention_equals_timm_with_copied_weights(randomise, copy_in_order):
    theirs = randomise(CoordAttn(64, rd_channels=8, bias=True)).eval()
    ours = CoordinateAttention(64, 8).eval()
    copy_in_order(theirs, ours)
    x = torch.randn(2, 64, 5, 7)
    close(ours(x), theirs(x))


def test_global_context_equals_timm_with_copied_weights(randomise, copy_in_order):
    theirs = randomise(GlobalContext(64, fuse_add=True, fuse_scale=False, rd_ratio=1 / 8))
    ours = OurGlobalContext(64, 8)
    ours.transform[1].eps = theirs.mlp_add.norm.eps
    copy_in_order(theirs, ours)
    x = torch.randn(2, 64, 5, 7)
    close(ours(x), theirs(x))


def test_global_context_starts_as_the_identity():
    x = torch.randn(2, 8, 3, 3)
    assert torch.equal(OurGlobalContext(8, 2)(x), x)


def test_simam_is_the_inverse_of_the_paper_s_energy():
    x = torch.randn(1, 2, 3, 4, dtype=torch.float64)
    expected = torch.empty_like(x)
    for c in range(2):
        values = x[0, c].flatten()
        mean = values.mean()
        variance = values.var(correction=1)
        for i, t in enumerate(values):
            energy = 4 * (variance + 1e-4) / ((t - mean) ** 2 + 2 * variance + 2e-4)
            expected[0, c].view(-1)[i] = t / (1 + math.exp(-1 / energy))
    torch.testing.assert_close(SimAM()(x), expected)


def test_simam_of_a_map_of_one_pixel_is_finite():
    assert SimAM()(torch.randn(2, 3, 1, 1)).isfinite().all()


def test_bam_adds_its_gates_as_the_paper_does(randomise):
    module = randomise(BAM(32, 8)).eval()
    x = torch.randn(2, 32, 9, 9)
    first, norm, _, last = module.channel
    channel = last(norm(first(x.mean((2, 3)))).relu())
    y = x
    for index in (0, 3, 6):
        convolution, norm = module.spatial[index], module.spatial[index + 1]
        dilation = 4 if index else 1
        y = F.conv2d(
            y, convolution.weight, convolution.bias, padding=dilation if index else 0, dilation=dilation
        )
        y = norm(y).relu()
    spatial = F.conv2d(y, module.spatial[9].weight, module.spatial[9].bias)
    close(module(x), (1 + (channel[:, :, None, None] + spatial).sigmoid()) * x)


def test_learned_spatial_descriptor_is_a_1x1_convolution():
    module = CBAM(8, 2, 3, order="spatial_only", descriptor="conv", spatial_norm=False)
    assert module.spatial.project.weight.shape == (1, 8, 1, 1)
    x = torch.randn(2, 8, 5, 5)
    seen = (x * module.spatial.project.weight).sum(1, keepdim=True)
    close(module(x), x * F.conv2d(seen, module.spatial.conv.weight, padding=1).sigmoid())


def test_projected_spatial_attention_starts_at_one_half_too():
    gate = SpatialAttention(3, projected=8)(torch.randn(2, 8, 4, 4))
    assert torch.equal(gate, torch.full((2, 1, 4, 4), 0.5))


@pytest.mark.parametrize("kind", sorted(set(ATTENTIONS) - {"timm"}))
def test_gradients_are_exact(kind, randomise):
    cfg = AttentionConfig(kind=kind, reduction=4, kernel=3)
    module = randomise(ATTENTIONS[kind].load()(16, cfg)).double().eval()
    torch.manual_seed(0)
    x = torch.randn(2, 16, 4, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(module, x, fast_mode=True)


@pytest.mark.parametrize("kind", sorted(set(ATTENTIONS) - {"timm"}))
@pytest.mark.parametrize("placement", ["block", "class", "both", "stage"])
def test_every_attention_trains_in_every_placement(configure, kind, placement):
    network = build_model(configure("resnet_cifar", 20, placement, kind=kind, width=4, reduction=2))
    network(torch.randn(4, 3, 16, 16)).square().sum().backward()
    without = [name for name, parameter in network.named_parameters() if parameter.grad is None]
    assert without == []


@pytest.mark.parametrize("name", TIMM_ATTENTIONS)
def test_every_listed_timm_attention_keeps_the_shape(name):
    cfg = AttentionConfig(kind="timm", timm=name)
    module = ATTENTIONS["timm"].load()(64, cfg)
    x = torch.randn(2, 64, 16, 16, requires_grad=True)
    y = module(x)
    y.sum().backward()
    assert y.shape == x.shape
    assert x.grad.count_nonzero() > 0


HALO = "attention=timm model.attention.timm=halo placement=block"
REFUSED = {
    f"backbone=resnet {HALO}": "timm=halo: takes no map of 512x4x4 .*stages.3.0.attention in resnet",
    f"backbone=vgg {HALO}": "timm=halo: takes no map of 512x4x4 .* in vgg",
    f"backbone=torchvision model.torchvision=resnet18 {HALO}": "no map of 128x4x4 .*layer2.0.bn2.attention",
    f"backbone=resnet_cifar model.width=4 {HALO}": "model.attention.timm=halo: .* for 4 channels; .* se, ese",
    "backbone=timm model.timm=vit_tiny_patch16_224": "vit_tiny_patch16_224: takes no images of 3x32x32",
    "backbone=torchvision model.torchvision=alexnet": "alexnet: takes no images of 3x32x32",
}


@pytest.mark.parametrize("line", REFUSED)
def test_what_a_library_s_module_does_not_take_is_told_before_anything_runs(line, tmp_path):
    with pytest.raises(ConfigError, match=REFUSED[line]):
        make_plan([*line.split(), f"store={tmp_path}"])
