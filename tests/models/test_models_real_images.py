"""Every backbone and every kind of attention trains an epoch on real images: 256 of CIFAR-10's."""

import math

import numpy as np
import pytest
import torch

from cbam_ablate import load_config
from cbam_ablate.config.canonical import run_key
from cbam_ablate.config.seeds import derive_seed
from cbam_ablate.data import DataError
from cbam_ablate.data.loader import load_arrays
from cbam_ablate.models import build_model
from cbam_ablate.models.attention import ATTENTIONS
from cbam_ablate.models.backbones import BACKBONES
from cbam_ablate.runs import RunStore
from cbam_ablate.sweep.job import run_one
from cbam_ablate.training import checkpoint

pytestmark = pytest.mark.slow

# Without weight decay, so that only a gradient moves a weight.
SHORT = [
    *("train.epochs=1", "train.batch_size=64", "train.device=cpu", "train.threads=1", "train.precision=fp32"),
    *("optimizer.weight_decay=0", "reduction=4"),
]
SMALL = {
    "resnet": "model.width=8",
    "resnet_cifar": "model.width=8",
    "resnet_cifar_preact": "model.width=8",
    "wide_resnet": "model.width=32 depth=16",
    "resnext_cifar": "model.width=8 model.cardinality=2 model.base_width=8",
    "resnet_imagenet": "model.width=16 model.stem=imagenet",
    "resnet_preact": "model.width=8",
    "resnext": "model.width=16 model.stem=imagenet",
    "vgg": "model.width=8 depth=11",
    "mobilenet": "model.width=16 model.stem=imagenet",
    "residual_attention": "model.width=16",
    "residual_attention_imagenet": "model.width=8",
    "timm": "model.timm=mobilenetv3_small_050",
    "torchvision": "model.torchvision=mobilenet_v2",
}
OPTIONS = {"timm": "model.attention.timm=coord"}


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """The words of a data set of few real images, as CIFAR-10 itself is evaluated on 10,000."""
    try:
        real = load_arrays(load_config(["data=cifar10"]).data)
    except DataError as error:
        pytest.skip(f"needs CIFAR-10: {error}")
    rows = {"train": slice(0, 256), "val": slice(256, 356), "test": slice(356, 456)}
    parts = {f"{part}_images": real.train_images[taken] for part, taken in rows.items()}
    parts |= {f"{part}_labels": real.train_labels[taken] for part, taken in rows.items()}
    folder = tmp_path_factory.mktemp("images")
    np.savez(folder / "real.npz", **parts)
    return ["data=npz", f"data.root={folder / 'real.npz'}", f"data.cache={folder / 'cache'}"]


@pytest.fixture
def train(tmp_path, images):
    """Trains a run; returns its config and its folder."""

    def train(*words, images=images):
        cfg = load_config([*images, *SHORT, "placement=both", *words, f"store={tmp_path}"])
        assert run_one(cfg).name == "finished"
        return cfg, RunStore(tmp_path).run(run_key(cfg))

    return train


def check_learnt(cfg, run):
    """Finite losses, and no weight where it started. Biases before a norm or a softmax have no gradient."""
    (epoch,) = run.history()
    metrics = run.result()["metrics"]
    losses = [epoch["train_loss"], epoch["val_loss"], metrics["test_loss"]]
    assert all(math.isfinite(loss) for loss in losses)
    torch.manual_seed(derive_seed(cfg.seed, "weights"))
    started, ended = build_model(cfg), checkpoint.load(run.last)["model"]
    every = started.state_dict(keep_vars=True).items()
    parameters = {name: value for name, value in every if isinstance(value, torch.nn.Parameter)}
    weights = {name: value for name, value in parameters.items() if name.endswith("weight")}
    same = [name for name, value in weights.items() if torch.equal(value, ended[name])]
    assert same == []
    return [name for name in parameters if "attention" in name]


@pytest.mark.parametrize("backbone", BACKBONES)
def test_every_backbone_trains_on_real_images(backbone, train):
    assert check_learnt(*train(f"backbone={backbone}", *SMALL[backbone].split()))


@pytest.mark.parametrize("kind", ATTENTIONS)
def test_every_attention_trains_on_real_images(kind, train):
    words = [f"attention={kind}", "backbone=resnet_cifar", "model.width=8", *OPTIONS.get(kind, "").split()]
    gated = check_learnt(*train(*words))
    assert bool(gated) == (kind != "simam")


def test_a_network_trains_on_cifar10_itself(train):
    cifar10 = ["data=cifar10", "data.train_size=256", "data.val_size=100"]
    assert check_learnt(*train("backbone=vgg", *SMALL["vgg"].split(), images=cifar10))
