"""Losses against PyTorch's and torchvision's, and that every way of training uses the one asked for."""

import dataclasses

import pytest
import torch
from torch.nn import functional as F

from cbam_ablate.config.canonical import canonical, run_key
from cbam_ablate.config.schema import LossConfig
from cbam_ablate.data.batches import balanced_order
from cbam_ablate.data.feed import Feed
from cbam_ablate.data.loader import load_splits
from cbam_ablate.errors import ConfigError
from cbam_ablate.sweep.job import run_one
from cbam_ablate.torchvision_shim import import_torchvision
from cbam_ablate.training.loss import build_loss, class_weights, cross_entropy, focal
from tests.composed import composed

import_torchvision()
from torchvision.ops import sigmoid_focal_loss  # noqa: E402

LOGITS = 3 * torch.randn(16, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
LABELS = torch.arange(16) % 5
WEIGHTS = torch.tensor([0.5, 1.0, 2.0, 4.0, 0.1], dtype=torch.float64)
SHARES = F.one_hot(LABELS, 5).double()


@pytest.mark.parametrize("weights", [None, WEIGHTS])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy_is_pytorchs_and_the_same_of_shares(weights, smoothing):
    ours = cross_entropy(LossConfig(), smoothing, weights)
    theirs = F.cross_entropy(LOGITS, LABELS, weights, label_smoothing=smoothing)
    assert torch.equal(ours(LOGITS, LABELS), theirs)
    assert torch.allclose(ours(LOGITS, SHARES), theirs)


def test_focal_loss_of_two_classes_is_torchvisions():
    logits, labels = LOGITS[:, :2], LABELS % 2
    for gamma in (0.5, 2.0):
        ours = focal(LossConfig(gamma=gamma, alpha=0.25), 0.0, None)(logits, labels)
        difference = logits[:, 1] - logits[:, 0]
        theirs = sigmoid_focal_loss(difference, labels.double(), alpha=0.25, gamma=gamma, reduction="mean")
        assert torch.allclose(ours, theirs)


@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_focal_loss_without_gamma_is_cross_entropy(weights):
    plain = F.cross_entropy(LOGITS, LABELS, weights)
    ours = focal(LossConfig(gamma=0.0), 0.0, weights)
    assert torch.allclose(ours(LOGITS, LABELS), plain)
    assert torch.allclose(ours(LOGITS, SHARES), plain)


def test_focal_loss_is_the_papers_formula_and_has_finite_slopes():
    logits = torch.cat([LOGITS, torch.tensor([[1e4, 0, 0, 0, 0]], dtype=torch.float64)]).requires_grad_()
    labels = torch.cat([LABELS, torch.tensor([0])])
    p = logits.softmax(-1)[torch.arange(17), labels]
    loss = focal(LossConfig(gamma=0.5), 0.0, None)(logits, labels)
    assert torch.allclose(loss, -((1 - p) ** 0.5 * p.log()).mean())
    loss.backward()
    assert logits.grad.isfinite().all()


def test_balanced_weights_give_every_class_the_same_say():
    weights = class_weights("balanced", lambda: [90, 9, 1])
    assert [weight * count for weight, count in zip(weights, (90, 9, 1), strict=True)] == pytest.approx(
        [100 / 3] * 3
    )


def test_a_balanced_order_shows_classes_equally_and_images_in_turn():
    labels = torch.tensor([0] * 50 + [1] * 8 + [2] * 2)
    order = balanced_order(labels, torch.Generator().manual_seed(0))
    assert torch.bincount(labels[order]).tolist() == [20, 20, 20]
    assert len(order[labels[order] == 0].unique()) == 20
    assert torch.bincount(order, minlength=60)[50:58].tolist().count(0) == 0
    assert torch.bincount(order)[58:].tolist() == [10, 10]


SMALL = ["data=synthetic", "train.batch_size=16", "data.train_size=64", "data.val_size=128"]


def test_a_balanced_sampler_augments_each_showing_anew():
    cfg = composed([*SMALL, "data.sampler=balanced", "augment=standard"])
    feed = Feed(cfg, load_splits(cfg, torch.device("cpu")), torch.float32)
    feed.batches.part = dataclasses.replace(feed.batches.part, labels=torch.tensor([0] * 63 + [1]))
    drawn = feed.batches.draw(0, 0)
    assert len(drawn.crops[drawn.order == 63].unique(dim=0)) > 1


def test_the_default_loss_leaves_keys_alone_and_others_change_them():
    plain = composed(SMALL)
    assert not any(name.startswith("loss") or name == "data.sampler" for name in canonical(plain))
    keys = {run_key(plain)}
    for words in (["loss=focal"], ["loss=focal", "loss.gamma=1"], ["loss.class_weights=balanced"]):
        keys.add(run_key(composed([*SMALL, *words])))
    keys.add(run_key(composed([*SMALL, "data.sampler=balanced"])))
    assert len(keys) == 5
    assert run_key(composed([*SMALL, "loss.gamma=1"])) == run_key(plain)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["loss=hinge"], "loss"),
        (["loss.class_weights=[1,2]"], "one number above 0 for each of the 10 classes"),
        (["loss.class_weights=even"], "none, balanced, or a list"),
        (["loss=focal", "loss.alpha=0.3"], "for two classes"),
        (["loss=focal", "train.label_smoothing=0.1"], "doesn't smooth labels"),
        (["data.sampler=even"], "not one of shuffle, balanced"),
    ],
)
def test_nonsense_is_refused(words, said):
    with pytest.raises(ConfigError, match=said):
        composed([*SMALL, *words])


