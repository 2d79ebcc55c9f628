import json

import pytest
import torch

from cbam_ablate.config.canonical import run_key, to_dict
from cbam_ablate.config.compose import load_config
from cbam_ablate.models import model_cost
from cbam_ablate.runs import RunStore
from cbam_ablate.sweep.estimate import guess_all
from cbam_ablate.training.device import device_name


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        ["optimizer.lr=100", "train.log_every=1"],
        ["train.ema=0.9", "optimizer=adamw", "optimizer.clip_norm=1"],
        ["augment=mixup", "train.compile=on", "placement=block"],
    ],
)
def test_a_network_that_the_store_does_not_know_is_tried_whatever_the_run(tiny, tmp_path, words):
    cfg = load_config([*tiny, *words, f"store={tmp_path}"])
    threads, device = torch.get_num_threads(), torch.device("cpu")
    found = guess_all({"a": cfg}, {"a": model_cost(cfg)}, RunStore(cfg.store), device, threads)
    assert 0 < found["a"].seconds < float("inf")
    assert (found["a"].source, torch.get_num_threads()) == ("a probe", threads)
    assert list(tmp_path.iterdir()) == []


def test_a_result_of_another_format_is_no_hindrance(tiny, tmp_path):
    cfg = load_config([*tiny, f"store={tmp_path}"])
    folder = RunStore(tmp_path).run(run_key(cfg)).path
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(to_dict(cfg)))
    device = torch.device("cpu")
    for odd in ({}, {"provenance": {"device": device_name(device)}}):
        (folder / "result.json").write_text(json.dumps(odd))
        assert guess_all({"a": cfg}, {"a": model_cost(cfg)}, RunStore(tmp_path), device, None) == {}


def test_a_network_whose_step_fails_has_no_estimate_and_the_others_have_theirs(tiny, tmp_path):
    gates = ["train.batch_size=1", "attention=bam", "reduction=2"]
    runs = {
        name: load_config([*tiny, *gates, f"placement={name}", f"store={tmp_path}"])
        for name in ("stage", "none")
    }
    costs = {name: model_cost(cfg) for name, cfg in runs.items()}
    threads = torch.get_num_threads()
    found = guess_all(runs, costs, RunStore(tmp_path), torch.device("cpu"), threads)
    assert list(found) == ["none"]
    assert torch.get_num_threads() == threads
