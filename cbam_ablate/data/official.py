"""A published data set: where its files are looked for, and how a copy is known to be whole."""

import hashlib
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from cbam_ablate.config.schema import DataConfig
from cbam_ablate.data.arrays import FILES, Arrays, hashes
from cbam_ablate.data.cache import Source, cached, root_source
from cbam_ablate.data.fetch import from_torchvision
from cbam_ablate.errors import DataError
from cbam_ablate.registry import Dataset, find


@dataclass(frozen=True)
class Official:
    """A data set that torchvision downloads.

    `dataset` is torchvision's name, `read` takes a folder in torchvision's layout, in which one of `files`
    must be, or a file with the `suffix`. `sha256` are the decoded arrays' hashes; without them `read` itself
    must know its files. `others` are further sources, `hint` says where else a copy is to be had.
    """

    dataset: str
    files: tuple[str, ...]
    read: Callable[[Path], Arrays]
    sha256: dict[str, str] | None = None
    others: tuple[Source, ...] = ()
    hint: str = ""
    suffix: str | None = None

    def is_file(self, root: Path) -> bool:
        return root.is_file() and root.suffix == self.suffix


def load(data: DataConfig, official: Official) -> Arrays:
    """The arrays from `data.root`, else the cache, else torchvision's download, else the other sources."""
    looked_for = " or ".join([", ".join(official.files[:-1]), official.files[-1]])
    file = f" (or to an {official.suffix} file)" if official.suffix else ""
    advice = (
        f"Put {looked_for} into a folder and set data.root to that folder{file}{official.hint}, "
        "or run `cbam-ablate data` where there is a network."
    )
    sources: list[Source] = [(f"torchvision's download of {official.dataset}", partial(_download, official))]
    sources += official.others
    if data.root is not None:
        root = Path(data.root).expanduser()
        if not any((root / name).exists() for name in official.files) and not official.is_file(root):
            raise DataError(
                f"data.root={data.root}: holds no {looked_for}; name the folder that it is in, or leave "
                "data.root out to download"
            )
        sources = [(root_source(data), partial(official.read, root))]
    return cached(data, sources, partial(_check, data.name, official), advice)


def _download(official: Official) -> Arrays:
    with tempfile.TemporaryDirectory(prefix="cbam_ablate-") as folder:
        from_torchvision(official.dataset, Path(folder))
        return official.read(Path(folder))


def _check(name: str, official: Official, arrays: Arrays) -> None:
    facts = find(Dataset, name)
    shape = (facts.size, facts.size, facts.channels)
    for part, count in (("train", facts.train), ("test", facts.test)):
        images, labels = getattr(arrays, f"{part}_images"), getattr(arrays, f"{part}_labels")
        if images.shape != (count, *shape) or labels.shape != (count,):
            raise ValueError(
                f"{len(labels)} {part} images of shape {images.shape[1:]}, not {count} of {shape}"
            )
        if labels.max() >= facts.classes:
            raise ValueError(f"label {labels.max()} among {facts.classes} classes")
    if official.sha256 is None:
        return
    found = hashes(arrays)
    for file in FILES:
        if found[file] != official.sha256[file]:
            raise ValueError(
                f"sha256 of {file} is {found[file][:12]}..., not {official.sha256[file][:12]}..."
            )


def check_md5(name: str, content: bytes, expected: str) -> None:
    """Raises ValueError where a file is not the official one."""
    found = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if found != expected:
        raise ValueError(f"md5 of {name} is {found}, not {expected}: cut short or not the official file")
