"""The short cut that tests take to a config gives what users get."""

import pytest

from cbam_ablate import load_config
from tests.composed import composed


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["backbone=resnet_cifar", "depth=20", "placement=block", "reduction=4", "model.width=8", "seed=3"],
        ["optimizer=adamw", "optimizer.lr=3e-4", "schedule=step", "schedule.milestones=[0.25,0.5]"],
        ["data=synthetic", "data.mean=[0.1,0.2,0.3]", "data.std=[1,0.5,0.25]", "train.ema=0.9", "name=one"],
    ],
)
def test_a_config_by_the_short_cut_is_the_one_that_is_composed(words):
    assert composed(words) == load_config(words)
