"""What holds for every backbone."""

import os
import subprocess
import sys

import pytest
import torch

from cbam_ablate.errors import ConfigError
from cbam_ablate.models import build_model
from cbam_ablate.models.backbones import BACKBONES

OURS = sorted(name for name, backbone in BACKBONES.items() if backbone.depths)
EVERY_DEPTH = [
    pytest.param(name, depth, marks=[] if depth == BACKBONES[name].default_depth else [pytest.mark.slow])
    for name in OURS
    for depth in BACKBONES[name].depths
]
DEAR = ("residual_attention", "residual_attention_imagenet", "resnext", "resnext_cifar")
EACH = [pytest.param(name, marks=pytest.mark.slow if name in DEAR else []) for name in OURS]
NARROW = {"resnet": 4, "resnet_preact": 4, "resnet_cifar": 4, "resnet_cifar_preact": 4, "resnet_imagenet": 8,
          "resnext": 64, "vgg": 4, "mobilenet": 8, "residual_attention": 16, "residual_attention_imagenet": 4,
          "wide_resnet": 16, "resnext_cifar": 16}  # fmt: skip


@pytest.mark.parametrize(("backbone", "depth"), EVERY_DEPTH)
def test_every_depth_builds_on_meta_with_attention_everywhere(configure, backbone, depth):
    with torch.device("meta"):
        network = build_model(configure(backbone, depth, "both", "cifar100", reduction=4))
        logits = network(torch.empty(2, 3, 32, 32))
    assert all(tensor.is_meta for tensor in [*network.parameters(), *network.buffers()])
    assert logits.shape == (2, 100)


@pytest.mark.parametrize("backbone", EACH)
def test_any_image_size_goes_through(configure, backbone):
    with torch.device("meta"):
        logits = build_model(configure(backbone, placement="both"))(torch.empty(2, 3, 45, 37))
    assert logits.shape == (2, 10)


@pytest.mark.parametrize("backbone", EACH)
def test_grey_images_of_28_pixels_go_through(configure, backbone):
    with torch.device("meta"):
        network = build_model(configure(backbone, placement="both", data="fashion_mnist"))
        logits = network(torch.empty(2, 1, 28, 28))
    assert logits.shape == (2, 10)


@pytest.mark.parametrize("backbone", EACH)
@pytest.mark.parametrize(
    "placement", ["both", *(pytest.param(p, marks=pytest.mark.slow) for p in ("none", "stage"))]
)
def test_every_parameter_learns(configure, backbone, placement):
    network = build_model(configure(backbone, None, placement, width=NARROW[backbone], reduction=2))
    network(torch.randn(2, 3, 32, 32)).square().sum().backward()
    assert [name for name, parameter in network.named_parameters() if parameter.grad is None] == []


@pytest.mark.parametrize("backbone", EACH)
def test_stage_widths_are_those_the_table_tells(configure, backbone):
    facts = BACKBONES[backbone]
    with torch.device("meta"):
        network = build_model(configure(backbone, facts.default_depth))
        x = network.stem(torch.empty(1, 3, 64, 64))
        widths = []
        for stage in network.stages:
            x = stage(x)
            widths.append(x.shape[1])
    assert tuple(widths) == facts.channels(facts.default_depth, facts.width)


@pytest.mark.parametrize("backbone", ["vgg", "mobilenet", "resnet_preact"])
def test_gradients_of_a_narrow_network_are_exact(configure, backbone):
    torch.manual_seed(0)
    cfg = configure(backbone, None, "both", width=4, reduction=2, kernel=3, spatial_norm=False)
    network = build_model(cfg).double().eval()
    x = torch.randn(1, 3, 32, 32, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(network, x, fast_mode=True)


@pytest.mark.parametrize("backbone", OURS)
def test_a_depth_the_backbone_lacks_is_refused_with_the_legal_ones(configure, backbone):
    legal = ", ".join(map(str, sorted(BACKBONES[backbone].depths)))
    with pytest.raises(ConfigError, match=f"model.depth=21.*{legal}"):
        build_model(configure(backbone, 21))


def test_dropout_acts_in_training_alone(configure):
    network = build_model(configure("vgg", 11, width=4, dropout=0.5))
    images = torch.randn(2, 3, 32, 32)
    network.eval()
    assert torch.equal(network(images), network(images))
    network.train()
    assert not torch.equal(network(images), network(images))


@pytest.mark.slow
def test_a_narrow_network_trains_on_avx2(tmp_path):
    """Where oneDNN's strided 1x1 convolutions of few channels overrun their workspace."""
    script = tmp_path / "train.py"
    script.write_text(
        "import copy, torch\n"
        "from cbam_ablate.config import load_config\n"
        "from cbam_ablate.models import build_model\n"
        "torch.manual_seed(0)\n"
        "model = build_model(load_config(['data=synthetic', 'backbone=resnet_cifar', 'model.width=4']))\n"
        "exact, images = copy.deepcopy(model).double(), torch.randn(8, 3, 32, 32)\n"
        "model.to(memory_format=torch.channels_last)\n"
        "model(images.to(memory_format=torch.channels_last)).square().sum().backward()\n"
        "exact(images.double()).square().sum().backward()\n"
        "for one, other in zip(model.parameters(), exact.parameters()):\n"
        "    assert (one.grad - other.grad).norm() < 1e-3 * other.grad.norm() + 1e-4\n"
    )
    env = os.environ | {"ONEDNN_MAX_CPU_ISA": "AVX2", "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, script], env=env, capture_output=True, text=True, timeout=600)
    assert (done.returncode, done.stderr) == (0, "")
