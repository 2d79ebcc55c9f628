"""The files of a folder of images: which class and part each is of, and what is left out. No torch here."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cbam_ablate.data.index import File, stat_of
from cbam_ablate.errors import DataError

EXTENSIONS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
"""The files that torchvision's ImageFolder takes for images."""
PARTS = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing"),
}
"""The parts and what their folders may be called, in any case."""
ANNOTATIONS = "val_annotations.txt"
"""Tiny-ImageNet's list of its validation images' classes."""
FEW = 3


@dataclass
class Scan:
    """Images by class and part (empty where the folder has none), sorted as torchvision sorts them.

    `left_out` are paths that aren't used, by the reason.
    """

    classes: list[str]
    files: list[File] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    parts: list[str] = field(default_factory=list)
    left_out: dict[str, list[str]] = field(default_factory=dict)

    def skip(self, why: str, path: str) -> None:
        self.left_out.setdefault(why, []).append(path)


def scan(root: Path, classes: Sequence[str] | None) -> Scan:
    """Reads names alone. Raises `DataError` where `root` is no folder of images by class."""
    if not root.is_dir():
        what = "is a file" if root.is_file() else "there is no such folder"
        raise DataError(
            f"data.root={root}: {what}; name a folder of one folder a class, or of train/ and test/"
        )
    found = Scan([])
    folders = _folders(root, "", found)
    parts = {part: [name for name in folders if name.lower() in names] for part, names in PARTS.items()}
    for part, names in parts.items():
        if len(names) > 1:
            raise DataError(
                f"data.root={root}: {' and '.join(names)} would both be the {part} part; rename one"
            )
    if parts["train"]:
        for name in folders:
            if not any(name in names for names in parts.values()):
                found.skip("neither train/, val/ nor test/", f"{name}/")
        _read_parts(root, {part: names[0] for part, names in parts.items() if names}, classes, found)
    elif parts["val"] and len(folders) == sum(map(len, parts.values())):
        raise DataError(f"data.root={root}: holds {', '.join(folders)} and no train/; name the folder above")
    elif classes is None and len(folders) > 1 and any(parts.values()):
        named = ", ".join(name for names in parts.values() for name in names)
        raise DataError(
            f"data.root={root}: holds {named} beside the classes and no train/; put the classes into train/, "
            "or say data.classes=[...] where it is one of them"
        )
    else:
        found.classes = _chosen(root, folders, classes, found)
        for label, name in enumerate(found.classes):
            _read_class(root, name, label, "", found)
    return found


def _read_parts(root: Path, parts: Mapping[str, str], classes: Sequence[str] | None, found: Scan) -> None:
    train = parts["train"]
    found.classes = _chosen(root / train, _folders(root / train, train, found), classes, found)
    for label, name in enumerate(found.classes):
        _read_class(root, f"{train}/{name}", label, "train", found)
    for part, folder in parts.items():
        if part == "train":
            continue
        if (root / folder / ANNOTATIONS).is_file():
            _read_annotated(root, folder, part, found)
            continue
        names = _folders(root / folder, folder, found)
        if part == "test" and not set(names) & set(found.classes):
            found.skip("without labels", f"{folder}/")
            continue
        wanted = set(found.classes)
        theirs = {name for name in names if classes is None or name in wanted}
        if theirs != wanted:
            sides = [
                f"only {where}/ has {', '.join(sorted(alone)[:FEW])}{', ...' * (len(alone) > FEW)}"
                for where, alone in ((train, wanted - theirs), (folder, theirs - wanted))
                if alone
            ]
            raise DataError(
                f"data.root={root}: {' and '.join(sides)}; both need the same folders, one a class"
            )
        for label, name in enumerate(found.classes):
            _read_class(root, f"{folder}/{name}", label, part, found)


