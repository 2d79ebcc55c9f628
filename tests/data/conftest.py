"""Small stand-ins for published data sets, in their official layouts."""

import dataclasses
import io
import pickle
import tarfile

import numpy as np
import pytest

from cbam_ablate.config.schema import DataConfig
from cbam_ablate.data import DATASETS, cifar
from tests.composed import composed
from tests.data.folders import fill

TRAIN, TEST = 100, 20


class NumPy1Pickler(pickle.Pickler):
    """Writes arrays as NumPy 1 under Python 2 did, who wrote the official files."""

    def reducer_override(self, value):
        if isinstance(value, np.dtype):
            return np.dtype, (value.str[1:], 0, 1), (3, value.str[0], None, None, None, -1, -1, 0)
        return NotImplemented


def pickled(content) -> bytes:
    file = io.BytesIO()
    NumPy1Pickler(file, protocol=2).dump(content)
    return file.getvalue().replace(b"cnumpy._core.", b"cnumpy.core.")


def archive_of(path, folder, files):
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(f"{folder}/{name}")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))


@pytest.fixture(name="archive_of")
def archive_writer():
    """Writes a tar.gz of files in one folder."""
    return archive_of


@pytest.fixture
def small(monkeypatch):
    """Makes a known data set small and its official hashes unknown."""

    def shrink(name, train=TRAIN, test=TEST, **changes):
        facts = dataclasses.replace(DATASETS[name], train=train, test=test, **changes)
        monkeypatch.setitem(DATASETS, name, facts)
        layout = {"cifar10": "CIFAR10", "cifar100": "CIFAR100"}.get(name)
        if layout is not None:
            unknown = dataclasses.replace(getattr(cifar, layout), md5=None, sha256=None, records=None)
            monkeypatch.setattr(cifar, layout, unknown)

    return shrink


@pytest.fixture
def cifar_archive():
    """Writes a small archive in the official layout into a folder and returns its batches."""

    def write(folder, layout):
        draw = np.random.default_rng(0)
        classes = 100 if layout.dataset == "CIFAR100" else 10
        batches = {}
        for names, total in ((layout.train, TRAIN), (layout.test, TEST)):
            for name in names:
                count = total // len(names)
                pixels = draw.integers(0, 256, (count, 3072), dtype=np.uint8)
                labels = [int(label) for label in draw.integers(0, classes, count)]
                batches[name] = {"data": pixels, layout.labels: labels}
        folder.mkdir(parents=True, exist_ok=True)
        files = {name: pickled(batch) for name, batch in batches.items()}
        archive_of(folder / layout.archive, layout.folder, files)
        return batches

    return write


@pytest.fixture
def config(tmp_path):
    """A data config whose cache is the test's own."""

    def make(name="cifar10", **options):
        return DataConfig(name=name, val_size=20, cache=str(tmp_path / "cache"), **options)

    return make


@pytest.fixture
def pics(tmp_path):
    """Ten images of each of three classes; files of patients 0 to 4, two each."""
    return fill(tmp_path / "pics", 10)


@pytest.fixture
def of(tmp_path):
    """The config of a folder, with a cache of the test's own."""

    def make(root, *words, size=32):
        base = ["data=folder", f"data.root={root}", f"data.size={size}", f"data.cache={tmp_path / 'cache'}"]
        return composed([*base, "train.batch_size=4", *words])

    return make
