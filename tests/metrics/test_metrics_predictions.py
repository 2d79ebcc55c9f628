"""predictions.npz: what comes back, in how many bytes, and what is refused."""

import io
import zipfile

import numpy as np
import pytest

from cbam_ablate.metrics import DEFINITIONS, Sample
from cbam_ablate.metrics.definitions import value_of
from cbam_ablate.metrics.predictions import Refused, form_of, order_hash, pack, unpack
from cbam_ablate.metrics.sample import Top

KEY, DATA = "0123456789abcdef", "d" * 64


def drawn(classes=10, images=300, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, images)
    logits = rng.normal(0, 2, (images, classes))
    logits[np.arange(images), labels] += 2
    return labels, logits


def condensed(logits):
    return {"logits": (logits - logits.max(axis=1, keepdims=True)).astype(np.float16)}


def result(logits, labels, data=DATA):
    top1 = 100 * float((logits.argmax(axis=1) == labels).mean())
    return {"provenance": {"dataset_sha256": data}, "metrics": {"test_top1": top1}}


def packed(labels, logits, key=KEY, data=DATA, **more):
    sets = {"test": (np.arange(len(labels)), labels)}
    return pack(key, data, logits.shape[1], sets, {"test": condensed(logits)}, **more)


def test_what_was_kept_gives_the_metrics_of_the_logits_to_float16():
    labels, logits = drawn()
    found = unpack(packed(labels, logits), KEY, result(logits, labels)).sample("test")
    exact = Sample.of_logits(labels, logits)
    assert found.predicted.tolist() == exact.predicted.tolist()
    for name, definition in DEFINITIONS.items():
        ours, theirs = (value_of(definition.function, sample).value for sample in (found, exact))
        # Bins of calibration may lose an image to the next one.
        assert ours == pytest.approx(theirs, abs=3e-3 if "ece" in name else 2e-4)


def test_the_same_predictions_are_the_same_bytes():
    labels, logits = drawn()
    assert packed(labels, logits, epoch=3) == packed(labels, logits, epoch=3)


def test_top_ones_give_every_metric_that_they_can_and_say_which_they_cannot():
    labels, logits = drawn(classes=200)
    order = np.argsort(-logits, axis=1)[:, :20]
    shifted = logits - logits.max(axis=1, keepdims=True)
    powers = np.exp(shifted)
    total = powers.sum(axis=1)
    squares = (powers**2).sum(axis=1) / total**2
    every = np.arange(len(labels))
    top = Top(order, shifted[every[:, None], order], shifted[every, labels], np.log(total), squares)
    found, exact = Sample.of_top(labels, 200, top), Sample.of_logits(labels, logits)
    for name, definition in DEFINITIONS.items():
        value, expected = (value_of(definition.function, sample) for sample in (found, exact))
        if name in ("auroc", "auroc_ovo", "average_precision"):
            assert value.value is None
            assert value.notes == ("needs every class's probability; the top 20 of 200 were kept",)
        else:
            assert value.value == pytest.approx(expected.value, abs=1e-12)


def test_what_is_kept_depends_on_a_limit():
    assert form_of(10, 25_000) == "all"
    assert form_of(1000, 150_000) == "top"
    assert form_of(100, 10**6) is None


def test_predictions_of_another_run_data_set_or_order_are_refused():
    labels, logits = drawn()
    fits = result(logits, labels)
    with pytest.raises(Refused, match="belongs to run 0123456789abcdef"):
        unpack(packed(labels, logits), "f" * 16, fits)
    with pytest.raises(Refused, match="of another data set"):
        unpack(packed(labels, logits, data="e" * 64), KEY, fits)
    with pytest.raises(Refused, match="of other images, or in another order"):
        unpack(packed(labels[::-1], logits), KEY, fits)
    content = io.BytesIO(packed(labels, logits))
    with np.load(content) as file:
        arrays = {name: file[name] for name in file.files}
    arrays["test_labels"] = arrays["test_labels"][::-1]
    turned = io.BytesIO()
    np.savez(turned, **arrays)
    with pytest.raises(Refused, match="in another order, than its hash says"):
        unpack(turned.getvalue(), KEY, fits)


@pytest.mark.parametrize("part", [0.0, 0.3, 0.99])
def test_predictions_cut_short_are_refused(part):
    content = packed(*drawn())
    with pytest.raises(Refused, match="cut short or not predictions"):
        unpack(content[: int(part * len(content))], KEY)


def test_a_file_of_something_else_is_refused():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("readme.txt", "hello")
    with pytest.raises(Refused, match="cut short or not predictions"):
        unpack(buffer.getvalue(), KEY)


def test_the_order_hash_tells_orders_labels_and_data_sets_apart():
    labels, images = np.array([0, 1, 2]), np.array([4, 5, 6])
    hashes = {
        order_hash(DATA, "test", images, labels),
        order_hash(DATA, "test", images[::-1], labels[::-1]),
        order_hash(DATA, "test", images, labels[::-1]),
        order_hash(DATA, "val", images, labels),
        order_hash("e" * 64, "test", images, labels),
    }
    assert len(hashes) == 5
    assert order_hash(DATA, "test", images.astype(np.uint32), labels.astype(np.uint8)) in hashes
