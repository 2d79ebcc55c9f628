"""Which images of one's own are trained on, choose the epoch and are tested with. No torch here."""

import re
from collections.abc import Sequence
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray

from cbam_ablate.config.schema import DataConfig
from cbam_ablate.data.split import SPLIT_SEED
from cbam_ablate.errors import DataError

TEST, VAL = 0.2, 0.1
"""The fractions of all images to test with, and of the others for validation, where none are given."""
Rows = dict[str, NDArray[np.int64]]
"""Rising indices of the images (N,) by part: train, val and test, which share none."""
FEW = 3


def groups_of(pattern: str, paths: Sequence[str]) -> list[str]:
    """What files have in common by `data.group`: its match in their names, or the match's first group.

    Raises `DataError` for files that it doesn't match.
    """
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise DataError(f"data.group={pattern}: no regular expression ({error})") from error
    matches = [compiled.search(PurePosixPath(path).name) for path in paths]
    without = [path for path, match in zip(paths, matches, strict=True) if match is None]
    if without:
        raise DataError(
            f"data.group={pattern}: matches no part of {len(without)} of {len(paths)} file names, "
            f"say {', '.join(without[:FEW])}"
        )
    return [match[1] if compiled.groups else match[0] for match in matches if match is not None]


def divide(
    labels: NDArray[np.int64],
    given: NDArray[np.str_],
    names: Sequence[str],
    groups: Sequence[str] | None,
    data: DataConfig,
) -> Rows:
    """The parts. Those that the data set has (`given` (N,), empty where it has none) stay as they are.

    The others are drawn by `data.split_seed`: of each class the same fraction, at least one image, and
    groups whole. `names` are the classes'. Raises `DataError` where that can't be.
    """
    rows = {part: np.flatnonzero(given == part) for part in ("train", "val", "test")}
    if not rows["train"].size:
        rows["train"] = np.arange(len(labels))
    numbers = None
    if groups is not None:
        numbers = np.unique(np.array(groups), return_inverse=True)[1]
        _refuse_shared(rows, groups)
    draw = np.random.default_rng([SPLIT_SEED, data.split_seed])
    for part, fraction in (("test", data.test_fraction), ("val", data.val_fraction)):
        if rows[part].size or fraction is None:
            continue
        here = rows["train"]
        if numbers is None:
            taken = _by_class(labels[here], fraction, names, draw)
        else:
            taken = _by_group(labels[here], numbers[here], fraction, len(names), draw)
        rows[part], rows["train"] = here[taken], here[~taken]
        for where in (part, "train"):
            lacking = sorted(set(range(len(names))) - set(labels[rows[where]].tolist()))
            if lacking:
                raise DataError(
                    f"data.{part}_fraction={fraction:g}: leaves the {where} part without images of "
                    f"{', '.join(names[label] for label in lacking[:FEW])}; there are too few of it"
                    f"{', or of its groups' if groups is not None else ''}"
                )
    return rows


def _by_class(
    labels: NDArray[np.int64], fraction: float, names: Sequence[str], draw: np.random.Generator
) -> NDArray[np.bool_]:
    """Which images (N,) are taken: of each class the fraction, rounded, but at least one."""
    taken = np.zeros(len(labels), dtype=bool)
    for label in range(len(names)):
        rows = draw.permutation(np.flatnonzero(labels == label))
        taken[rows[: max(1, round(fraction * len(rows)))]] = True
    return taken


def _by_group(
    labels: NDArray[np.int64],
    groups: NDArray[np.int64],
    fraction: float,
    classes: int,
    draw: np.random.Generator,
) -> NDArray[np.bool_]:
    """Which images (N,) are taken, groups whole: large ones first, each where it is most wanted.

    Wanted is what brings every class nearest to its fraction.
    """
    present, numbers = np.unique(groups, return_inverse=True)
    holds = np.zeros((len(present), classes))
    np.add.at(holds, (numbers, labels), 1)
    total = np.maximum(holds.sum(0), 1)
    order = draw.permutation(len(present))
    order = order[np.argsort(-holds[order].sum(1), kind="stable")]
    missing = fraction * total
    chosen = np.zeros(len(present), dtype=bool)
    for group in order:
        after = missing - holds[group]
        if (after**2 / total).sum() < (missing**2 / total).sum():
            chosen[group], missing = True, after
    return chosen[numbers]


def _refuse_shared(rows: Rows, groups: Sequence[str]) -> None:
    every = {part: {groups[row] for row in found} for part, found in rows.items()}
    for one, other in (("train", "val"), ("train", "test"), ("val", "test")):
        shared = sorted(every[one] & every[other])
        if shared:
            raise DataError(
                f"data.group: {len(shared)} groups have files both in {one} and {other}, say "
                f"{', '.join(shared[:FEW])}; a group must be in one part"
            )
