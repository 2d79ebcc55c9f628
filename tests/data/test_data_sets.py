import dataclasses
import gzip
import re
import shutil
import struct

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import savemat

from cbam_ablate.data import DataError, batches, imagefolder, mnist, svhn
from cbam_ablate.data.feed import Feed
from cbam_ablate.data.loader import load_arrays, load_splits, prepare
from cbam_ablate.data.moments import by_channel, mean_image, moments
from cbam_ablate.torchvision_shim import import_torchvision
from tests.composed import composed

import_torchvision()
from torchvision import datasets, transforms  # noqa: E402

CPU = torch.device("cpu")


def idx(array):
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


@pytest.fixture
def fashion(tmp_path, small, monkeypatch):
    """A small Fashion-MNIST in torchvision's own layout."""
    small("fashion_mnist")
    monkeypatch.setattr(mnist, "FASHION_MNIST", dataclasses.replace(mnist.FASHION_MNIST, sha256=None))
    draw = np.random.default_rng(0)
    folder = tmp_path / "root" / "FashionMNIST" / "raw"
    folder.mkdir(parents=True)
    for part, count in (("train", 100), ("t10k", 20)):
        images = draw.integers(0, 256, (count, 28, 28), np.uint8)
        (folder / f"{part}-images-idx3-ubyte").write_bytes(idx(images))
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(idx(draw.integers(0, 10, count, np.uint8)))
    return folder


def test_fashion_mnist_is_read_as_torchvision_reads_it(fashion, config):
    theirs = datasets.FashionMNIST(fashion.parents[1], train=True)
    ours = load_arrays(config("fashion_mnist", root=str(fashion.parents[1])))
    assert np.array_equal(ours.train_images[..., 0], theirs.data.numpy())
    assert ours.train_labels.tolist() == theirs.targets.tolist()
    assert ours.test_images.shape == (20, 28, 28, 1)


