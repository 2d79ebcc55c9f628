"""Batches made on a GPU, several at a time, are those that a CPU makes one at a time."""

import itertools
from functools import cache

import pytest
import torch

from cbam_ablate.config import load_config
from cbam_ablate.data import batches as batches_module
from cbam_ablate.data import make_feed
from cbam_ablate.data.together import train_together

pytestmark = pytest.mark.cuda
STEPS = 7
AUGMENTS = ["standard", "none", "erasing", "rotate_shift", "mixup", "cutmix"]


config = cache(lambda words: load_config(list(words)))


def made(words, device, together, start):
    feeds = [make_feed(config((*words, f"seed={seed}")), device, "fp32") for seed in (0, 1)]
    return list(train_together(feeds, 1, start) if together else feeds[0].train(1, start))


@pytest.mark.parametrize("many", [3, STEPS, 1])
@pytest.mark.parametrize("together", [False, True])
def test_however_many_are_made_at_once(words, monkeypatch, exact, together, many):
    # Pixel values of so many batches of ten images 32 x 32, and a few more.
    monkeypatch.setattr(batches_module, "AT_ONCE", many * (1 + together) * 10 * 3 * 32 * 32 + 9)
    for augment, start in itertools.product(AUGMENTS, (0, 2)):
        asked = [*words, f"data.train_size={10 * STEPS}", f"augment={augment}"]
        expected = made(asked, torch.device("cpu"), together, start)
        found = made(asked, torch.device("cuda:0"), together, start)
        assert len(found) == len(expected) == STEPS - start
        for ours, theirs in zip(found, expected, strict=True):
            for one, other in zip(ours, theirs, strict=True):
                assert (one.is_cuda, one.shape, one.stride()) == (True, other.shape, other.stride())
                tolerance = {"rtol": 0, "atol": 0} if exact else {"rtol": 1e-5, "atol": 1e-4}
                torch.testing.assert_close(one.cpu(), other, **tolerance)


def test_resized_crops_are_those_of_a_cpu_up_to_rounding(words):
    """A GPU resizes floats and a CPU bytes: a pixel value of 255 apart at most."""
    asked = [*words, f"data.train_size={10 * STEPS}", "augment=random_resized_crop"]
    for together in (False, True):
        expected = made(asked, torch.device("cpu"), together, 2)
        found = made(asked, torch.device("cuda:0"), together, 2)
        assert len(found) == len(expected) == STEPS - 2
        for (ours, labels), (theirs, _) in zip(found, expected, strict=True):
            assert (ours.is_cuda, labels.is_cuda, ours.stride()) == (True, True, theirs.stride())
            assert (ours.cpu() - theirs).abs().max() < 1.1 / 40  # pixels deviate by more than 40
