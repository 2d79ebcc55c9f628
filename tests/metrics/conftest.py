import numpy as np
import pytest

from cbam_ablate.metrics.predictions import pack

DATA = 64 * "d"


def made_up(top1, seed=0, classes=10, images=2000):
    """Labels (the same for all seeds) and logits of a network that is right for `top1` percent of them."""
    labels = np.random.default_rng(7).integers(0, classes, images)
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 1, (images, classes))
    wrong = rng.permutation(images)[round(images * top1 / 100) :]
    given = labels.copy()
    given[wrong] = (labels[wrong] + rng.integers(1, classes, len(wrong))) % classes
    every = np.arange(images)
    logits[every, given] = logits.max(axis=1) + rng.exponential(2, images)
    return labels, logits


def content(key, top1, seed=0, data=DATA, order=None, **more):
    """predictions.npz of a run whose test, last and validation accuracies are those of a stand-in."""
    sets, outputs = {}, {}
    for part, accuracy in (("test", top1), ("last_test", top1 - 0.1), ("val", top1 + 0.3)):
        labels, logits = made_up(accuracy, seed, **more)
        numbers = np.arange(len(labels))
        if order is not None:
            labels, logits, numbers = labels[order], logits[order], numbers[order]
        if part != "last_test":
            sets[part] = numbers, labels
        shifted = logits - logits.max(axis=1, keepdims=True)
        outputs[part] = {"logits": shifted.astype(np.float16)}
    return pack(key, data, logits.shape[1], sets, outputs, epoch=4, epochs=5)


@pytest.fixture
def study(stand_in):
    """Three placements over five seeds, whose runs keep predictions; `keys` by placement and seed."""
    scores = {"none": 80.0, "block": 82.0, "class": 81.0}

    def score(axes):
        return scores[axes["model.attention.placement"]] + 0.05 * axes["seed"]

    axes = {"model.attention.placement": list(scores), "seed": [0, 1, 2, 3, 4]}
    stand_in.keys = stand_in.build(axes, score)
    for (placement, seed), key in stand_in.keys.items():
        top1 = score({"model.attention.placement": placement, "seed": seed})
        path = stand_in.run(key) / "predictions.npz"
        path.write_bytes(content(key, top1, 100 * seed + len(placement)))
    return stand_in
