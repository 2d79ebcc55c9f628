import numpy as np
import pytest
import torch

from cbam_ablate.config import load_config
from cbam_ablate.config.schema import AugmentConfig
from cbam_ablate.data.batches import Normalise, TrainBatches, _stream, eval_batches
from cbam_ablate.data.loader import load_arrays, load_splits
from cbam_ablate.data.split import balanced_order, split

PLAIN = Normalise(torch.zeros(3), torch.ones(3), torch.float32)


@pytest.fixture
def images():
    return torch.randint(0, 256, (50, 8, 8, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def batches(images, crop_padding=2, flip=True):
    return TrainBatches(images, torch.arange(50), AugmentConfig(crop_padding, flip), 16)


def test_one_gather_equals_cropping_and_flipping_image_by_image(images):
    made = batches(images)
    drawn = made._draw(50, _stream(1, "augment", 0))
    padded = np.pad(images.numpy(), ((0, 0), (2, 2), (2, 2), (0, 0)))
    for x, labels in made.epoch(1, 0, PLAIN):
        for image, label in zip(x, labels.tolist(), strict=True):
            top, left, flip = drawn[label].tolist()
            expected = padded[label, top : top + 8, left : left + 8]
            expected = expected[:, ::-1] if flip else expected
            assert np.array_equal(image.permute(1, 2, 0).numpy(), expected)


def test_every_crop_and_both_flips_are_drawn(images):
    drawn = torch.cat([batches(images)._draw(50, _stream(0, "augment", epoch)) for epoch in range(20)])
    assert {tuple(row) for row in drawn.tolist()} == {
        (t, s, f) for t in range(5) for s in range(5) for f in (0, 1)
    }


def test_an_epoch_has_every_image_at_most_once_and_full_batches_only(images):
    labels = [y for _, y in batches(images).epoch(0, 0, PLAIN)]
    assert [len(part) for part in labels] == [16, 16, 16]
    assert len(set(torch.cat(labels).tolist())) == 48


def test_epochs_differ_and_seeds_differ(images):
    def order(seed, epoch):
        return torch.cat([y for _, y in batches(images).epoch(seed, epoch, PLAIN)]).tolist()

    assert order(0, 0) == order(0, 0)
    assert order(0, 0) != order(0, 1)
    assert order(0, 0) != order(1, 0)


def test_starting_within_an_epoch_gives_the_same_batches(images):
    whole = list(batches(images).epoch(3, 2, PLAIN))
    rest = list(batches(images).epoch(3, 2, PLAIN, start=1))
    assert all(torch.equal(a[0], b[0]) for a, b in zip(whole[1:], rest, strict=True))


def test_augmentation_has_a_stream_of_its_own(images):
    with_flip = [y.tolist() for _, y in batches(images).epoch(0, 0, PLAIN)]
    without = [y.tolist() for _, y in batches(images, 0, False).epoch(0, 0, PLAIN)]
    assert with_flip == without


def test_images_are_normalised_by_channel_and_laid_out_channels_last(images):
    mean, std = torch.tensor([10.0, 20.0, 30.0]), torch.tensor([1.0, 2.0, 4.0])
    x = Normalise(mean, std, torch.float32)(images)
    expected = (images.permute(0, 3, 1, 2).float() - mean.view(3, 1, 1)) / std.view(3, 1, 1)
    assert torch.allclose(x, expected, atol=1e-5)
    assert x.is_contiguous(memory_format=torch.channels_last)


def test_evaluation_sees_every_image_once_in_order(images):
    labels = torch.cat([y for _, y in eval_batches(images, torch.arange(50), PLAIN, 16)])
    assert labels.tolist() == list(range(50))


def labels_of(name):
    return np.asarray(load_arrays(load_config([f"data={name}"]).data).train_labels)


def test_the_split_is_balanced_disjoint_and_the_same_for_every_seed():
    labels = labels_of("synthetic")
    first = split(labels, load_config(["data=synthetic", "seed=0", "data.val_size=100"]).data)
    second = split(labels, load_config(["data=synthetic", "seed=5", "data.val_size=100"]).data)
    assert np.array_equal(first.val, second.val)
    assert np.array_equal(first.train, second.train)
    assert np.bincount(labels[first.val]).tolist() == [10] * 10
    assert sorted([*first.val, *first.train]) == list(range(640))


def test_training_subsets_are_balanced_nested_and_fixed_by_a_seed_of_their_own():
    labels = labels_of("synthetic")

    def subset(size, seed=0):
        words = [
            "data=synthetic",
            "train.batch_size=10",
            f"data.train_size={size}",
            f"data.subset_seed={seed}",
        ]
        return set(split(labels, load_config(words).data).train.tolist())

    assert subset(50) < subset(200)
    assert np.bincount(labels[list(subset(50))]).tolist() == [5] * 10
    assert subset(50, seed=1) != subset(50)


def test_every_first_part_of_a_balanced_order_is_balanced():
    labels = np.repeat(np.arange(4), [5, 9, 9, 9]).astype(np.uint8)
    order = balanced_order(labels, np.random.default_rng(0))
    counts = np.bincount(labels[order[:18]], minlength=4)
    assert counts.max() - counts.min() <= 1
    assert sorted(order) == list(range(32))


def test_synthetic_data_is_the_same_every_time():
    device = torch.device("cpu")
    first, second = (load_splits(load_config(["data=synthetic"]), device) for _ in range(2))
    assert torch.equal(first.train.images, second.train.images)
    assert first.sha256 == second.sha256
