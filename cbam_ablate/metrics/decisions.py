"""Metrics of hard decisions: functions of a confusion matrix of counts, true classes down (K, K).

Classes that are neither among the labels nor predicted are left out of every average, as scikit-learn leaves
them out; what else is undefined for a class counts as 0 there, and is said.
"""

import numpy as np
from numpy.typing import NDArray

from cbam_ablate.metrics.sample import Floats, Sample, Undefined, Value, listed

Counts = NDArray[np.int64]


def parts(confusion: Counts) -> tuple[Floats, Floats, Floats, list[str]]:
    """Hits, labels and predictions of each class that occurs, and sentences on the classes that don't.

    Each is (classes that occur,).
    """
    hits, labels, predicted = _counts(confusion)
    there = (labels + predicted) > 0
    notes = []
    if not there.all():
        notes.append(
            f"{listed(np.flatnonzero(~there))}: no image has or is given it, so it is left out of the average"
        )
    return hits[there], labels[there], predicted[there], notes


def _counts(confusion: Counts) -> tuple[Floats, Floats, Floats]:
    counts = confusion.astype(np.float64)
    return counts.diagonal(), counts.sum(axis=1), counts.sum(axis=0)


def accuracy(confusion: Counts) -> Value:
    return Value(float(confusion.trace() / confusion.sum()))


def balanced_accuracy(confusion: Counts) -> Value:
    hits, labels, _ = _counts(confusion)
    there = labels > 0
    absent = np.flatnonzero(~there)
    notes = (f"{listed(absent)}: no image has it, so it is left out of the average",) if len(absent) else ()
    return Value(float((hits[there] / labels[there]).mean()), notes)


def precision(confusion: Counts, average: str) -> Value:
    return _averaged(confusion, average, "precision", "is never predicted")


def recall(confusion: Counts, average: str) -> Value:
    return _averaged(confusion, average, "recall", "is predicted, and no image has it")


def f1(confusion: Counts, average: str) -> Value:
    return _averaged(confusion, average, "F1", "")


def _averaged(confusion: Counts, average: str, what: str, why: str) -> Value:
    if average == "micro":
        return accuracy(confusion)
    hits, labels, predicted, notes = parts(confusion)
    below = {"precision": predicted, "recall": labels, "F1": (labels + predicted) / 2}[what]
    undefined = below == 0
    scores = np.divide(hits, below, out=np.zeros_like(hits), where=~undefined)
    if undefined.any():
        there = np.flatnonzero(confusion.sum(axis=0) + confusion.sum(axis=1))
        notes.append(f"{listed(there[undefined])} {why}: its {what} counts as 0")
    weights = labels if average == "weighted" else np.ones_like(labels)
    return Value(float((scores * weights).sum() / weights.sum()), tuple(notes))


def kappa(confusion: Counts) -> Value:
    hits, labels, predicted = _counts(confusion)
    total = labels.sum()
    expected = float((labels * predicted).sum() / total)
    if expected == total:
        raise Undefined("all labels and all predictions are one class, so chance explains everything")
    return Value(float((hits.sum() - expected) / (total - expected)))


def mcc(confusion: Counts) -> Value:
    hits, labels, predicted = _counts(confusion)
    total = labels.sum()
    shared = hits.sum() * total - labels @ predicted
    spread = (total**2 - predicted @ predicted) * (total**2 - labels @ labels)
    if spread == 0:
        return Value(0.0, ("all labels, or all predictions, are one class: counts as 0",))
    return Value(float(shared / np.sqrt(spread)))


BY_CLASS = ("accuracy", "precision", "recall", "f1")


def by_class(confusion: Counts, name: str) -> Floats:
    """A class's own accuracy (its recall), precision, recall or F1 (K,); NaN where it is undefined."""
    hits, labels, predicted = _counts(confusion)
    below = {"precision": predicted, "f1": (labels + predicted) / 2}.get(name, labels)
    return np.divide(hits, below, out=np.full_like(hits, np.nan), where=below > 0)


def top_k(sample: Sample, k: int) -> Value:
    sample.check()
    if k >= sample.classes:
        return Value(1.0, (f"top {k} of {sample.classes} classes is every class",))
    if k == 1:
        return accuracy(sample.confusion)
    return Value(float((sample.above_label(k) < k).mean()))
