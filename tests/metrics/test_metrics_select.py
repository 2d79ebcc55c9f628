"""What chooses the epoch is declared, is part of the key, and is never test data."""

import pytest

from cbam_ablate.config.canonical import run_key
from cbam_ablate.errors import ConfigError
from cbam_ablate.metrics.definitions import DEFINITIONS
from cbam_ablate.metrics.predictions import unpack
from cbam_ablate.metrics.select import selection, undecided
from cbam_ablate.runs import RunStore
from cbam_ablate.sweep.job import run_one
from tests.composed import composed

TINY = [
    "data=synthetic", "data.train_size=96", "data.val_size=40", "backbone=resnet_cifar", "depth=8",
    "model.width=4", "train.epochs=4", "train.batch_size=32", "train.precision=fp32", "train.device=cpu",
    "train.threads=1", "optimizer.lr=0.2", "schedule=constant", "seed=3",
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "best"),
    [("val_f1_macro", max), pytest.param("val_brier", min, marks=pytest.mark.slow), ("val_loss", min)],
)
def test_a_validation_metric_chooses_the_epoch(tmp_path, name, best):
    run_one(composed([*TINY, f"train.select={name}", f"store={tmp_path}"]))
    (run,) = RunStore(tmp_path).runs()
    result, values = run.result(), [record[name] for record in run.history()]
    assert len(values) == 4
    assert result["selection"]["epoch"] == 1 + values.index(best(values))
    assert result["metrics"][name] == best(values)
    rule = result["selection"]["rule"]
    assert rule.startswith("highest validation" if best is max else "lowest validation")
    if name == "val_f1_macro":
        table_name = unpack(run.predictions.read_bytes(), run.key, result).sample("val")
        assert 100 * float(table_name.right.mean()) == pytest.approx(result["metrics"]["val_top1"])


def test_the_last_epoch_may_be_kept_whatever_validation_says(tmp_path):
    run_one(composed([*TINY, "train.select=last", f"store={tmp_path}"]))
    (run,) = RunStore(tmp_path).runs()
    result = run.result()
    assert result["selection"] == {"rule": "taking the last", "epoch": 4, "epochs": 4}
    assert result["metrics"]["test_top1"] == result["metrics"]["last_test_top1"]


def test_selection_is_part_of_the_key_and_todays_rule_leaves_it_alone():
    keys = {run_key(composed([*TINY, f"train.select={name}"])) for name in ("val_f1_macro", "last")}
    plain = run_key(composed(TINY))
    assert plain == run_key(composed([*TINY, "train.select=val_top1"]))
    assert len(keys | {plain}) == 3


@pytest.mark.parametrize("name", ["test_top1", "last_test_f1_macro", "best", "val_f2"])
def test_what_can_not_choose_is_refused_before_anything_runs(name):
    with pytest.raises(ConfigError, match=rf"train.select={name}.*there are last, and val_ with top1"):
        composed([*TINY, f"train.select={name}"])


@pytest.mark.parametrize("name", ["auroc", "top21"])
def test_what_the_top_predictions_of_many_classes_do_not_tell_can_not_choose(name):
    assert undecided(selection(f"val_{name}"), 128) == ""
    with pytest.raises(ConfigError, match=rf"train.select=val_{name}: needs .* of 1000 .*; take another"):
        composed(["data=imagenet", f"train.select=val_{name}"])
    others = set(DEFINITIONS) - {"auroc", "auroc_ovo", "average_precision"}
    assert not any(undecided(selection(f"val_{other}"), 1000) for other in others)
