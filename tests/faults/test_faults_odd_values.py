"""Odd values from outside, each told in one message that names it; never as a bug, never in silence."""

import io
import re
import socket
import tarfile
import time
from types import SimpleNamespace

import pytest
import torch

from cbam_ablate import load_config
from cbam_ablate.aggregate.declared import check_values
from cbam_ablate.config.output import TableConfig
from cbam_ablate.data.cifar import _unpack
from cbam_ablate.errors import ConfigError, ServiceError, StoreError
from cbam_ablate.loggers import wandb_pull
from cbam_ablate.sources import Wanted
from cbam_ablate.sources.load import study_of
from cbam_ablate.sweep.outline import make_outline
from cbam_ablate.sweep.plan import make_plan
from cbam_ablate.training import checkpoint

MISREAD = {
    "a truth value of 2": ("model:\n  attention:\n    mlp_bias: 2\n", "mlp_bias: 2: must be true or false"),
    "an octal number in a grid": (
        "hydra:\n  sweeper:\n    params:\n      seed: 010\n",
        "seed: 010 is 8 to YAML",
    ),
    "a number of 8000 digits": (f"train:\n  epochs: {8000 * '9'}\n", "train.epochs: 9999999999"),
}


@pytest.mark.parametrize("kind", MISREAD)
def test_what_yaml_would_read_otherwise_than_it_looks_is_refused_by_line(kind, tmp_path, monkeypatch):
    text, told = MISREAD[kind]
    (tmp_path / "conf" / "study").mkdir(parents=True)
    (tmp_path / "conf" / "study" / "mine.yaml").write_text(f"# @package _global_\n{text}")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError) as caught:
        make_outline(["study=mine", "seed=0,1"])
    (line,) = str(caught.value).splitlines()
    assert line.startswith(f"conf/study/mine.yaml line {1 + text.count(chr(10))}: ")
    assert told in line


@pytest.mark.parametrize(
    "option",
    ["train.epochs", "train.batch_size", "sweep.retries", "data.train_size", "seed", "optimizer.lr"],
)
def test_a_whole_number_of_800_digits_is_refused_in_short(option):
    with pytest.raises(ConfigError) as caught:
        load_config([f"{option}={800 * '9'}"])
    assert option in str(caught.value)
    assert re.search("at most|smaller", str(caught.value))
    assert len(str(caught.value)) < 200


def test_a_link_to_nothing_in_an_archive_is_told(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        link = tarfile.TarInfo("cifar/data_batch_1")
        link.type, link.linkname = tarfile.SYMTYPE, "gone"
        archive.addfile(link, io.BytesIO())
    with pytest.raises(ValueError, match=r"a\.tar holds a link to nothing"):
        _unpack(tmp_path / "a.tar", "cifar", ("data_batch_1",))


@pytest.mark.parametrize(
    "state",
    [
        {"model": 3},
        {"model": {"stem.weight": 3}},
        {"model": {1: torch.zeros(1)}},
        {"model": {"stem.weight": torch.zeros(1)}, "ema": 3},
    ],
    ids=str,
)
def test_a_checkpoint_whose_weights_are_no_tensors_is_refused(state, tmp_path):
    torch.save(state, tmp_path / "last.pt")
    with pytest.raises(StoreError, match=r"last\.pt: not a"):
        checkpoint.load(tmp_path / "last.pt")


def test_a_server_that_never_answers_is_given_up_on(monkeypatch):
    monkeypatch.setattr(wandb_pull, "PATIENCE", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.monotonic()
        with pytest.raises(ServiceError, match="can't be reached"):
            wandb_pull.reach(f"http://127.0.0.1:{silent.getsockname()[1]}")
    assert time.monotonic() - began < 30


def test_a_server_that_is_not_there_is_named():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(ServiceError, match=rf"http://127\.0\.0\.1:{port} can't be reached \(.*refused"):
        wandb_pull.reach(f"http://127.0.0.1:{port}")


def test_a_network_that_no_single_image_can_train_is_refused_before_it_runs(tmp_path):
    words = ["data=synthetic", f"store={tmp_path}", "model.width=16", "placement=stage"]
    with pytest.raises(ConfigError, match=r"train\.batch_size=1: .* takes 2 images or more") as caught:
        make_plan([*words, "train.batch_size=1,2", "attention=bam,cbam"])
    assert "Expected more than 1 value" not in str(caught.value)
    assert "1 of 4 cells" in str(caught.value)
    assert make_plan([*words, "train.batch_size=1", "attention=cbam"], sweep=False).costs


def test_a_label_that_no_file_can_hold_is_refused():
    with pytest.raises(ConfigError, match=r"table\.labels\.x: is not finite"):
        check_values(TableConfig(labels={"x": float("inf")}))


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["table.order=${seed}"], "table.order"),
        (["~augment=true"], "augment"),
        (["hydra/sweeper=1"], "Available options in 'hydra/sweeper'"),
        (["optimizer.lr=1e999"], "optimizer.lr=inf: must be at most 100"),
        (["placement=none,block", "table.baseline.placement=inf"], "table.baseline.placement: is not finite"),
        (["hydra/launcher=range(0,1,0)"], "hydra/launcher=range(0,1,0): not a name=value"),
        (["metrics.own=interval(0,1)"], "an interval has no list of values"),
        ([f"train.resume_from={300 * 'x'}"], "neither a run key"),
    ],
    ids=str,
)
def test_odd_words_are_told_in_one_message(words, told):
    with pytest.raises(ConfigError) as caught:
        make_outline(["data=synthetic", *words, "seed=0,1"])
    assert told in str(caught.value)


def test_a_value_that_is_nan_is_told_and_not_left_out_in_silence():
    def pulled(seed, acc):
        config, summary = {"net": "a", "seed": seed}, {"acc": acc, "_runtime": 3}
        run = SimpleNamespace(id=f"r{seed}", config=config, summary_metrics=summary, state="finished")
        return wandb_pull._found(run, "they/theirs", [{"_step": 0, "acc": 0.5}])

    runs = [pulled(0, 0.5), pulled(1, 0.6), pulled(2, "NaN")]  # as W&B's JSON has it
    assert any("acc is NaN in 1 run" in note for note in study_of(runs, [], "theirs", Wanted(), []).notes)
