"""Every network trains there: none of its tensors stays behind on the host."""

import pytest

from cbam_ablate.config.schema import ORDERS
from cbam_ablate.models.attention import ATTENTIONS
from cbam_ablate.models.backbones import BACKBONES

pytestmark = pytest.mark.cuda
OPTIONS = {
    "timm": ["model.width=null", "model.timm=resnet10t"],
    "torchvision": ["model.width=null", "model.torchvision=squeezenet1_1"],
    "mobilenet": ["model.width=8"],
    "resnext": ["model.width=32"],
}
LARGE = {"residual_attention_imagenet"}
"""For images of 224 pixels."""
NETWORKS = [
    *([f"backbone={name}", "depth=auto", *OPTIONS.get(name, [])] for name in BACKBONES if name not in LARGE),
    *(["placement=both", f"model.attention.order={order}"] for order in ORDERS),
    *(["placement=stage", f"attention={name}"] for name in ATTENTIONS if name != "timm"),
    ["placement=block", "attention=timm", "model.attention.timm=se"],
    ["placement=block", "model.attention.pool=[lp,lse]", "model.attention.descriptor=conv"],
]


@pytest.mark.parametrize("network", NETWORKS, ids=" ".join)
def test_a_step_leaves_every_weight_finite_and_on_the_device(words, trainer, network):
    words = [*words, "data.train_size=20", "train.epochs=1", *network]
    run = trainer(words, precision="bf16")
    run._train_epoch()
    assert all(p.is_cuda and p.isfinite().all() for p in run.model.parameters())
    assert {buffer.device for buffer in run.model.buffers()} <= {run.device}
