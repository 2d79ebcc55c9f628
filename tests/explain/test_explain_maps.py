"""Grad-CAM, masking and gates, against closed forms and the grad-cam package's own metric."""

import numpy as np
import pytest
import torch
from torch import nn

from cbam_ablate.errors import ConfigError
from cbam_ablate.explain import maps
from cbam_ablate.models import build_model, last_map
from tests.composed import composed


class LinearHead(nn.Module):
    """A feature map of the image's size, averaged, and a linear head: what CAM (Zhou et al., 2016) is for."""

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.ReLU())
        self.head = nn.Linear(6, 4)

    def forward(self, x):
        return self.head(self.features(x).mean((2, 3)))


@pytest.fixture
def images():
    return torch.randn(5, 3, 32, 32, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def linear():
    torch.manual_seed(0)
    return LinearHead().eval()


def network(*words):
    torch.manual_seed(0)
    words = ["data=synthetic", "backbone=resnet_cifar", "model.width=4", "reduction=4", *words]
    return build_model(composed(list(words))).eval()


def test_grad_cam_of_a_linear_head_is_the_class_activation_map(linear, images):
    found = maps.explain(linear, images)
    with torch.no_grad():
        features, logits = linear.features(images), linear(images)
    weights = linear.head.weight[logits.argmax(1)].detach()
    closed = torch.einsum("nk,nkhw->nhw", weights, features).relu()
    stretched = closed - closed.amin((1, 2), keepdim=True)
    stretched = stretched / stretched.amax((1, 2), keepdim=True)
    assert found.cam.std() > 0.05
    np.testing.assert_allclose(found.cam, stretched, atol=1e-4)
    np.testing.assert_array_equal(found.predicted, logits.argmax(1))
    np.testing.assert_allclose(found.confidence, logits.softmax(1).max(1).values, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        ["placement=none"],
        ["placement=block"],
        ["placement=class"],
        ["attention=se", "placement=both"],
        ["backbone=resnet_preact"],
        ["backbone=resnet_imagenet", "depth=18"],
        ["backbone=mobilenet"],
        ["backbone=vgg", "placement=class"],
        ["backbone=residual_attention"],
        ["backbone=timm", "model.timm=mobilenetv3_small_050", "model.width=null"],
        ["backbone=torchvision", "model.torchvision=shufflenet_v2_x0_5", "model.width=null"],
    ],
    ids=" ".join,
)
def test_the_maps_are_those_of_the_package_on_the_whole_graph(words, images):
    model = network(*words)
    target = model.get_submodule(last_map(model, 32))
    with maps.import_grad_cam().GradCAM(model, [target]) as explainer:
        whole = explainer(images, None)
    assert whole.std() > 0
    np.testing.assert_allclose(maps.explain(model, images).cam, whole, atol=1e-5)


def test_only_what_follows_the_last_map_is_differentiated(linear, images, monkeypatch):
    monkeypatch.setattr(nn.Module, "zero_grad", lambda self: None)
    maps.explain(linear, images)
    assert linear.head.weight.grad is not None
    assert linear.features[0].weight.grad is None


def test_masking_by_ones_changes_no_confidence(linear, images):
    found = maps.explain(linear, images)
    again = maps.masked_confidence(linear, images, torch.ones(5, 32, 32), torch.tensor(found.predicted))
    np.testing.assert_array_equal(again, found.confidence)


def test_the_confidence_of_a_masked_image_is_the_packages(linear, images):
    maps.import_grad_cam()
    from pytorch_grad_cam.metrics.cam_mult_image import CamMultImageConfidenceChange
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputSoftmaxTarget

    found = maps.explain(linear, images)
    targets = [ClassifierOutputSoftmaxTarget(int(label)) for label in found.predicted]
    change = CamMultImageConfidenceChange()(images, found.cam, targets, linear)
    assert np.abs(change).max() > 1e-3
    np.testing.assert_allclose(found.masked - found.confidence, change, atol=1e-6)


def test_an_images_maps_do_not_depend_on_its_batch(images):
    model = network("placement=block")
    together, alone = maps.explain(model, images), maps.explain(model, images[2:3])
    np.testing.assert_allclose(together.cam[2], alone.cam[0], atol=1e-3)
    np.testing.assert_allclose(together.masked[2], alone.masked[0], atol=1e-5)


def test_the_gate_is_the_last_places(images):
    model = network("placement=both")
    for name, parameter in model.named_parameters():
        if name.endswith("spatial.norm.weight"):
            nn.init.ones_(parameter)
    with torch.no_grad():
        x = model.stages(model.stem(images))
        expected = model.attention.spatial(x * model.attention.channel(x))[:, 0]
    assert expected.std() > 0.01
    np.testing.assert_allclose(maps.explain(model, images).gate, expected, atol=1e-5)


def test_the_gate_does_not_depend_on_how_images_lie_in_memory(images):
    model = network("placement=block").to(memory_format=torch.channels_last)
    for name, parameter in model.named_parameters():
        if name.endswith("spatial.norm.weight"):
            nn.init.ones_(parameter)
    # Four, since torch's 1x1 convolutions of stride 2 break the heap for 5 such images of 4 channels.
    images = images[:4]
    expected = maps.explain(network_like(model), images).gate
    found = maps.explain(model, images.contiguous(memory_format=torch.channels_last)).gate
    assert expected.std() > 0.01
    np.testing.assert_allclose(found, expected, atol=1e-4)


def network_like(model):
    """The same network with its weights as they lie by default."""
    twin = network("placement=block")
    twin.load_state_dict(model.state_dict())
    return twin


@pytest.mark.parametrize("words", [["placement=none"], ["attention=se", "placement=block"]])
def test_a_network_without_a_spatial_gate_has_none(words, images):
    assert maps.explain(network(*words), images).gate is None


def test_explaining_leaves_the_network_as_it_was(images):
    model = network("placement=class")
    before = model(images).detach()
    maps.explain(model, images)
    assert not any(module._forward_hooks for module in model.modules())
    assert all(parameter.grad is None for parameter in model.parameters())
    torch.testing.assert_close(model(images).detach(), before, rtol=0, atol=0)


def test_the_last_map_is_before_pooling():
    model = network("backbone=vgg", "placement=class")
    assert last_map(model, 32) == "attention"


@pytest.mark.parametrize("kind", [["attention=eca"], ["attention=timm", "model.attention.timm=eca"]])
def test_what_a_gate_makes_within_itself_is_no_map_of_the_network(kind):
    model = network("backbone=vgg", *kind, "placement=both")
    assert last_map(model, 32) == "attention"


def test_a_network_of_sequences_is_refused(images):
    model = nn.Sequential(
        nn.Conv2d(3, 8, 8, 8), nn.Flatten(2), nn.Linear(16, 4), nn.Flatten(), nn.Linear(32, 4)
    )
    with pytest.raises(ConfigError, match="sequences"):
        maps.explain(model, images)


def test_a_network_whose_outputs_are_no_numbers_is_refused(linear, images):
    nn.init.constant_(linear.head.bias, float("inf"))
    with pytest.raises(ConfigError, match="finite"):
        maps.explain(linear, images)


def test_without_the_package_the_extra_is_named(linear, images, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pytorch_grad_cam", None)
    with pytest.raises(ConfigError, match=r"cbam_ablate\[explain\]"):
        maps.explain(linear, images)
