"""What the program says of itself: its options and this machine."""

import getpass
import socket

import pytest

from cbam_ablate.cli import run
from cbam_ablate.config.canonical import leaves
from cbam_ablate.config.help import groups, markdown, options
from cbam_ablate.config.options import dotted_names
from cbam_ablate.config.schema import RunConfig


def test_every_option_is_told_with_its_help(capsys):
    assert run("options", []) == 0
    printed = " ".join(capsys.readouterr().out.split())
    for name, field, _ in leaves(RunConfig()):
        assert f" {name}=" in printed
        assert field.metadata["help"], name
        assert " ".join(field.metadata["help"].split()) in printed


def test_every_option_is_on_the_docs_page_once():
    rows = [line.split("`")[1] for line in markdown().splitlines() if line.startswith("| `")]
    assert sorted(row for row in rows if row in dotted_names()) == sorted(dotted_names())


def test_the_default_shown_is_what_a_plain_command_composes():
    shown = {option.name: option.default for option in options()}
    assert (shown["optimizer.lr"], shown["model.attention.pool"]) == ("0.1", "[avg,max]")
    assert {group.name: group.default for group in groups()}["backbone"] == "resnet"


@pytest.mark.parametrize(
    ("word", "there", "absent"),
    [
        ("optimizer", "optimizer.lr=0.1", "schedule.name"),
        ("lr", "peak learning rate", "optimizer.momentum"),
        ("model.attention", "model.attention.kernel=7", "model.depth"),
        ("kernel", "3, 5, 7, 9", "optimizer.lr"),
    ],
)
def test_a_word_narrows_the_options(capsys, word, there, absent):
    assert run("options", [word]) == 0
    printed = capsys.readouterr().out
    assert there in printed
    assert absent not in printed


def test_a_name_that_nothing_has_is_refused_with_those_there_are(capsys):
    assert run("options", ["optimiser"]) == 1
    assert "optimizer, schedule" in capsys.readouterr().err


def test_the_doctor_says_what_works_and_keeps_secrets(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", "not-to-be-seen")
    assert run("doctor", [f"store={tmp_path}/store", f"data.cache={tmp_path}"]) == 0
    printed = capsys.readouterr().out
    for line in ("torch 2", "hydra-core 1", "CBAM in every block", "a key is set", "Training works here"):
        assert line in printed
    assert "not-to-be-seen" not in printed
    assert not {getpass.getuser(), socket.gethostname()} & set(printed.replace("/", " ").split())


def test_the_doctor_names_the_data_sets_of_the_cache(tmp_path, capsys):
    known = {
        "cifar10": '{"sha256": {"train_images": "0123456789"}}',
        "imagenet-256": '{"content": "9876543210", "channels": 3}',
        "svhn": "{",
    }
    for name, meta in known.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "meta.json").write_text(meta)
    run("doctor", [f"store={tmp_path}", f"data.cache={tmp_path}"])
    assert "cifar10 01234567 (0 MiB), imagenet-256 98765432 (0 MiB), svhn (damaged" in capsys.readouterr().out


def test_the_doctor_exits_with_1_where_training_cannot_work(tmp_path, capsys):
    (tmp_path / "file").touch()
    assert run("doctor", [f"store={tmp_path}/file/store", f"data.cache={tmp_path}"]) == 1
    printed = capsys.readouterr().out
    assert "store: set store= to a folder that can be written to" in printed
    assert "Training cannot work here" in printed


def test_a_device_that_is_not_there_is_what_the_doctor_says(tmp_path, capsys):
    assert run("doctor", [f"store={tmp_path}", f"data.cache={tmp_path}", "train.device=cuda:7"]) == 1
    assert "train.device=cuda:7: this machine has" in capsys.readouterr().out
