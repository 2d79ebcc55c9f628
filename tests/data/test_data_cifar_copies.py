"""CIFAR from the binary version and NumPy archives: the official images by hash, or refused."""

import dataclasses
import hashlib
import tarfile

import numpy as np
import pytest

from cbam_ablate.data import DataError, cifar
from cbam_ablate.data.arrays import hashes
from cbam_ablate.data.cifar import CIFAR10, CIFAR100
from cbam_ablate.data.cifar_copies import COARSE
from cbam_ablate.data.loader import load_arrays

SUPERCLASSES = """
beaver dolphin otter seal whale
aquarium_fish flatfish ray shark trout
orchid poppy rose sunflower tulip
bottle bowl can cup plate
apple mushroom orange pear sweet_pepper
clock keyboard lamp telephone television
bed chair couch table wardrobe
bee beetle butterfly caterpillar cockroach
bear leopard lion tiger wolf
bridge castle house road skyscraper
cloud forest mountain plain sea
camel cattle chimpanzee elephant kangaroo
fox porcupine possum raccoon skunk
crab lobster snail spider worm
baby boy girl man woman
crocodile dinosaur lizard snake turtle
hamster mouse rabbit shrew squirrel
maple_tree oak_tree palm_tree pine_tree willow_tree
bicycle bus motorcycle pickup_truck train
lawn_mower rocket streetcar tank tractor
"""


def written(batch, layout):
    """A batch in the binary version."""
    fine = np.array(batch[layout.labels], dtype=np.uint8)
    heads = [np.array(COARSE, dtype=np.uint8)[fine], fine] if layout is CIFAR100 else [fine]
    return np.concatenate([*(head[:, None] for head in heads), batch["data"]], 1).tobytes()


@pytest.fixture
def copies(tmp_path, small, cifar_archive, monkeypatch):
    """Makes a folder's small archive the official one and gives its batches and binary files."""

    def make(layout):
        batches = cifar_archive(tmp_path / "root", layout)
        small(layout.dataset.lower())
        files = {f"{name}.bin": written(batch, layout) for name, batch in batches.items()}
        if layout is CIFAR100:
            known = {name[:-4]: hashlib.sha256(content).hexdigest() for name, content in files.items()}
            official = dataclasses.replace(cifar.CIFAR100, md5=CIFAR100.md5, records=known)
            monkeypatch.setattr(cifar, "CIFAR100", official)
        return batches, files

    return make


def arrays_of(batches, names, layout):
    pixels = np.concatenate([batches[name]["data"] for name in names])
    labels = np.concatenate([batches[name][layout.labels] for name in names])
    return pixels.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), labels


def test_each_class_of_cifar100_has_its_superclass():
    groups = [line.split() for line in SUPERCLASSES.split("\n")[1:-1]]
    classes = sorted((name, number) for number, group in enumerate(groups) for name in group)
    assert [number for _, number in classes] == list(COARSE)


@pytest.mark.parametrize("layout", [CIFAR10, CIFAR100], ids=["cifar10", "cifar100"])
@pytest.mark.parametrize("form", ["archive", "folder", "files", "npz"])
def test_another_form_of_the_official_images_is_taken(tmp_path, copies, archive_of, config, layout, form):
    batches, files = copies(layout)
    root = tmp_path / "copy"
    root.mkdir()
    if form == "npz":
        root /= "cifar.npz"
        x_train, y_train = arrays_of(batches, layout.train, layout)
        x_test, y_test = arrays_of(batches, layout.test, layout)
        np.savez(root, x_train=x_train, y_train=y_train[:, None], x_test=x_test, y_test=y_test[:, None])
    else:
        archive_of(root / layout.binary[1], layout.binary[0], files)
        if form != "archive":
            with tarfile.open(root / layout.binary[1]) as archive:
                archive.extractall(root, filter="data")
            (root / layout.binary[1]).unlink()
            root = root / layout.binary[0] if form == "files" else root
    found = load_arrays(config(layout.dataset.lower(), root=str(root)))
    images, labels = arrays_of(batches, layout.train, layout)
    assert np.array_equal(found.train_images, images)
    assert np.array_equal(found.train_labels, labels)


def test_pickles_written_anew_are_taken_where_they_hold_the_official_images(tmp_path, copies, config):
    batches, _ = copies(CIFAR100)
    found = load_arrays(config("cifar100", root=str(tmp_path / "root")))
    assert np.array_equal(found.test_labels, batches["test"]["fine_labels"])


@pytest.mark.parametrize("form", ["binary", "npz"])
def test_one_pixel_changed_is_another_data_set(tmp_path, copies, config, form):
    batches, files = copies(CIFAR100)
    batches["test"]["data"][3, 7] ^= 1
    if form == "npz":
        root = tmp_path / "cifar.npz"
        x_train, y_train = arrays_of(batches, ["train"], CIFAR100)
        x_test, y_test = arrays_of(batches, ["test"], CIFAR100)
        np.savez(root, x_train=x_train, y_train=y_train, x_test=x_test, y_test=y_test)
    else:
        root = tmp_path / "binary"
        root.mkdir()
        (root / "train.bin").write_bytes(files["train.bin"])
        (root / "test.bin").write_bytes(written(batches["test"], CIFAR100))
    with pytest.raises(DataError, match=r"(?s)test images in their order.*not the official.*data=folder"):
        load_arrays(config("cifar100", root=str(root)))


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"x": np.zeros(3)}, "it takes train_images"),
        ({"x_train": np.zeros((2, 32, 32, 3), np.uint8), "y_train": np.zeros(2, np.uint8)}, "no test images"),
        (
            dict.fromkeys(("x_train", "x_test", "y_train", "y_test"), np.zeros((2, 3))),
            "other numbers than bytes",
        ),
    ],
    ids=["other names", "no test", "fractions"],
)
def test_an_archive_of_other_arrays_is_refused(tmp_path, config, arrays, words):
    np.savez(tmp_path / "cifar.npz", **arrays)
    with pytest.raises(DataError, match=words):
        load_arrays(config("cifar100", root=str(tmp_path / "cifar.npz")))


def test_a_binary_file_cut_short_is_refused(tmp_path, copies, config):
    _, files = copies(CIFAR10)
    root = tmp_path / "binary"
    root.mkdir()
    for name, content in files.items():
        (root / name).write_bytes(content[:-1])
    with pytest.raises(DataError, match=r"data_batch_1\.bin has .* no multiple of 3073"):
        load_arrays(config(root=str(root)))


PUBLISHED = {  # sha1 of the binary version's files, as Apache MXNet's loader has them
    "data_batch_1.bin": "aadd24acce27caa71bf4b10992e9e7b2d74c2540",
    "test_batch.bin": "67eb016db431130d61cd03c7ad570b013799c88c",
}


@pytest.mark.slow
def test_the_order_of_the_binary_version_is_that_of_the_pickles(config):
    try:
        found = load_arrays(dataclasses.replace(config(), cache=None))
    except DataError as error:
        pytest.skip(f"needs CIFAR-10: {error}")
    assert hashes(found) == CIFAR10.sha256
    for name, part in (("data_batch_1.bin", "train"), ("test_batch.bin", "test")):
        images, labels = getattr(found, f"{part}_images")[:10_000], getattr(found, f"{part}_labels")[:10_000]
        pixels = images.transpose(0, 3, 1, 2).reshape(10_000, -1)
        records = np.concatenate([labels[:, None], pixels], 1)
        assert hashlib.sha1(records.tobytes()).hexdigest() == PUBLISHED[name]
