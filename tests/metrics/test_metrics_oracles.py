"""Every metric against scikit-learn or torchmetrics on the same predictions, in float64."""

import sys

import numpy as np
import pytest
import sklearn.calibration
import sklearn.metrics as sk
import torch

from cbam_ablate.metrics import DEFINITIONS, compute
from cbam_ablate.torchvision_shim import import_torchvision

CLOSE = {"rel": 0, "abs": 1e-12}


def logits_of(kind: str, classes: int, images: int = 700):
    """Labels and logits: `plain`, `ties` (a handful of values), `absent` (no label of the last class)."""
    rng = np.random.default_rng(classes + len(kind))
    labels = rng.integers(0, classes - (kind == "absent"), images)
    logits = rng.normal(0, 1.5, (images, classes))
    logits[np.arange(images), labels] += 1.5
    return labels, np.round(logits) if kind == "ties" else logits


def softmax(logits):
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


CASES = [("plain", 10), ("ties", 10), ("absent", 10), ("plain", 2), ("ties", 2), ("plain", 3)]
DECISIONS = {
    "accuracy": sk.accuracy_score,
    "balanced_accuracy": sk.balanced_accuracy_score,
    "kappa": sk.cohen_kappa_score,
    "mcc": sk.matthews_corrcoef,
}


@pytest.mark.parametrize(("kind", "classes"), CASES)
@pytest.mark.filterwarnings("ignore::UserWarning")  # scikit-learn's on absent classes
def test_decisions_are_those_of_scikit_learn(kind, classes):
    labels, logits = logits_of(kind, classes)
    predicted = logits.argmax(axis=1)
    expected = {name: oracle(labels, predicted) for name, oracle in DECISIONS.items()}
    for score in ("precision", "recall", "f1"):
        for average in ("macro", "micro", "weighted"):
            oracle = getattr(sk, f"{score}_score")
            expected[f"{score}_{average}"] = oracle(labels, predicted, average=average)
    found = {name: compute(name, labels, logits=logits).value for name in expected}
    assert found == pytest.approx(expected, **CLOSE)


@pytest.mark.parametrize(("kind", "classes"), [case for case in CASES if case[0] != "absent"])
def test_rankings_and_proper_scores_are_those_of_scikit_learn(kind, classes):
    labels, logits = logits_of(kind, classes)
    p, every = softmax(logits), np.arange(classes)
    one_hot = labels[:, None] == every
    if classes == 2:
        areas = [sk.roc_auc_score(labels, p[:, 1])] * 2
    else:
        areas = [sk.roc_auc_score(labels, p, multi_class=how, average="macro") for how in ("ovr", "ovo")]
    expected = {
        "auroc": areas[0],
        "auroc_ovo": areas[1],
        "average_precision": sk.average_precision_score(one_hot, p, average="macro"),
        "log_loss": sk.log_loss(labels, p, labels=every),
        "brier": sk.brier_score_loss(labels, p, labels=every, scale_by_half=False),
    }
    for k in range(2, min(classes, 4)):
        expected[f"top{k}"] = sk.top_k_accuracy_score(labels, p, k=k, labels=every)
    for given in ({"logits": logits}, {"probabilities": p}):
        found = {name: compute(name, labels, **given).value for name in expected}
        assert found == pytest.approx(expected, **CLOSE)


@pytest.mark.parametrize(("kind", "classes"), CASES)
def test_calibration_errors_are_those_of_torchmetrics_and_scikit_learn(kind, classes):
    import_torchvision()  # which torchmetrics imports, and which may lack its operators
    from torchmetrics.functional.classification import calibration_error, multiclass_calibration_error

    labels, logits = logits_of(kind, classes)
    p = softmax(logits)
    right, confidence = p.argmax(axis=1) == labels, p.max(axis=1)
    found = compute("ece", labels, probabilities=p).value
    # The public function rounds to float32 first; the one it calls then doesn't.
    ece = multiclass_calibration_error(torch.tensor(p), torch.tensor(labels), classes, n_bins=15)
    assert found == pytest.approx(float(ece), abs=1e-6)
    module = sys.modules[calibration_error.__module__]
    ece = module._ce_compute(torch.tensor(confidence), torch.tensor(right), 15)
    assert found == pytest.approx(float(ece), **CLOSE)

    accuracy, mean = sklearn.calibration.calibration_curve(right, confidence, n_bins=15, strategy="quantile")
    edges = np.percentile(confidence, np.linspace(0, 1, 16) * 100)
    images = np.bincount(np.searchsorted(edges[1:-1], confidence), minlength=15)
    expected = np.sum(np.abs(accuracy - mean) * images[images > 0]) / len(labels)
    assert compute("adaptive_ece", labels, probabilities=p).value == pytest.approx(expected, **CLOSE)


def test_rankings_with_an_absent_class_are_means_over_the_others_and_say_so():
    labels, logits = logits_of("absent", 5)
    p = softmax(logits)
    pairs = [(a, b, np.isin(labels, (a, b))) for a in range(4) for b in range(4) if a != b]
    ones = [(one, labels == one) for one in range(4)]
    expected = {
        "auroc": np.mean([sk.roc_auc_score(is_one, p[:, one]) for one, is_one in ones]),
        "auroc_ovo": np.mean([sk.roc_auc_score(labels[chosen] == a, p[chosen, a]) for a, _, chosen in pairs]),
        "average_precision": np.mean([sk.average_precision_score(is_one, p[:, one]) for one, is_one in ones]),
    }
    found = {name: compute(name, labels, probabilities=p) for name in expected}
    assert {name: value.value for name, value in found.items()} == pytest.approx(expected, **CLOSE)
    assert all("class 4: no image has it" in value.notes[0] for value in found.values())


@pytest.mark.parametrize("name", ["balanced_accuracy", "f1_macro", "recall_macro", "precision_macro"])
def test_an_absent_class_is_said(name):
    labels, logits = np.array([0, 1, 0, 1]), np.eye(4)[[0, 1, 1, 2]]
    value = compute(name, labels, logits=logits)
    assert any("3" in note for note in value.notes)
    assert any("2" in note for note in value.notes) or name in ("f1_macro", "precision_macro")


def test_a_class_that_is_never_predicted_counts_as_zero_and_is_said():
    value = compute("precision_macro", [0, 1, 2, 2], logits=np.eye(3)[[0, 1, 1, 0]])
    assert value.value == pytest.approx((0.5 + 0.5 + 0) / 3)
    assert value.notes == ("class 2 is never predicted: its precision counts as 0",)


def test_one_class_only_is_undefined_where_scikit_learn_has_no_number():
    labels, logits = np.zeros(6, int), np.tile([2.0, 1.0, 0.0], (6, 1))
    for name in ("auroc", "auroc_ovo", "average_precision", "kappa"):
        value = compute(name, labels, logits=logits)
        assert value.value is None
        assert "class" in value.notes[0]
    mcc = compute("mcc", labels, logits=logits)
    assert mcc.value == 0
    assert "one class" in mcc.notes[0]
    assert compute("accuracy", labels, logits=logits).value == 1


@pytest.mark.parametrize("name", [*DEFINITIONS, "top3"])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_outputs_that_are_no_numbers_have_no_metric(name, bad):
    labels, logits = logits_of("plain", 4, 20)
    logits[3, 2] = bad
    value = compute(name, labels, logits=logits)
    assert value.value is None
    assert value.notes == ("the outputs for 1 of 20 images aren't finite numbers",)
