"""Predictions of real runs, trained in this process on the tiny generated set."""

import json

import numpy as np
import pytest
import torch

from cbam_ablate.cli import run as command
from cbam_ablate.data import Feed
from cbam_ablate.metrics import DEFINITIONS
from cbam_ablate.metrics.definitions import value_of
from cbam_ablate.metrics.inference import COLUMNS, Condition, read_inference, shared_condition
from cbam_ablate.metrics.predictions import unpack
from cbam_ablate.runs import RunStore
from cbam_ablate.sweep.job import run_one
from cbam_ablate.training.inference import _peak
from cbam_ablate.training.outputs import Outputs
from tests.composed import composed


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A finished run whose best epoch is its first, before the learning rate is far too high."""
    store = tmp_path_factory.mktemp("metrics") / "store"
    words = [
        "data=synthetic", "data.train_size=160", "backbone=resnet_cifar", "model.width=4", "train.epochs=3",
        "train.batch_size=32", "train.precision=fp32", "train.device=cpu", "train.threads=1",
        "optimizer.lr=0.2", "schedule=constant", "schedule.warmup_epochs=2", "train.select=val_loss",
        "seed=1",
    ]  # fmt: skip
    run_one(composed([*words, f"store={store}"]))
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


@pytest.mark.parametrize(
    "words",
    [
        ["train.ema=0.9", "train.select=last"],
        pytest.param(["train.select=val_log_loss", "optimizer.lr=0.001"], marks=pytest.mark.slow),
    ],
)
def test_predictions_of_a_last_epoch_that_is_chosen_are_those_it_was_validated_by(
    tiny, tmp_path, monkeypatch, words
):
    cfg = composed([*tiny, *words, f"store={tmp_path}"])
    looked_at, evaluate = [], Feed.evaluate
    monkeypatch.setattr(Feed, "evaluate", lambda self, part: looked_at.append(part) or evaluate(self, part))
    run_one(cfg)
    (run,) = RunStore(tmp_path).runs()
    assert run.result()["selection"]["epoch"] == cfg.train.epochs
    assert looked_at == ["val"] * cfg.train.epochs + ["test"]

    kept = run.predictions.read_bytes()
    (run.path / "result.json").unlink()
    run.predictions.unlink()
    run_one(cfg)
    assert looked_at[-2:] == ["test", "val"]
    assert run.predictions.read_bytes() == kept


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


@pytest.fixture
def study(trained):
    """Words that name a study of the one run."""
    store = trained.path.parents[1]
    folder = store / "studies" / "one"
    folder.mkdir(parents=True, exist_ok=True)
    manifest = {
        "schema": 1, "study": "one", "command": ["cbam-ablate", "train"], "axes": {"seed": [1]}, "sweep": {},
        "constants": {"data.name": "synthetic"}, "runs": {trained.key: {"seed": 1}}, "costs": {}, "table": {},
        "cells": [{"axes": {"seed": 1}, "key": trained.key}],
    }  # fmt: skip
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return ["study=one", f"store={store}"]


@pytest.mark.parametrize("left", [None, b"PK cut short"])
def test_evaluating_a_study_fills_in_what_its_checkpoints_predict(trained, study, left, capsys):
    before = trained.predictions.read_bytes()
    trained.predictions.unlink()
    if left is not None:
        trained.predictions.write_bytes(left)
    assert command("evaluate", [*study, "train.device=cpu", "train.precision=fp32"]) == 0
    assert "evaluated" in capsys.readouterr().out
    ours, theirs = (unpack(content, trained.key) for content in (before, trained.predictions.read_bytes()))
    assert ours.header == theirs.header
    for part in ours.parts:
        assert np.allclose(ours.sample(part).probabilities, theirs.sample(part).probabilities, atol=2e-2)
    assert command("evaluate", study) == 0
    assert "has its predictions" in capsys.readouterr().out


def test_evaluating_a_study_names_the_runs_it_can_not_fill_in(trained, study, capsys):
    content = trained.predictions.read_bytes()
    aside = trained.best.with_name("aside.pt")
    trained.predictions.unlink()
    trained.best.rename(aside)
    try:
        assert command("evaluate", study) == 1
        assert "best.pt: no such checkpoint" in capsys.readouterr().out
    finally:
        aside.rename(trained.best)
        trained.predictions.write_bytes(content)


def test_measured_inference_is_kept_by_condition_and_stands_in_tables(trained, study, capsys):
    words = ["batch=16", "rounds=5", "train.device=cpu", "train.threads=1"]
    assert command("measure", [*study, *words]) == 0, capsys.readouterr().err
    assert "images/s" in capsys.readouterr().out
    ((condition, values),) = read_inference(trained).items()
    assert (condition.batch, condition.compiled, condition.threads) == (16, False, 1)
    assert set(values) == set(COLUMNS)
    assert all(value > 0 for value in values.values())
    assert command("measure", [*study, *words]) == 0, capsys.readouterr().err
    assert len(read_inference(trained)) == 1
    costs = "table.costs=[latency_ms,infer_images_per_second,infer_memory_mib]"
    assert command("table", [*study, costs]) == 0
    said = capsys.readouterr().out
    assert "latency at batch 1, the others at 16" in " ".join(said.split())


def test_rows_measured_on_different_devices_are_never_in_one_column():
    condition = Condition("cpu: one", "fp32", False, 1, 16)
    elsewhere = condition._replace(device="cuda: another")
    assert shared_condition([[condition], [condition, elsewhere], [elsewhere]]) == condition
    assert shared_condition([[elsewhere], [condition, elsewhere], []]) == elsewhere
    assert shared_condition([[], []]) is None


def test_the_peak_of_memory_counts_what_is_alive_at_once():
    class Chain(torch.nn.Module):
        def forward(self, x):
            for _ in range(4):
                x = x + 1
            return x.view(-1)

    images = torch.zeros(8, 3, 64, 64)
    size = images.numel() * 4 / 2**20
    # The images, what is added to and the sum.
    assert _peak(Chain(), images, torch.device("cpu")) == pytest.approx(3 * size)
