"""Predictions of real runs, trained in this process on the tiny generated set."""

import numpy as np
import pytest
import torch

from cbam_ablate.config import load_config
from cbam_ablate.metrics import DEFINITIONS
from cbam_ablate.metrics.definitions import value_of
from cbam_ablate.metrics.predictions import unpack
from cbam_ablate.runs import RunStore
from cbam_ablate.sweep.job import run_one
from cbam_ablate.training.outputs import Outputs


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A finished run whose best epoch isn't its last."""
    store = tmp_path_factory.mktemp("metrics") / "store"
    words = [
        "data=synthetic", "backbone=resnet_cifar", "model.width=4", "train.epochs=4", "train.batch_size=128",
        "train.precision=fp32", "train.device=cpu", "train.threads=1", "optimizer.lr=0.2",
        "schedule=constant", "seed=1",
    ]  # fmt: skip
    run_one(load_config([*words, f"store={store}"]))
    (run,) = RunStore(store).runs()
    assert run.state().name == "finished", run.state()
    return run


def test_a_finished_run_has_the_predictions_behind_its_accuracies(trained):
    result = trained.result()
    kept = unpack(trained.predictions.read_bytes(), trained.key, result)
    assert kept.parts == ["test", "last_test", "val"]
    assert result["selection"]["epoch"] < result["selection"]["epochs"]
    for part in kept.parts:
        sample = kept.sample(part)
        assert 100 * float(sample.right.mean()) == pytest.approx(result["metrics"][f"{part}_top1"], abs=1e-9)
        loss = value_of(DEFINITIONS["log_loss"].function, sample).value
        assert loss == pytest.approx(result["metrics"][f"{part}_loss"], rel=1e-3)
    assert kept.images("test").tolist() == list(range(200))
    assert len(kept.images("val")) == len(np.unique(kept.images("val")))


def test_top_ones_are_condensed_to_the_sums_over_all_classes():
    draw = torch.Generator().manual_seed(0)
    logits, labels = 3 * torch.randn(50, 300, generator=draw), torch.arange(50)
    top = Outputs("top")
    top.add(logits[:30], labels[:30])
    top.add(logits[30:], labels[30:])
    arrays, p = top.arrays(), logits.double().softmax(1)
    assert arrays["classes"].tolist() == logits.topk(20).indices.tolist()
    likelihood = arrays["label"].astype(float) - arrays["log_sum"]
    assert likelihood == pytest.approx(p.log()[range(50), labels].numpy(), abs=1e-2)
    assert arrays["squares"] == pytest.approx(p.square().sum(1).numpy(), rel=1e-5)
    assert top.labels.tolist() == labels.tolist()


def test_logits_beyond_float16_and_those_that_are_no_numbers_are_told_apart():
    found = Outputs("all")
    found.add(torch.tensor([[0.0, -1e6], [float("nan"), 0.0]]), torch.tensor([0, 1]))
    (finite, broken) = found.arrays()["logits"]
    assert finite.tolist() == [0, -65504]
    assert np.isnan(broken).all()
