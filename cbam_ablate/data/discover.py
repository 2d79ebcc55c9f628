"""What a folder or file of images holds, found without decoding: classes, parts, channels. No torch here."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from platformdirs import user_cache_path

from cbam_ablate.config.schema import DataConfig
from cbam_ablate.data.given import Given, checked, of_archive, of_function
from cbam_ablate.data.index import Entry, entries
from cbam_ablate.data.parts import TEST, VAL, Rows, divide, groups_of
from cbam_ablate.data.scan import scan
from cbam_ablate.errors import DataError
from cbam_ablate.registry import Dataset, find

EVALUATED = 256 / 224
"""The short side that images are stored at, in parts of the size that is cut out of them."""
LARGEST = 1024
"""The most that `data.size` may be."""
LISTED = 20


@dataclass(frozen=True, eq=False)
class Discovered:
    """Images (N,) by path below the root, with labels, the part each is given for (or empty) and its size.

    `shapes` (N, 2): height and width after turning, pixels. `notes` are what a user should know of them.
    """

    root: Path
    classes: list[str]
    paths: list[str]
    labels: NDArray[np.int64]
    given: NDArray[np.str_]
    shapes: NDArray[np.int64]
    channels: int
    content: str
    notes: list[str] = field(default_factory=list)
    arrays: Mapping[str, Given] | None = None


_known: dict[tuple[Any, ...], Discovered] = {}
"""What this process found, by content, root and how it is read."""


def folder_of(data: DataConfig) -> Path:
    """Where what is known of one's own images is kept."""
    base = Path(data.cache).expanduser() if data.cache is not None else user_cache_path("cbam_ablate")
    return base / "own"


def resolved(data: DataConfig) -> DataConfig:
    """The options with what the files say: classes, channels, sizes, fractions and the content's hash.

    Raises `DataError` where they are no images, or others than `data.content` says.
    """
    found = look(data)
    size = data.size
    if found.arrays is not None:
        return _of_arrays(found, data)
    if size is None:
        raise DataError(
            f"data.size=null: data={data.name} needs it: the side of the images that the network sees"
        )
    store = data.store_size
    if store is None and size <= LARGEST:
        store = size if (found.shapes == size).all() else round(EVALUATED * size)
    if store is not None and store < size:
        raise DataError(
            f"data.store_size={store}: at least data.size={size}, which is cut out of what is stored"
        )
    return replace(
        data,
        size=size,
        store_size=store,
        classes=list(found.classes),
        channels=data.channels or found.channels,
        content=found.content,
        **_fractions(found, data),
    )


def _of_arrays(found: Discovered, data: DataConfig) -> DataConfig:
    side = int(found.shapes[0].min())
    if data.size is not None and data.size > side:
        raise DataError(f"data.size={data.size}: at most {side}, the images' side")
    if data.channels not in (None, found.channels):
        raise DataError(f"data.channels={data.channels}: the images have {found.channels}; leave it out")
    return replace(
        data,
        size=data.size or side,
        classes=list(found.classes),
        channels=found.channels,
        content=found.content,
        **_fractions(found, data),
    )


def _fractions(found: Discovered, data: DataConfig) -> dict[str, Any]:
    """What is split off for validation and to test, where the data set has no such part of its own."""
    parts = set(_given(found, data).tolist())
    fractions: dict[str, Any] = {}
    for part, usual in (("val", VAL), ("test", TEST)):
        asked = getattr(data, f"{part}_fraction")
        if part in parts and asked is not None:
            raise DataError(
                f"data.{part}_fraction={asked:g}: {data.root or data.name} has a {part} part of its own; "
                "leave it out"
            )
        fractions[f"{part}_fraction"] = None if part in parts else asked or usual
    return fractions


def look(data: DataConfig) -> Discovered:
    """What there is now. Raises `DataError` as `resolved` does."""
    root = Path(data.root or "").expanduser()
    row = find(Dataset, data.name)
    if row.target:
        found = _arrays(root, data, *of_function(data))
    elif data.name == "npz":
        found = _arrays(root, data, *of_archive(data))
    else:
        found = _folder(root, data)
    named = f"data.name={data.name}" if row.target else f"data.root={data.root}"
    if data.content is not None and found.content != data.content:
        raise DataError(
            f"{named}: its images are others than when the run was planned (content "
            f"{found.content[:8]}, not {data.content[:8]}); put them back, or plan anew: changed images are "
            "another data set"
        )
    _known[_key(replace(data, content=found.content))] = found
    return found


def known(data: DataConfig) -> Discovered:
    """What this process has found of these images before, else what there is now."""
    return _known.get(_key(data)) or look(data)


def _key(data: DataConfig) -> tuple[Any, ...]:
    return data.content, data.name, data.root, data.exif


def rows_of(found: Discovered, data: DataConfig) -> Rows:
    """The parts of the images that were found."""
    groups = None if data.group is None else groups_of(data.group, found.paths)
    return divide(found.labels, _given(found, data), found.classes, groups, data)


