import weakref

import numpy as np
import pytest
import torch

from cbam_ablate.config.schema import DataConfig
from cbam_ablate.data.loader import load_arrays, load_splits
from cbam_ablate.data.noise import noisy
from cbam_ablate.data.split import balanced_order, split, stratified_order
from tests.composed import composed

CPU = torch.device("cpu")


def labels_of(name):
    return np.asarray(load_arrays(composed([f"data={name}"]).data).train_labels)


def test_the_split_is_balanced_disjoint_and_the_same_for_every_seed():
    labels = labels_of("synthetic")
    first = split(labels, composed(["data=synthetic", "seed=0", "data.val_size=100"]).data)
    second = split(labels, composed(["data=synthetic", "seed=5", "data.val_size=100"]).data)
    assert np.array_equal(first.val, second.val)
    assert np.array_equal(first.train, second.train)
    assert np.bincount(labels[first.val]).tolist() == [10] * 10
    assert sorted([*first.val, *first.train]) == list(range(640))


def subset(labels, size, seed=0, val_size=128):
    data = DataConfig(name="synthetic", val_size=val_size, train_size=size, subset_seed=seed)
    return split(labels, data)


def test_training_subsets_are_balanced_nested_and_fixed_by_a_seed_of_their_own():
    labels = labels_of("synthetic")
    small, large = subset(labels, 50), subset(labels, 200)
    assert set(small.train) < set(large.train)
    assert np.bincount(labels[small.train]).tolist() == [5] * 10
    assert set(subset(labels, 50, seed=1).train) != set(small.train)
    assert not set(large.train) & set(large.val)
    assert np.array_equal(large.val, subset(labels, 50, seed=1).val)


@pytest.mark.parametrize("size", [1, 7, 50, 199, 200])
def test_a_subset_is_as_balanced_as_arithmetic_allows(size):
    counts = np.bincount(labels_of("synthetic")[subset(labels_of("synthetic"), size).train], minlength=10)
    assert counts.sum() == size
    assert counts.max() - counts.min() <= 1


def test_a_class_that_runs_out_is_made_up_for_by_the_others():
    labels = np.repeat(np.arange(4), [3, 9, 9, 9])
    order = balanced_order(labels, np.random.default_rng(0))
    assert np.bincount(labels[order[:23]]).tolist() in ([3, 7, 7, 6], [3, 7, 6, 7], [3, 6, 7, 7])
    assert sorted(order) == list(range(30))


def test_validation_holds_uneven_classes_in_proportion():
    labels = np.random.default_rng(1).permutation(np.repeat(np.arange(3), [600, 300, 100]))
    order = stratified_order(labels, np.random.default_rng(0))
    for size in (10, 55, 200):
        counts = np.bincount(labels[order[:size]], minlength=3)
        assert np.abs(counts - size * np.array([0.6, 0.3, 0.1])).max() <= 1


def test_the_split_of_50000_images_stays_what_it_is():
    labels = np.arange(50_000) % 10
    chosen = split(labels, DataConfig(name="cifar10", val_size=5000))
    assert chosen.val[:5].tolist() == [1, 4, 7, 14, 27]


@pytest.mark.parametrize("fraction", [0.1, 0.5, 1.0])
def test_label_noise_changes_exactly_its_fraction_of_the_training_labels(fraction):
    labels, rows = np.arange(1000) % 10, np.arange(100, 900)
    changed = noisy(labels, rows, fraction, 10)
    assert (changed[rows] != labels[rows]).sum() == fraction * 800
    assert np.array_equal(changed[:100], labels[:100])
    assert np.array_equal(changed[900:], labels[900:])


def test_wrong_labels_are_spread_evenly_over_the_other_classes():
    labels = np.zeros(90_000, dtype=np.int64)
    counts = np.bincount(noisy(labels, np.arange(90_000), 1.0, 10), minlength=10)
    assert counts[0] == 0
    assert np.abs(counts[1:] - 10_000).max() < 5 * np.sqrt(10_000)


def test_more_noise_keeps_what_less_noise_made_wrong():
    labels, rows = np.arange(1000) % 10, np.arange(1000)
    less, more = noisy(labels, rows, 0.1, 10), noisy(labels, rows, 0.3, 10)
    wrong = less != labels
    assert np.array_equal(less[wrong], more[wrong])


def test_noise_is_the_same_for_every_seed_and_spares_validation_and_test():
    first = load_splits(composed(["data=synthetic", "data.label_noise=0.5"]), CPU)
    clean = load_splits(composed(["data=synthetic"]), CPU)
    second = load_splits(composed(["data=synthetic", "data.label_noise=0.5", "seed=9"]), CPU)
    assert (first.train.labels != clean.train.labels).sum() == round(0.5 * len(clean.train))
    assert second is not first
    assert torch.equal(first.train.labels, second.train.labels)
    assert torch.equal(first.val.labels, clean.val.labels)
    assert torch.equal(first.test.labels, clean.test.labels)


def test_the_parts_hold_the_images_of_their_labels():
    cfg = composed(["data=synthetic", "data.train_size=100", "train.batch_size=50"])
    arrays, splits = load_arrays(cfg.data), load_splits(cfg, CPU)
    chosen = split(np.asarray(arrays.train_labels), cfg.data)
    for part, rows in ((splits.train, chosen.train), (splits.val, chosen.val)):
        images = part.take(torch.arange(len(part)))
        assert np.array_equal(images.numpy(), arrays.train_images[rows])
        assert part.labels.tolist() == arrays.train_labels[rows].tolist()
    assert np.array_equal(splits.test.take(torch.arange(200)).numpy(), arrays.test_images)


def test_synthetic_data_is_the_same_every_time():
    first, second = (load_arrays(composed(["data=synthetic"]).data) for _ in range(2))
    assert np.array_equal(first.train_images, second.train_images)
    assert first.digests == second.digests


def test_runs_of_a_process_share_their_data_and_other_data_replaces_it(tmp_path):
    def load(*words):
        return load_splits(composed(["data=synthetic", *words]), CPU)

    whole = load()
    assert load("seed=9", "depth=34", "train.batch_size=64") is whole
    gone = weakref.ref(whole)
    del whole
    assert len(load("data.train_size=200").train) == 200
    assert gone() is None
    assert load(f"data.cache={tmp_path}") is not load(f"data.cache={tmp_path / 'other'}")