def test_fashion_mnist_is_read_from_the_compressed_files_of_a_plain_folder(fashion, config, tmp_path):
    plain = tmp_path / "plain"
    plain.mkdir()
    for path in fashion.iterdir():
        (plain / f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
    first = load_arrays(config("fashion_mnist", root=str(fashion.parents[1])))
    second = load_arrays(config("fashion_mnist", root=str(plain)))
    assert first.digests == second.digests
    assert first.source != second.source


@pytest.mark.parametrize("kept", [0, 3, 10, 500], ids=str)
def test_an_idx_file_cut_short_is_refused(fashion, config, kept):
    path = fashion / "train-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(DataError, match="train-images-idx3-ubyte is cut short"):
        load_arrays(config("fashion_mnist", root=str(fashion.parents[1])))


def test_a_compressed_file_cut_short_is_refused(fashion, config):
    path = fashion / "t10k-images-idx3-ubyte"
    path.with_suffix(".gz").write_bytes(gzip.compress(path.read_bytes())[:-100])
    path.unlink()
    with pytest.raises(DataError, match="t10k-images-idx3-ubyte is cut short"):
        load_arrays(config("fashion_mnist", root=str(fashion.parents[1])))


def test_grey_images_make_batches_of_one_channel(fashion, config):
    words = ["data=fashion_mnist", "train.batch_size=8", "augment.mixup=1", "data.val_size=20"]
    cfg = composed(words)
    cfg.data = config("fashion_mnist", root=str(fashion.parents[1]))
    images, labels = next(Feed(cfg, load_splits(cfg, CPU), torch.float32).train(0, 0))
    assert images.shape == (8, 1, 28, 28)
    assert labels.shape == (8, 10)


@pytest.fixture
def house_numbers(tmp_path, small, monkeypatch):
    small("svhn")
    draw = np.random.default_rng(0)
    root = tmp_path / "root"
    root.mkdir()
    for name, count in (("train_32x32.mat", 100), ("test_32x32.mat", 20)):
        pixels = draw.integers(0, 256, (32, 32, 3, count), np.uint8)
        savemat(root / name, {"X": pixels, "y": draw.integers(1, 11, (count, 1), np.uint8)})
    return root


def known(root, monkeypatch):
    """Makes torchvision and us take these files for the official ones."""
    import hashlib

    md5 = {name: hashlib.md5((root / name).read_bytes()).hexdigest() for name in svhn.MD5}
    monkeypatch.setattr(svhn, "MD5", md5)
    parts = {part: ["", f"{part}_32x32.mat", md5[f"{part}_32x32.mat"]] for part in ("train", "test")}
    monkeypatch.setattr(datasets.SVHN, "split_list", parts)


def test_svhn_is_read_as_torchvision_reads_it(house_numbers, monkeypatch, config):
    known(house_numbers, monkeypatch)
    theirs = datasets.SVHN(house_numbers, split="train")
    ours = load_arrays(config("svhn", root=str(house_numbers)))
    assert np.array_equal(ours.train_images, theirs.data.transpose(0, 2, 3, 1))
    assert ours.train_labels.tolist() == theirs.labels.tolist()
    assert 0 in ours.train_labels


def test_svhn_files_that_are_not_the_official_ones_are_refused(house_numbers, config):
    with pytest.raises(DataError, match=r"md5 of train_32x32\.mat"):
        load_arrays(config("svhn", root=str(house_numbers)))


@pytest.fixture
def tree(tmp_path, small):
    """A small tree of images of many shapes and modes: 3 classes, 4 to train on and 2 to test each."""
    small("imagenet", train=12, test=6, classes=3, size=56)
    draw = np.random.default_rng(0)
    root = tmp_path / "tree"
    for folder, count in (("train", 4), ("val", 2)):
        for label in ("b_bird", "a_ant", "c_cat"):
            (root / folder / label).mkdir(parents=True)
            for number in range(count):
                height, width = (int(side) for side in draw.integers(40, 130, 2))
                pixels = draw.integers(0, 256, (height, width, 3), np.uint8)
                picture = Image.fromarray(pixels).convert(("RGB", "L", "P", "CMYK")[number % 4])
                kind = "png" if number % 4 == 2 else "jpeg"
                picture.save(root / folder / label / f"{number}.{kind}")
    return root


def test_an_image_is_decoded_as_torchvisions_evaluation_recipe_has_it(tree):
    recipe = transforms.Compose([transforms.Resize(256), transforms.CenterCrop(224)])
    for path in sorted(tree.rglob("*.*")):
        with Image.open(path) as picture:
            expected = np.asarray(recipe(picture.convert("RGB")))
        assert np.array_equal(imagefolder.load_image(str(path), 224), expected)


def test_a_tree_is_read_as_torchvision_reads_it(tree, config):
    theirs = datasets.ImageFolder(tree / "train").samples
    ours = load_arrays(config("imagenet", root=str(tree)))
    assert ours.train_labels.tolist() == [label for _, label in theirs]
    for (path, _), image in zip(theirs, ours.train_images, strict=True):
        assert np.array_equal(image, imagefolder.load_image(path, 56))
    assert len(ours.test_images) == 6


def test_a_tree_is_decoded_once_and_then_not_needed(tree, config, monkeypatch):
    first = load_arrays(config("imagenet", root=str(tree)))
    monkeypatch.setattr(imagefolder, "decode_each", lambda *_: pytest.fail("decoded again"))
    assert load_arrays(config("imagenet", root=str(tree))).digests == first.digests
    assert load_arrays(config("imagenet")).digests == first.digests


def test_images_moved_between_classes_are_noticed(tree, config, caplog):
    first = load_arrays(config("imagenet", root=str(tree)))
    for one, other in (("a_ant", "b_bird"), ("b_bird", "a_ant")):
        (tree / "train" / one / "0.jpeg").rename(tree / "train" / other / "9.jpeg")
    moved = load_arrays(config("imagenet", root=str(tree)))
    assert moved.digests != first.digests
    assert "changed since they were decoded" in caplog.text
    images = [np.array(arrays.train_images) for arrays in (first, moved)]
    assert not np.array_equal(*images)


def test_a_tree_whose_cache_was_cut_short_is_decoded_again(tree, config, tmp_path):
    first = np.array(load_arrays(config("imagenet", root=str(tree))).test_images)
    path = tmp_path / "cache" / "imagenet" / "test_images.npy"
    path.write_bytes(path.read_bytes()[:-1])
    assert np.array_equal(load_arrays(config("imagenet", root=str(tree))).test_images, first)


def test_a_tree_of_more_images_than_the_cache_has_is_decoded_again(tree, config, small):
    load_arrays(config("imagenet", root=str(tree)))
    for part in ("train", "val"):
        shutil.copy(tree / part / "a_ant" / "0.jpeg", tree / part / "a_ant" / "more.jpeg")
    small("imagenet", train=13, test=7, classes=3, size=48)
    assert load_arrays(config("imagenet", root=str(tree))).train_images.shape == (13, 48, 48, 3)


def test_a_tree_needs_a_root(config):
    with pytest.raises(DataError, match=r"data\.root=null: imagenet can't be downloaded"):
        load_arrays(config("imagenet"))


def harm_class(tree):
    for path in (tree / "val" / "c_cat").iterdir():
        path.unlink()
    (tree / "val" / "c_cat").rmdir()


def harm_name(tree):
    (tree / "val" / "c_cat").rename(tree / "val" / "A_cat")


def harm_count(tree):
    (tree / "train" / "c_cat" / "0.jpeg").unlink()


def harm_image(tree):
    path = tree / "train" / "c_cat" / "0.jpeg"
    path.write_bytes(path.read_bytes()[:200])


def harm_folder(tree):
    (tree / "val").rename(tree / "test")


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (harm_class, "val/ has 2 folders; imagenet has 3 classes"),
        (harm_name, "only train/ has c_cat and only val/ has A_cat; both need the same folders"),
        (harm_count, "train/ has 11 images; imagenet has 12"),
        (harm_image, r"c_cat/0\.jpeg: not a whole image"),
        (harm_folder, "val/ can't be used"),
    ],
)
def test_a_tree_that_is_not_whole_is_refused_and_leaves_no_cache(tree, config, tmp_path, harm, said):
    harm(tree)
    with pytest.raises(DataError, match=said):
        load_arrays(config("imagenet", root=str(tree)))
    assert not (tmp_path / "cache" / "imagenet").exists()


