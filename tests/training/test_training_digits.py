"""The digits that training gives stay: whoever moves them trains anew what README.md and results/ show."""

import json

import pytest

from cbam_ablate.sweep.job import run_one
from tests.composed import composed

WORDS = [
    "data=synthetic", "data.train_size=128", "backbone=resnet_cifar", "depth=20", "model.width=4",
    "reduction=4",
    "train.epochs=1", "train.batch_size=16", "train.precision=fp32", "optimizer.lr=0.002", "seed=7",
]  # fmt: skip
LOSSES = {"none": (2.45253, 2.47066), "block": (2.35368, 2.33664), "class": (2.32121, 2.32869)}
"""Mean training and validation loss of an epoch of eight steps; other rounding moves them by 3e-5 at most."""


@pytest.mark.parametrize(
    "placement", ["block", *(pytest.param(name, marks=pytest.mark.slow) for name in ("none", "class"))]
)
def test_eight_steps_give_the_losses_they_gave(placement, tmp_path):
    cfg = composed([*WORDS, f"placement={placement}", f"store={tmp_path}"])
    assert run_one(cfg).name == "finished"
    (path,) = tmp_path.glob("runs/*/history.jsonl")
    epoch = json.loads(path.read_text().splitlines()[-1])
    assert (epoch["train_loss"], epoch["val_loss"]) == pytest.approx(LOSSES[placement], rel=2e-4)
