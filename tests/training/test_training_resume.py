import json
import signal

import pytest
import torch

from cbam_ablate.config import load_config
from cbam_ablate.config.canonical import run_key
from cbam_ablate.sweep.job import run_one


def weights(store, key, which="last"):
    return torch.load(store / "runs" / key / "checkpoints" / f"{which}.pt", weights_only=True)["model"]


def same(left, right):
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


EMA = ["train.ema=0.9", "train.save_every=2"]


@pytest.mark.parametrize(
    ("number", "extra"),
    [
        pytest.param(signal.SIGKILL, [], id="SIGKILL"),
        pytest.param(signal.SIGINT, EMA, id="SIGINT, average and rare saves", marks=pytest.mark.slow),
        pytest.param(signal.SIGKILL, EMA, id="SIGKILL, average and rare saves", marks=pytest.mark.slow),
        pytest.param(signal.SIGTERM, [], id="SIGTERM", marks=pytest.mark.slow),
    ],
)
def test_a_stopped_run_goes_on_and_ends_bit_identical(cli, tiny, tmp_path, without_times, number, extra):
    words = [*tiny, "placement=block", "train.epochs=4", "train.batch_size=32", *extra]
    cfg = load_config([*words, f"store={tmp_path / 'undisturbed'}"])
    key = run_key(cfg)
    run_one(cfg, echo=lambda line: None)
    folder = cli.store / "runs" / key
    code = cli.kill_when(cli.start("train", *words), (folder / "checkpoints" / "last.pt").exists, number)
    assert code == (-signal.SIGKILL if number == signal.SIGKILL else 130)
    assert not (folder / "result.json").exists()
    assert cli("train", *words).returncode == 0
    assert "goes on from its own last.pt" in (folder / "train.log").read_text()
    assert same(weights(cli.store, key), weights(tmp_path / "undisturbed", key))
    undisturbed = type(cli)(tmp_path / "undisturbed")
    assert without_times(cli.history(key)) == without_times(undisturbed.history(key))
    assert cli.result(key)["metrics"] == undisturbed.result(key)["metrics"]


def test_a_cut_short_checkpoint_starts_the_run_over(tmp_path, tiny):
    cfg = load_config([*tiny, f"store={tmp_path}"])
    key = run_key(cfg)
    run_one(cfg, echo=lambda line: None)
    folder = tmp_path / "runs" / key
    before = weights(tmp_path, key)
    (folder / "result.json").unlink()
    last = folder / "checkpoints" / "last.pt"
    last.write_bytes(last.read_bytes()[:1000])
    lines = []
    assert run_one(cfg, echo=lines.append).name == "finished"
    assert any("starts over" in line and "not a whole checkpoint" in line for line in lines)
    assert same(weights(tmp_path, key), before)


def test_a_history_line_cut_short_is_restored_from_the_checkpoint(tmp_path, tiny):
    cfg = load_config([*tiny, f"store={tmp_path}"])
    run_one(cfg, echo=lambda line: None)
    history = tmp_path / "runs" / run_key(cfg) / "history.jsonl"
    (history.parent / "result.json").unlink()
    whole = history.read_text()
    history.write_text(whole[:-20])
    run_one(cfg, echo=lambda line: None)
    assert history.read_text() == whole


def test_more_epochs_go_on_from_a_parent_as_a_run_of_their_own(tmp_path, tiny):
    short = load_config([*tiny, f"store={tmp_path}", "schedule=constant"])
    run_one(short, echo=lambda line: None)
    words = [*tiny, f"store={tmp_path}", "schedule=constant", "train.epochs=5"]
    longer = load_config([*words, f"train.resume_from={run_key(short)}"])
    straight = load_config(words)
    for cfg in (longer, straight):
        assert run_one(cfg, echo=lambda line: None).name == "finished"
    assert run_key(longer) != run_key(straight)
    assert same(weights(tmp_path, run_key(longer)), weights(tmp_path, run_key(straight)))
    found = json.loads((tmp_path / "runs" / run_key(longer) / "result.json").read_text())
    assert found["parent"] == run_key(short)


def test_a_parent_with_as_many_epochs_is_refused(tmp_path, tiny):
    short = load_config([*tiny, f"store={tmp_path}"])
    run_one(short, echo=lambda line: None)
    again = load_config([*tiny, f"store={tmp_path}", f"train.resume_from={run_key(short)}", "train.epochs=2"])
    state = run_one(again, echo=lambda line: None)
    assert (state.name, "has trained 3 epochs already" in state.error) == ("failed", True)
