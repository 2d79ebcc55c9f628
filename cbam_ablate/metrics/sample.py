"""One network's predictions on one set of images, and what all metrics need of them, worked out once."""

from collections.abc import Iterable
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cbam_ablate.errors import DataError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
MOST_NAMED = 8
NONE: Floats = np.empty((0, 0))
"""Stands for what a sample wasn't made of."""


class Value(NamedTuple):
    """A metric's value, None where it is undefined; `notes` are sentences that say what was absent."""

    value: float | None
    notes: tuple[str, ...] = ()


class Undefined(Exception):
    """A metric has no value for these predictions; the message says why."""


class Top(NamedTuple):
    """What is kept of N images with many classes: the k greatest logits and sums over all classes.

    Logits are less the greatest of their image: `logits` (N, k) in falling order, of `classes` (N, k), and
    `label` (N,) that of the true class. `log_sum` (N,) is the log of the sum of exp over all classes,
    `squares` (N,) the sum of the squared probabilities.
    """

    classes: Ints
    logits: Floats
    label: Floats
    log_sum: Floats
    squares: Floats


class Sample:
    """Labels (N,) from 0 to K - 1 with one network's predictions for those N images.

    Raises `DataError` for arrays that don't fit each other.
    """

    def __init__(self, labels: ArrayLike, classes: int) -> None:
        self.labels: Ints = np.asarray(labels).astype(np.int64)
        self.classes = classes
        if self.labels.ndim != 1 or not len(self.labels):
            raise DataError(f"labels of shape {self.labels.shape}: need (N,), at least one image")
        if self.labels.min() < 0 or self.labels.max() >= classes:
            raise DataError(
                f"labels from {self.labels.min()} to {self.labels.max()}: from 0 to {classes - 1} for "
                f"{classes} classes"
            )
        self._probabilities = self._logits = NONE
        self._top: Top | None = None

    @classmethod
    def of_probabilities(cls, labels: ArrayLike, probabilities: ArrayLike) -> "Sample":
        """From probabilities (N, K), taken as they are."""
        found = cls(labels, _columns(probabilities, "probabilities"))
        found._probabilities = found._fitting(probabilities)
        return found

    @classmethod
    def of_logits(cls, labels: ArrayLike, logits: ArrayLike) -> "Sample":
        """From logits (N, K), whose softmax are the probabilities."""
        found = cls(labels, _columns(logits, "logits"))
        found._logits = found._fitting(logits)
        return found

    @classmethod
    def of_top(cls, labels: ArrayLike, classes: int, top: Top) -> "Sample":
        """From the top ones of many classes."""
        found = cls(labels, classes)
        found._top = top
        return found

    def _fitting(self, values: ArrayLike) -> Floats:
        made = np.asarray(values, dtype=np.float64)
        if len(made) != len(self):
            raise DataError(f"{len(self)} labels and predictions of {len(made)} images: as many of each")
        return made

    def __len__(self) -> int:
        return len(self.labels)

    @cached_property
    def broken(self) -> int:
        """Images with an output that is no finite number."""
        if self._top is not None:
            return int((~np.isfinite(self._top.logits[:, 0] + self._top.log_sum)).sum())
        values = self._logits if len(self._logits) else self.probabilities
        # -inf as a logit is a probability of zero, which is a number.
        bad = np.isnan(values) | (values == np.inf)
        return int((bad.any(axis=1) | (values == -np.inf).all(axis=1)).sum())

    def check(self) -> None:
        """Raises `Undefined` where outputs aren't numbers, as a diverged network's."""
        if self.broken:
            raise Undefined(f"the outputs for {self.broken} of {len(self)} images aren't finite numbers")

    @cached_property
    def _shifted(self) -> tuple[Floats, Floats, Floats]:
        """Logits less their row's greatest (N, K), the exp of that, and its sum (N,)."""
        with np.errstate(invalid="ignore"):
            shifted = self._logits - self._logits.max(axis=1, keepdims=True)
            powers = np.exp(shifted)
        return shifted, powers, powers.sum(axis=1)

    @cached_property
    def probabilities(self) -> Floats:
        """(N, K). Raises `Undefined` where only the top ones were kept."""
        if self._top is not None:
            kept = self._top.logits.shape[1]
            raise Undefined(f"needs every class's probability; the top {kept} of {self.classes} were kept")
        if len(self._probabilities):
            return self._probabilities
        _, powers, total = self._shifted
        return powers / total[:, None]

    @cached_property
    def predicted(self) -> Ints:
        """The class with the greatest probability (N,), the first of equals."""
        if self._top is not None:
            return self._top.classes[:, 0]
        values = self._logits if len(self._logits) else self.probabilities
        return values.argmax(axis=1)

    @cached_property
    def confidence(self) -> Floats:
        """The probability of the predicted class (N,)."""
        if self._top is not None:
            return np.asarray(np.exp(self._top.logits[:, 0] - self._top.log_sum))
        if len(self._logits):
            return 1 / self._shifted[2]
        return np.asarray(self.probabilities.max(axis=1))

    @cached_property
    def right(self) -> NDArray[np.bool_]:
        """Whether the prediction is the label (N,)."""
        return self.predicted == self.labels

    @cached_property
    def log_likelihood(self) -> Floats:
        """The log of the true class's probability (N,)."""
        if self._top is not None:
            return self._top.label - self._top.log_sum
        every = np.arange(len(self))
        if len(self._logits):
            shifted, _, total = self._shifted
            return np.asarray(shifted[every, self.labels] - np.log(total))
        # A probability of zero is clipped, as scikit-learn does.
        return np.log(np.maximum(self.probabilities[every, self.labels], np.finfo(float).eps))

    @cached_property
    def squares(self) -> Floats:
        """The sum of the squared probabilities (N,)."""
        if self._top is not None:
            return self._top.squares
        return np.einsum("nk,nk->n", self.probabilities, self.probabilities)

    @cached_property
    def label_probability(self) -> Floats:
        """The true class's probability (N,)."""
        if len(self._probabilities):
            return self._probabilities[np.arange(len(self)), self.labels]
        return np.exp(self.log_likelihood)

    @cached_property
    def confusion(self) -> Ints:
        """Images (K, K) by true class down and predicted class across."""
        codes = self.labels * self.classes + self.predicted
        return np.bincount(codes, minlength=self.classes**2).reshape(self.classes, self.classes)

    @cached_property
    def support(self) -> Ints:
        """Images of each class (K,)."""
        return np.bincount(self.labels, minlength=self.classes)

    def above_label(self, k: int) -> Ints:
        """How many classes rank before the true one (N,); of equals the later class ranks first.

        From the top ones this is exact below their number, and at least that number otherwise.
        """
        if self._top is not None:
            kept = self._top.logits.shape[1]
            if k > kept:
                raise Undefined(f"needs the top {k}; the top {kept} of {self.classes} classes were kept")
            place = self._top.classes == self.labels[:, None]
            return np.where(place.any(axis=1), place.argmax(axis=1), kept)
        scores = self._logits if len(self._logits) else self.probabilities
        own = scores[np.arange(len(self)), self.labels][:, None]
        later = np.arange(self.classes) > self.labels[:, None]
        return ((scores > own) | ((scores == own) & later)).sum(axis=1)

    def take(self, chosen: Ints) -> "Sample":
        """The same network on these images (M,), each as often as it is chosen."""
        found = Sample(self.labels[chosen], self.classes)
        if len(self._logits):
            found._logits = self._logits[chosen]
        if len(self._probabilities):
            found._probabilities = self._probabilities[chosen]
        if self._top is not None:
            kept = self._top._asdict()
            found._top = Top(**{name: part[chosen] for name, part in kept.items()})
        for name in ("predicted", "confidence", "right"):  # what most metrics need, if it is known already
            if name in self.__dict__:
                found.__dict__[name] = self.__dict__[name][chosen]
        if self.__dict__.get("broken") == 0:
            found.__dict__["broken"] = 0
        return found


def _columns(values: ArrayLike, what: str) -> int:
    shape = np.shape(values)
    if len(shape) != 2 or shape[1] < 2:
        raise DataError(f"{what} of shape {shape}: need (N, K) for K classes, at least two")
    return int(shape[1])


def listed(classes: Iterable[Any]) -> str:
    """`class 3` or `classes 3, 7`, the first few of many."""
    every = [str(one) for one in classes]
    more = f" and {len(every) - MOST_NAMED} more" if len(every) > MOST_NAMED else ""
    return f"class{'es' * (len(every) > 1)} {', '.join(every[:MOST_NAMED])}{more}"
