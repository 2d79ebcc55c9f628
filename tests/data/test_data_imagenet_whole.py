"""ImageNet's tree kept whole at a short side: crops are of whole images, what is evaluated stays the same."""

import dataclasses

import numpy as np
import pytest
import torch
from PIL import Image

from cbam_ablate.config.canonical import canonical, run_key
from cbam_ablate.data import DATASETS, imagefolder_whole
from cbam_ablate.data.feed import make_feed
from cbam_ablate.data.loader import load_splits, prepare
from cbam_ablate.errors import ConfigError, DataError
from tests.composed import composed

SIZE, SHORT, TRAIN, TEST = 56, 64, 12, 6


@pytest.fixture
def words(tmp_path, monkeypatch):
    """Words for a small tree of 3 classes and images of many shapes, in place of the official one."""
    facts = dataclasses.replace(DATASETS["imagenet"], train=TRAIN, test=TEST, classes=3, size=SIZE)
    monkeypatch.setitem(DATASETS, "imagenet", facts)
    draw, root = np.random.default_rng(0), tmp_path / "tree"
    for folder, count in (("train", TRAIN // 3), ("val", TEST // 3)):
        for label in "abc":
            (root / folder / label).mkdir(parents=True)
            for number in range(count):
                pixels = draw.integers(0, 256, (*draw.integers(70, 130, 2), 3), np.uint8)
                Image.fromarray(pixels).save(root / folder / label / f"{number}.png")
    return [
        *("data=imagenet", f"data.root={root}", f"data.cache={tmp_path / 'cache'}", "data.val_size=3"),
        *("augment=none", "train.batch_size=3", "backbone=resnet_imagenet"),
    ]


def splits(words, *more):
    return load_splits(composed([*words, *more]), torch.device("cpu"))


def everything(part):
    return part.take(torch.arange(len(part)))


@pytest.mark.parametrize("part", ["train", "val", "test"])
def test_stored_whole_at_the_recipes_short_side_the_same_pixels_are_evaluated(words, part):
    squares = getattr(splits(words), part)
    labels, images = squares.labels.clone(), everything(squares).clone()
    whole = getattr(splits(words, f"data.store_size={SHORT}"), part)
    assert torch.equal(whole.labels, labels)
    assert torch.equal(everything(whole), images)


def test_images_are_normalised_by_imagenets_own_moments(words):
    squares, whole = splits(words), splits(words, f"data.store_size={SHORT}")
    assert torch.equal(squares.mean, whole.mean)
    assert torch.equal(squares.std, whole.std)


def test_random_crops_are_cut_from_beyond_the_middle(words):
    cfg = composed([*words, f"data.store_size={SHORT}", "augment=random_resized_crop"])
    sides = splits(words, f"data.store_size={SHORT}").train.whole().sides
    assert (sides.min(1).values == SHORT).all()
    assert (sides.max(1).values > SHORT).any()
    feed = make_feed(cfg, torch.device("cpu"), "fp32")
    (images, _), *_ = feed.train(1, 0)
    assert images.shape == (3, 3, SIZE, SIZE)
    assert torch.isfinite(images).all()


def test_squares_keep_their_keys_and_whole_images_have_their_own(words):
    plain, whole = (composed([*words, *more]) for more in ([], [f"data.store_size={SHORT}"]))
    assert "data.store_size" not in canonical(plain)
    assert run_key(plain) != run_key(whole)


def test_crops_of_squares_are_refused_with_what_keeps_images_whole(words):
    with pytest.raises(ConfigError, match=r"data\.store_size=256 keeps images whole"):
        composed([*words, "augment=random_resized_crop"])


def test_a_short_side_below_the_size_is_refused(words):
    with pytest.raises(ConfigError, match=rf"data\.store_size=40: at least {SIZE}"):
        composed([*words, "data.store_size=40"])


def test_whole_images_are_decoded_once_and_then_need_no_root(words, monkeypatch):
    chosen = [*words, f"data.store_size={SHORT}"]
    said = prepare(composed(chosen))
    assert said["stored"].startswith(f"at a short side of {SHORT}")
    assert said["val"] == "3 images"
    monkeypatch.setattr(imagefolder_whole, "decode_all", None)
    rootless = [word for word in chosen if not word.startswith("data.root=")]
    assert prepare(composed(rootless))["images"] == f"{TRAIN + TEST}, colour"
    with pytest.raises(DataError, match=r"data\.root=null: imagenet can't be downloaded"):
        prepare(composed([*rootless, "data.store_size=60"]))