def counts(data: DataConfig) -> tuple[int, int, int]:
    """Images to train on, for validation and to test."""
    of_parts = (data.val_fraction, data.test_fraction, data.val_as, data.group, data.split_seed)
    return _counts(known(data), data, repr(of_parts))


_counted: dict[tuple[str, str], tuple[int, int, int]] = {}


def _counts(found: Discovered, data: DataConfig, parts: str) -> tuple[int, int, int]:
    key = found.content, parts
    if key not in _counted:
        rows = rows_of(found, data)
        _counted[key] = (len(rows["train"]), len(rows["val"]), len(rows["test"]))
    return _counted[key]


def tested_on_val(data: DataConfig) -> bool:
    """Whether val/ is what is tested on, as there is no test/."""
    return _val_is_test(known(data), data) and "val" in known(data).given


def _val_is_test(found: Discovered, data: DataConfig) -> bool:
    return "test" not in found.given and data.val_as == "test"


def _given(found: Discovered, data: DataConfig) -> NDArray[np.str_]:
    """The part that each image (N,) is given for: where there is no test/, val/ may be that."""
    return np.where(found.given == "val", "test", found.given) if _val_is_test(found, data) else found.given


def _folder(root: Path, data: DataConfig) -> Discovered:
    listed = scan(root, data.classes)
    place = hashlib.sha256(str(root.resolve()).encode()).hexdigest()[:12]
    every = entries(root, listed.files, folder_of(data) / f"{root.resolve().name}-{place}.index.npz")
    paths = [file.path for file in listed.files]
    refuse_damaged(
        root, [(path, entry.problem) for path, entry in zip(paths, every, strict=True) if entry.problem]
    )
    sizes = np.array([(entry.height, entry.width) for entry in every], dtype=np.int64)
    turned = np.array([entry.orientation for entry in every])
    if data.exif:
        sizes = np.where((turned >= 5)[:, None], sizes[:, ::-1], sizes)
    digest = hashlib.sha256("\0".join(listed.classes).encode("utf-8", "surrogateescape"))
    for path, label, entry in zip(paths, listed.labels, every, strict=True):
        digest.update(f"\n{path}\t{label}\t{entry.digest}".encode("utf-8", "surrogateescape"))
    return Discovered(
        root=root,
        classes=listed.classes,
        paths=paths,
        labels=np.array(listed.labels, dtype=np.int64),
        given=np.array(listed.parts),
        shapes=sizes,
        channels=1 if all(entry.grey for entry in every) else 3,
        content=digest.hexdigest()[:32],
        notes=[*_left_out(listed.left_out), *_about(paths, listed.parts, every, turned, data)],
    )


def _arrays(root: Path, data: DataConfig, parts: Mapping[str, Given], content: str) -> Discovered:
    named = f"data.root={data.root}" if data.name == "npz" else f"data={data.name}"
    classes, labels, shapes, channels = checked(parts, named)
    if data.classes is not None:
        if len(data.classes) != len(classes):
            raise DataError(
                f"data.classes=[{','.join(data.classes)}]: {len(data.classes)} names, {len(classes)} classes"
            )
        classes = list(data.classes)
    given = np.concatenate([np.full(one.shape[0], part) for part, one in parts.items()])
    paths = [f"{part}/{place}" for part, one in parts.items() for place in range(one.shape[0])]
    return Discovered(
        root=root,
        classes=classes,
        paths=paths,
        labels=labels,
        given=given,
        shapes=shapes,
        channels=channels,
        content=content,
        arrays=parts,
    )


def refuse_damaged(root: Path, problems: Sequence[tuple[str, str]]) -> None:
    """Raises one `DataError` that names the files and what is wrong with each."""
    if problems:
        more = f"\n  and {len(problems) - LISTED} more" if len(problems) > LISTED else ""
        lines = "".join(f"\n  {path}: {why}" for path, why in problems[:LISTED])
        count = f"{len(problems)} files are" if len(problems) > 1 else "a file is"
        raise DataError(f"data.root={root}: {count} not a whole image; replace or take away:{lines}{more}")


def _left_out(reasons: dict[str, list[str]]) -> list[str]:
    return [
        f"{len(paths)} left out ({why}): {', '.join(paths[:3])}{', ...' * (len(paths) > 3)}"
        for why, paths in reasons.items()
    ]


def _about(
    paths: Sequence[str],
    parts: Sequence[str],
    every: Sequence[Entry],
    turned: NDArray[np.int64],
    data: DataConfig,
) -> list[str]:
    notes = []
    if (turned > 1).any():
        many = int((turned > 1).sum())
        done = "turned by it" if data.exif else "shown as stored; data.exif=true turns them"
        notes.append(f"{many} with an EXIF orientation, {done}")
    first: dict[str, int] = {}
    twice = []
    for place, entry in enumerate(every):
        other = first.setdefault(entry.digest, place)
        if other != place:
            twice.append((other, place))
    if twice:
        across = sum(parts[one] != parts[other] for one, other in twice)
        where = f", {across} of them in two parts" if across else ""
        one, other = twice[0]
        notes.append(f"{len(twice)} copies of another file{where}: {paths[one]} and {paths[other]}")
    return notes
