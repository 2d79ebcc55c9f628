"""The table of metrics: each one's name, unit, better direction, definition and function.

The documentation's table is made from this one: `python -m cbam_ablate.metrics.docs`.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from numpy.typing import ArrayLike

from cbam_ablate.errors import ConfigError
from cbam_ablate.metrics import calibration, decisions, ranking
from cbam_ablate.metrics.sample import Sample, Undefined, Value

VERSION = 1
"""Part of every value that is kept; it rises when a definition changes."""
PERCENT = "%"


@dataclass(frozen=True)
class Definition:
    """`unit` is %, where a table shows 100 times the value, `nats` or empty; `better` is up or down.

    `oracle` is the function of scikit-learn or torchmetrics that gives the same value.
    """

    name: str
    label: str
    unit: str
    meaning: str
    absent: str
    oracle: str
    function: Callable[[Sample], Value]
    better: str = "up"

    @property
    def scale(self) -> float:
        return 100.0 if self.unit == PERCENT else 1.0


def _decided(function: Callable[..., Value], **options: str) -> Callable[[Sample], Value]:
    def value(sample: Sample) -> Value:
        sample.check()
        return function(sample.confusion, **options)

    return value


LEFT_OUT = "left out of the average, and said"
NEITHER = "with neither labels nor predictions: left out; "
NEVER = NEITHER + "never predicted: counts as 0; both said"
WITHOUT = NEITHER + "predicted without labels: counts as 0; both said"
NONE = "changes nothing"
TIES = "Of equal probabilities the first class is the prediction."


def _averages() -> list[Definition]:
    found = []
    kinds = {
        "precision": ("precision", "the part of a class's predictions that are right", NEVER),
        "recall": ("recall", "the part of a class's images that are found", WITHOUT),
        "f1": ("F1", "2 TP / (2 TP + FP + FN) of a class", NEITHER + "said"),
    }
    means = {
        "macro": "mean over classes",
        "micro": "over all decisions together, which with one label an image is the accuracy",
        "weighted": "mean over classes by their number of images",
    }
    for kind, (label, meaning, absent) in kinds.items():
        for average, how in means.items():
            found.append(
                Definition(
                    f"{kind}_{average}", f"{average} {label}", PERCENT, f"{meaning}; {how}",
                    NONE if average == "micro" else absent,
                    f"sklearn.metrics.{kind}_score(average='{average}')",
                    _decided(getattr(decisions, kind), average=average),
                )
            )  # fmt: skip
    return found


_ALL = [
    Definition(
        "accuracy", "accuracy", PERCENT, f"the part of the images whose prediction is right. {TIES}", NONE,
        "sklearn.metrics.accuracy_score", _decided(decisions.accuracy),
    ),
    Definition(
        "balanced_accuracy", "balanced accuracy", PERCENT, "recall, mean over the classes among the labels",
        LEFT_OUT, "sklearn.metrics.balanced_accuracy_score", _decided(decisions.balanced_accuracy),
    ),
    *_averages(),
    Definition(
        "auroc", "AUROC", "", "area under the ROC curve of each class against the rest, exact, mean over "
        "classes; ties count half", LEFT_OUT,
        "sklearn.metrics.roc_auc_score(multi_class='ovr')", ranking.auroc,
    ),
    Definition(
        "auroc_ovo", "AUROC, one-vs-one", "", "area under the ROC curve of each class against each other, on "
        "the images of the two, both ways round, mean over pairs; ties count half", LEFT_OUT,
        "sklearn.metrics.roc_auc_score(multi_class='ovo')", ranking.auroc_ovo,
    ),
    Definition(
        "average_precision", "average precision", "", "sum over thresholds of precision times the gain in "
        "recall, not interpolated, of each class against the rest, mean over classes; equal scores are one "
        "threshold", LEFT_OUT,
        "sklearn.metrics.average_precision_score(average='macro')", ranking.average_precision,
    ),
    Definition(
        "kappa", "Cohen's kappa", "", "agreement with the labels beyond that of chance, unweighted",
        "changes nothing; with one class alone undefined, and said",
        "sklearn.metrics.cohen_kappa_score", _decided(decisions.kappa),
    ),
    Definition(
        "mcc", "Matthews correlation", "", "correlation of predictions and labels over all classes",
        "changes nothing; with one class alone counts as 0, and said",
        "sklearn.metrics.matthews_corrcoef", _decided(decisions.mcc),
    ),
    Definition(
        "log_loss", "log loss", "nats", "mean of minus the log of the true class's probability, from logits "
        "without clipping", NONE, "sklearn.metrics.log_loss", calibration.log_loss, "down",
    ),
    Definition(
        "brier", "Brier score", "", "squared error of the probabilities, summed over classes (0 to 2), mean "
        "over images", NONE,
        "sklearn.metrics.brier_score_loss(scale_by_half=False)", calibration.brier, "down",
    ),
    Definition(
        "ece", "ECE", PERCENT, f"distance of accuracy from confidence (the greatest probability) in "
        f"{calibration.BINS} bins of equal width, each with its lower edge, mean weighted by images", NONE,
        f"torchmetrics MulticlassCalibrationError(n_bins={calibration.BINS}, norm='l1')", calibration.ece,
        "down",
    ),
    Definition(
        "adaptive_ece", "adaptive ECE", PERCENT, f"as ECE, in {calibration.BINS} bins between quantiles of "
        "confidence, so of as many images each as ties allow: equal confidences share a bin", NONE,
        f"sklearn.calibration.calibration_curve(n_bins={calibration.BINS}, strategy='quantile')",
        calibration.adaptive_ece, "down",
    ),
]  # fmt: skip

DEFINITIONS = {one.name: one for one in _ALL}
"""Every metric by its name without `test_`, `last_test_` or `val_`; `topK` comes with any K."""


def definition(name: str) -> Definition | None:
    """The metric called so, or None."""
    found = re.fullmatch(r"top([1-9]\d{0,3})", name)
    return DEFINITIONS.get(name) if found is None else top(int(found[1]))


def top(k: int) -> Definition:
    """Top-k accuracy."""
    return Definition(
        f"top{k}", f"top-{k}", PERCENT, f"the part of the images whose label is among the {k} most probable "
        "classes; of equal probabilities the later class ranks first", NONE,
        f"sklearn.metrics.top_k_accuracy_score(k={k})", partial(decisions.top_k, k=k),
    )  # fmt: skip


def compute(
    name: str, labels: ArrayLike, *, probabilities: ArrayLike | None = None, logits: ArrayLike | None = None
) -> Value:
    """A metric of labels (N,) and either probabilities or logits (N, K), from 0 to 1 where it is a rate.

    Raises `ConfigError` for an unknown name, `DataError` for arrays that don't fit.
    """
    found = definition(name)
    if found is None:
        raise ConfigError(f"{name}: no such metric; there are topK, {', '.join(DEFINITIONS)}")
    if probabilities is not None and logits is None:
        return value_of(found.function, Sample.of_probabilities(labels, probabilities))
    if logits is not None and probabilities is None:
        return value_of(found.function, Sample.of_logits(labels, logits))
    raise ConfigError("compute: give probabilities or logits")


def value_of(function: Callable[[Sample], Value], sample: Sample) -> Value:
    """The function's value; None with the reason where it is undefined."""
    try:
        return function(sample)
    except Undefined as error:
        return Value(None, (str(error),))