def _chosen(folder: Path, names: list[str], classes: Sequence[str] | None, found: Scan) -> list[str]:
    """The classes, in order. Raises `DataError` where they are fewer than two."""
    if classes is not None:
        missing = [name for name in classes if name not in names]
        if missing or len(set(classes)) < len(classes):
            what = f"no folder {', '.join(missing[:FEW])}" if missing else "a class is named twice"
            raise DataError(f"data.classes=[{','.join(classes)}]: {what} in {folder}; it has {_few(names)}")
        for name in sorted(set(names) - set(classes)):
            found.skip("not in data.classes", f"{name}/")
        names = list(classes)
    if len(names) < 2:
        inside = f"; if the classes are in {folder / names[0]}, name that" if names else ""
        count = f"one folder ({names[0]})" if names else "no folders"
        raise DataError(
            f"data.root={folder}: holds {count}, and it takes one folder a class, at least two{inside}"
        )
    return names


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:10]) + ", ..." * (len(names) > 10)


def _folders(folder: Path, below: str, found: Scan) -> list[str]:
    """The visible folders in a folder, by name; what else is there is left out."""
    names = []
    with os.scandir(folder) as every:
        for entry in sorted(every, key=lambda entry: entry.name):
            path = f"{below}/{entry.name}" if below else entry.name
            if entry.name.startswith("."):
                found.skip("hidden", path)
            elif entry.is_dir():
                names.append(entry.name)
            elif entry.name != ANNOTATIONS:
                found.skip("in no class's folder", path)
    return names


def _read_class(root: Path, folder: str, label: int, part: str, found: Scan) -> None:
    """All images below a class's folder, links followed. Raises `DataError` where there is none."""
    count = len(found.files)
    for file in _walk(root, folder, found):
        found.files.append(file)
        found.labels.append(label)
        found.parts.append(part)
    if len(found.files) == count:
        raise DataError(
            f"data.root={root}: {folder}/ holds no image ({' '.join(EXTENSIONS)}); fill it or take it away"
        )


def _walk(root: Path, top: str, found: Scan) -> Iterator[File]:
    stack, seen = [top], set()
    listed: list[tuple[str, File]] = []
    while stack:
        folder = stack.pop()
        real = os.path.realpath(root / folder)
        if real in seen:  # a link that leads back up
            continue
        seen.add(real)
        with os.scandir(root / folder) as every:
            for entry in every:
                path = f"{folder}/{entry.name}"
                if entry.name.startswith("."):
                    found.skip("hidden", path)
                elif entry.is_dir():
                    stack.append(path)
                elif not entry.name.lower().endswith(EXTENSIONS):
                    found.skip("no image by its name", path)
                else:
                    try:
                        listed.append((folder, stat_of(path, entry.stat())))
                    except OSError:
                        found.skip("a link to nothing", path)
    for _, file in sorted(listed, key=lambda one: (one[0], one[1].path)):
        yield file


def _read_annotated(root: Path, folder: str, part: str, found: Scan) -> None:
    """Tiny-ImageNet's validation images: a line has a file's name, its class and a box."""
    numbers = {name: label for label, name in enumerate(found.classes)}
    count = len(found.files)
    for number, line in enumerate((root / folder / ANNOTATIONS).read_text().splitlines(), 1):
        name, _, rest = line.partition("\t")
        label = rest.partition("\t")[0].strip()
        path = f"{folder}/images/{name}"
        if label not in numbers:
            found.skip("of a class that isn't trained on", path)
            continue
        try:
            file = stat_of(path, os.stat(root / path))
        except OSError as error:
            raise DataError(f"data.root={root}: {folder}/{ANNOTATIONS}, line {number}: no {path}") from error
        found.files.append(file)
        found.labels.append(numbers[label])
        found.parts.append(part)
    absent = set(numbers.values()) - set(found.labels[count:])
    if absent:
        names = [found.classes[label] for label in sorted(absent)]
        raise DataError(f"data.root={root}: {folder}/{ANNOTATIONS} names no image of {_few(names)}")
