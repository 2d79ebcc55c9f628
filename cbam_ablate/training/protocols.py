"""What a training run needs from outside: batches, and a place for its records."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor


class TrainingFeed(Protocol):
    """Batches of images (N, C, H, W) and labels, (N,) or for mixed images (N, classes), on the device.

    `numbers` are those of the images of val and test in their files (N,), in the order of evaluation.
    """

    steps: int
    classes: int
    numbers: dict[str, NDArray[np.int64]]
    sha256: str

    def class_counts(self) -> list[int]:
        """The training images of each class."""

    def train(self, epoch: int, start: int) -> Iterator[tuple[Tensor, Tensor]]: ...
    def evaluate(self, part: str) -> Iterator[tuple[Tensor, Tensor]]: ...


class RunLog(Protocol):
    """Where a run's records go."""

    @property
    def last(self) -> Path: ...
    @property
    def best(self) -> Path: ...
    def check(self) -> None:
        """Raises where the run's files are no longer this process's to write."""

    def stamp(self, **here: Any) -> dict[str, Any]:
        """What the run's checkpoints say of where they belong; `here` is how this process trains."""

    def line(self, text: str) -> None: ...
    def progress(self, **values: Any) -> None: ...
    def epoch(self, record: dict[str, Any]) -> None: ...
    def rewrite_history(self, records: list[dict[str, Any]]) -> None: ...