def test_a_disk_without_room_is_said_before_decoding(tree, config, monkeypatch):
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr("shutil.disk_usage", lambda folder: usage)
    monkeypatch.setattr(imagefolder, "decode_each", lambda *_: pytest.fail("decoded"))
    with pytest.raises(DataError, match=r"data\.cache=.*are free"):
        load_arrays(config("imagenet", root=str(tree)))


def test_channel_moments_equal_a_plain_computation():
    images = np.random.default_rng(0).integers(0, 200, (3000, 5, 6, 3), np.uint8)
    mean, std = by_channel(images)
    assert np.allclose(mean, images.reshape(-1, 3).mean(0), rtol=1e-6)
    assert np.allclose(std, images.reshape(-1, 3).std(0), rtol=1e-6)
    assert np.allclose(mean_image(images), images.mean(0), rtol=1e-6)


def test_normalising_by_pixel_subtracts_the_mean_image():
    cfg = composed(["data=synthetic", "data.normalize=pixel"])
    arrays = load_arrays(cfg.data)
    mean, std = moments(cfg.data, arrays)
    assert mean.shape == (32, 32, 3)
    assert torch.equal(std, by_channel(arrays.train_images)[1])
    normalise = batches.Normalise(mean, std, (32, 32, 3), torch.float32)
    assert normalise(torch.from_numpy(arrays.train_images)).mean(0).abs().max() < 1e-4


def test_what_is_said_of_a_data_set_names_source_split_cache_and_hash(tree, config, tmp_path):
    cfg = composed(["data=synthetic"])
    cfg.data = config("imagenet", root=str(tree))
    cfg.data.val_size = 3
    said = prepare(cfg, verify=True)
    assert said["source"] == f"data.root={tree}"
    assert said["images"] == "12 training, 6 test"
    assert said["split"] == "9 to train on, 3 for validation"
    assert said["cache"] == tmp_path / "cache" / "imagenet"
    assert re.fullmatch(r"[0-9a-f]{64} \(of the list of files; sizes verified\)", said["sha256"])
    assert prepare(composed(["data=synthetic"]), verify=True)["sha256"].endswith("(verified)")


@pytest.mark.parametrize("name", ["cifar10", "cifar100", "fashion_mnist", "svhn", "imagenet", "synthetic"])
def test_every_data_set_has_a_group_choice_that_is_legal(name):
    assert composed([f"data={name}"]).data.name == name


@pytest.mark.parametrize("name", ["none", "standard", "rotate_shift", "erasing", "mixup", "cutmix"])
def test_every_augmentation_of_the_group_makes_finite_batches(name):
    cfg = composed(["data=synthetic", f"augment={name}", "train.batch_size=64"])
    for images, _ in Feed(cfg, load_splits(cfg, CPU), torch.float32).train(0, 0):
        assert images.isfinite().all()
        assert 0.5 < images.std() < 1.5