def test_weights_are_built_from_the_training_images():
    cfg = composed([*SMALL, "loss.class_weights=balanced"])
    feed = Feed(cfg, load_splits(cfg, torch.device("cpu")), torch.float32)
    ours = build_loss(cfg, feed.class_counts, torch.device("cpu"))
    counts = torch.bincount(load_splits(cfg, torch.device("cpu")).train.labels, minlength=10)
    logits, labels = torch.randn(16, 10), torch.arange(16) % 10
    assert torch.allclose(ours(logits, labels), F.cross_entropy(logits, labels, 64 / (10 * counts)))


OWN = """
import torch
from torch import nn
from torch.nn import functional as F


class Poly(nn.Module):
    def __init__(self, epsilon: float = 1.0, class_weights=None):
        super().__init__()
        self.epsilon, self.class_weights = epsilon, class_weights

    def forward(self, logits, labels):
        p = logits.softmax(-1).gather(1, labels[:, None])[:, 0]
        return F.cross_entropy(logits, labels, self.class_weights) + self.epsilon * (1 - p).mean()


class Centres(nn.Module):
    def __init__(self):
        super().__init__()
        self.centres = nn.Parameter(torch.zeros(10))

    def forward(self, logits, labels):
        return (logits - self.centres).square().mean()


def per_image(logits, labels):
    return F.cross_entropy(logits, labels, reduction="none")
"""


@pytest.fixture
def own_losses(tmp_path, monkeypatch):
    (tmp_path / "my_losses.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))


@pytest.mark.usefixtures("own_losses")
def test_a_loss_of_ones_own_is_measured_with_its_options_and_weights():
    cfg = composed([*SMALL, "loss=my_losses:Poly", "loss.options.epsilon=0.5", "loss.class_weights=balanced"])
    ours = build_loss(cfg, lambda: [1] * 10, torch.device("cpu"))
    logits, labels = torch.randn(16, 10), torch.arange(16) % 10
    p = logits.softmax(-1)[torch.arange(16), labels]
    assert torch.allclose(ours(logits, labels), F.cross_entropy(logits, labels) + 0.5 * (1 - p).mean())
    assert run_key(cfg) != run_key(composed([*SMALL, "loss=my_losses:Poly", "loss.class_weights=balanced"]))


@pytest.mark.usefixtures("own_losses")
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["loss=my_losses:Poly", "loss.options.epsilom=1"], "did you mean epsilon"),
        (["loss=my_losses:Poly", "train.label_smoothing=0.1"], "doesn't smooth labels"),
        (["loss=my_losses:per_image", "loss.class_weights=balanced"], "doesn't take them"),
        (["loss=my_losses:Polly"], "did you mean Poly"),
    ],
)
def test_what_a_loss_of_ones_own_does_not_take_is_refused(words, said):
    with pytest.raises(ConfigError, match=said):
        composed([*SMALL, *words])


@pytest.mark.usefixtures("own_losses")
def test_a_loss_of_ones_own_that_gives_no_mean_is_refused():
    loss = build_loss(composed([*SMALL, "loss=my_losses:per_image"]), list, torch.device("cpu"))
    with pytest.raises(ConfigError, match=r"my_losses:per_image: gives \(16,\) for logits \(16, 10\)"):
        loss(torch.randn(16, 10), torch.arange(16) % 10)


@pytest.mark.usefixtures("own_losses")
def test_a_loss_of_ones_own_that_would_have_to_learn_is_refused():
    with pytest.raises(ConfigError, match="my_losses:Centres: has parameters to learn"):
        build_loss(composed([*SMALL, "loss=my_losses:Centres"]), list, torch.device("cpu"))


def test_a_loss_of_ones_own_computes_in_full_beside_a_network_in_bf16(tmp_path, tiny, monkeypatch):
    (tmp_path / "my_products.py").write_text(
        "def products(logits, labels):\n    found = logits @ logits.T\n"
        "    assert str(found.dtype) == 'torch.float32', found.dtype\n    return found.mean()\n"
    )
    monkeypatch.chdir(tmp_path)
    words = [*tiny, f"store={tmp_path}", "loss=my_products:products", "train.precision=bf16"]
    assert run_one(composed([*words, "train.epochs=1"])).name == "finished"
