"""W&B may fail in any way: the run's files are the same, the wait is bounded, one line says what to do."""

import os
import subprocess
import time
from pathlib import Path

import pytest

from cbam_ablate.loggers import beside
from cbam_ablate.loggers.wandb_run import clean, read_state

LIMIT = beside.PATIENCE + 15


def files(run, without_times):
    """What the store holds of a run, less its log and what a clock or a process puts in it."""
    result = without_times(run.result())
    names = sorted({str(path.relative_to(run.path)) for path in run.path.rglob("*")} - {"train.log"})
    return names, run.history(), result, run.config()["model"]


@pytest.fixture
def left_alone(store, without_times):
    """What the same run leaves without any logger."""
    plain = type(store)(store.root.with_name("plain"), store.tiny)
    return files(plain.train(plain.config()), without_times)


def check_not_sent(store, run, left_alone, without_times, began):
    assert time.monotonic() - began < LIMIT
    assert files(run, without_times) == left_alone
    (line,) = store.lines
    assert "was not sent" in line
    assert line.endswith(f"cbam-ablate wandb push run={run.key} store={store.root}")
    assert "\n" not in line
    assert not read_state(run).get("sent")


REFUSALS = {"graphql 401": {"graphql": 401}, "stream 403": {"stream": 403}}
OUTAGES = {
    "server hangs": {"graphql": "hang"},
    "server answers 500": {"graphql": 500},
    "server answers 429": {"graphql": 429},
    "stream hangs": {"stream": "hang"},
    "stream answers 500": {"stream": 500},
    "stream answers 429": {"stream": 429},
}


@pytest.mark.slow
@pytest.mark.parametrize("how", REFUSALS)
def test_a_server_that_refuses_costs_nothing(how, store, wandb_server, left_alone, without_times):
    wandb_server.fail = REFUSALS[how]
    began = time.monotonic()
    run = store.train(store.config("logger=wandb"))
    check_not_sent(store, run, left_alone, without_times, began)


@pytest.mark.slow
@pytest.mark.parametrize("how", OUTAGES)
def test_an_outage_costs_nothing_but_a_bounded_wait(how, store, wandb_server, left_alone, without_times):
    wandb_server.fail = OUTAGES[how]
    began = time.monotonic()
    run = store.train(store.config("logger=wandb"))
    check_not_sent(store, run, left_alone, without_times, began)


@pytest.mark.slow
def test_a_server_that_dies_half_way_costs_nothing(store, wandb_server, until, left_alone, without_times):
    def die(epoch):
        if epoch == 2:
            until(lambda: wandb_server.runs)
            wandb_server.die()

    began = time.monotonic()
    run = store.train(store.config("logger=wandb"), after=die)
    check_not_sent(store, run, left_alone, without_times, began)


@pytest.mark.slow
def test_nobody_listening_costs_nothing(store, wandb_server, left_alone, without_times, monkeypatch):
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    began = time.monotonic()
    run = store.train(store.config("logger=wandb"))
    check_not_sent(store, run, left_alone, without_times, began)


@pytest.mark.slow
def test_a_full_disk_for_w_and_bs_files_costs_nothing(
    store, left_alone, without_times, monkeypatch, tmp_path
):
    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=16k", "none", small], capture_output=True
    ).returncode:
        pytest.skip("needs the right to mount a small file system")
    try:
        monkeypatch.setenv("WANDB_DIR", str(small))
        began = time.monotonic()
        run = store.train(store.config("logger=wandb"))
        check_not_sent(store, run, left_alone, without_times, began)
    finally:
        subprocess.run(["umount", "-l", small], check=True)


def test_without_a_key_auto_is_offline_and_says_so_once(store, monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", "")
    run = store.train(store.config("logger=wandb"))
    (line,) = store.lines
    assert "written offline" in line
    assert "no API key" in line
    assert line.endswith(f"cbam-ablate wandb push run={run.key} store={store.root}")


@pytest.mark.slow
def test_without_a_key_online_sends_nothing_and_says_so(store, monkeypatch, left_alone, without_times):
    monkeypatch.setenv("WANDB_API_KEY", "")
    began = time.monotonic()
    run = store.train(store.config("logger=wandb", "logger.wandb.mode=online"))
    check_not_sent(store, run, left_alone, without_times, began)


@pytest.mark.parametrize("words", [["logger.wandb.mode=disabled"], []])
def test_disabled_starts_nothing(words, store, wandb_server, monkeypatch):
    if not words:
        monkeypatch.setenv("WANDB_MODE", "disabled")
    store.train(store.config("logger=wandb", *words))
    assert (store.lines, wandb_server.operations) == ([], [])
    assert not (store.root / "wandb").exists()


def test_secrets_stay_out_of_every_file_and_line(store, wandb_server):
    key = os.environ["WANDB_API_KEY"]
    store.train(store.config("logger=wandb", "seed=1"))
    wandb_server.fail = {"graphql": 401}
    store.train(store.config("logger=wandb", "seed=2"))
    assert [line for line in store.lines if key in line] == []
    assert len(store.lines) == 2
    written = [path for path in store.root.rglob("*") if path.is_file()]
    assert [path for path in written if key.encode() in Path(path).read_bytes()] == []
    assert len(written) > 10


@pytest.mark.slow
def test_what_a_server_says_is_told_without_the_key(store, wandb_server):
    wandb_server.fail = {"graphql": 401}
    wandb_server.message = f"key {os.environ['WANDB_API_KEY']} is not known"
    store.train(store.config("logger=wandb"))
    assert "key *** is not known" in store.lines[0]


def test_addresses_are_told_without_their_passwords():
    assert (
        clean("proxyconnect http://me:secret@proxy:80: refused")
        == "proxyconnect http://***@proxy:80: refused"
    )
