import json
import shutil
import signal

import pytest
import torch

from cbam_ablate.config import ConfigError, load_config
from cbam_ablate.config.canonical import run_key
from cbam_ablate.sweep.job import run_one
from cbam_ablate.sweep.plan import make_plan
from tests.composed import composed


def weights(store, key, which="last"):
    return torch.load(store / "runs" / key / "checkpoints" / f"{which}.pt", weights_only=True)["model"]


def same(left, right):
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def epochs(folder):
    return [json.loads(line)["epoch"] for line in (folder / "history.jsonl").read_text().splitlines()]


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
    words = [*tiny, "placement=block", "train.epochs=4", "train.batch_size=16", *extra]
    cfg = composed([*words, f"store={tmp_path / 'undisturbed'}"])
    key = run_key(cfg)
    run_one(cfg)
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


@pytest.fixture(scope="module")
def trained(tiny_words, tmp_path_factory):
    """A store with a finished run of two epochs, and the run's key."""
    store = tmp_path_factory.mktemp("trained")
    cfg = composed([*tiny_words, f"store={store}"])
    assert run_one(cfg).name == "finished"
    return store, run_key(cfg)


@pytest.fixture
def unfinished(trained, tiny, tmp_path):
    """That run in a store of its own, without its result: its config and its folder."""
    shutil.copytree(trained[0] / "runs", tmp_path / "runs")
    folder = tmp_path / "runs" / trained[1]
    (folder / "result.json").unlink()
    return composed([*tiny, f"store={tmp_path}"]), folder


@pytest.mark.slow
def test_a_cut_short_checkpoint_starts_the_run_over(unfinished, tmp_path, caplog):
    cfg, folder = unfinished
    before = weights(tmp_path, folder.name)
    last = folder / "checkpoints" / "last.pt"
    last.write_bytes(last.read_bytes()[:1000])
    assert run_one(cfg).name == "finished"
    assert any("starts over" in line and "not a whole checkpoint" in line for line in caplog.messages)
    assert same(weights(tmp_path, folder.name), before)
    assert epochs(folder) == [1, 2]


def test_a_history_line_cut_short_is_restored_from_the_checkpoint(unfinished):
    cfg, folder = unfinished
    history = folder / "history.jsonl"
    whole = history.read_text()
    history.write_text(whole[:-20])
    run_one(cfg)
    assert history.read_text() == whole


def test_more_epochs_go_on_from_a_parent_as_a_run_of_their_own(tmp_path, tiny):
    words = [*tiny, f"store={tmp_path}", "schedule=constant", "train.epochs=2"]
    short = composed([*words, "train.epochs=1"])
    run_one(short)
    longer = composed([*words, f"train.resume_from={run_key(short)}"])
    straight = composed(words)
    for cfg in (longer, straight):
        assert run_one(cfg).name == "finished"
    assert run_key(longer) != run_key(straight)
    assert same(weights(tmp_path, run_key(longer)), weights(tmp_path, run_key(straight)))
    found = json.loads((tmp_path / "runs" / run_key(longer) / "result.json").read_text())
    assert found["parent"] == run_key(short)


COUNTING = """
import torch

class Counting(torch.optim.SGD):
    def __init__(self, params, lr: float):
        super().__init__(params, lr)
        for group in self.param_groups:
            group["steps"] = 0

    def step(self, closure=None):
        for group in self.param_groups:
            group["steps"] += 1
            group["lr"] /= group["steps"]
        super().step()
"""


def test_what_an_optimiser_of_ones_own_counts_in_its_groups_goes_on(tmp_path, tiny, monkeypatch):
    (tmp_path / "my_counting.py").write_text(COUNTING)
    monkeypatch.chdir(tmp_path)
    words = [*tiny, f"store={tmp_path}", "schedule=constant", "optimizer=my_counting:Counting"]
    words += ["optimizer.lr=0.1", "train.epochs=2"]
    short = load_config([*words, "train.epochs=1"])
    longer = load_config([*words, f"train.resume_from={run_key(short)}"])
    straight = load_config(words)
    for cfg in (short, longer, straight):
        assert run_one(cfg).name == "finished"
    assert same(weights(tmp_path, run_key(longer)), weights(tmp_path, run_key(straight)))


RARE = ["train.epochs=8", "train.save_every=4", "train.batch_size=32"]


def killed(cli, words, after):
    """The folder of a run killed after so many epochs, and the checkpoints that it left."""
    key = run_key(composed([*words, f"store={cli.store}"]))
    history = cli.store / "runs" / key / "history.jsonl"

    def ready():
        return history.exists() and len(history.read_text().splitlines()) >= after

    assert cli.kill_when(cli.start("train", *words), ready) == -signal.SIGKILL
    return history.parent


@pytest.mark.slow
def test_a_run_killed_before_its_first_checkpoint_tells_each_epoch_once(cli, tiny):
    folder = killed(cli, [*tiny, *RARE], after=1)
    assert not (folder / "checkpoints" / "last.pt").exists()
    assert cli("train", *tiny, *RARE).returncode == 0
    assert epochs(folder) == list(range(1, 9))


@pytest.fixture
def between(tmp_path, tiny):
    """A run stopped after some steps, its best epoch and its checkpoints."""
    cfg = composed([*tiny, f"store={tmp_path}", *RARE, "train.epochs=4", "train.save_every=2"])
    assert run_one(cfg).name == "finished"
    folder = tmp_path / "runs" / run_key(cfg)
    result = json.loads((folder / "result.json").read_text())
    (folder / "result.json").unlink()
    return cfg, folder / "checkpoints", result


@pytest.mark.slow
def test_best_weights_of_a_way_not_taken_are_not_the_runs(between, caplog):
    cfg, checkpoints, result = between
    other = torch.load(checkpoints / "best.pt", weights_only=True)
    torch.save({**other, "epoch": 9, "model": {}}, checkpoints / "coming_best.pt")
    assert run_one(cfg).name == "finished"
    again = json.loads((checkpoints.parent / "result.json").read_text())
    assert again["metrics"] == result["metrics"]
    torch.save({**other, "epoch": 9}, checkpoints / "best.pt")
    (checkpoints.parent / "result.json").unlink()
    assert run_one(cfg).name == "finished"
    assert any("starts over" in line and "not of epoch" in line for line in caplog.messages)
    assert json.loads((checkpoints.parent / "result.json").read_text())["metrics"] == result["metrics"]


@pytest.mark.slow
def test_a_kill_between_the_two_checkpoints_loses_neither(between, caplog):
    cfg, checkpoints, result = between
    (checkpoints / "best.pt").rename(checkpoints / "coming_best.pt")
    torch.save({"model": {}, "epoch": 9, "val_top1": 0.0}, checkpoints / "best.pt")
    assert run_one(cfg).name == "finished"
    assert not any("starts over" in line for line in caplog.messages)
    assert json.loads((checkpoints.parent / "result.json").read_text())["metrics"] == result["metrics"]
    assert {path.name for path in checkpoints.iterdir()} == {"best.pt", "last.pt"}


@pytest.mark.slow
def test_the_best_weights_on_disk_are_those_that_the_last_checkpoint_means(cli, tiny):
    folder = killed(cli, [*tiny, *RARE, "train.epochs=60"], after=6)
    checkpoints = folder / "checkpoints"
    last = torch.load(checkpoints / "last.pt", weights_only=True)["progress"]
    assert any(
        torch.load(path, weights_only=True)["epoch"] == last["best_epoch"]
        for path in checkpoints.glob("*best.pt")
    )


@pytest.mark.slow
def test_a_run_goes_on_in_the_number_format_that_it_began_in(between):
    cfg, checkpoints, _ = between
    cfg.train.precision = "auto"
    last = torch.load(checkpoints / "last.pt", weights_only=True)
    last["progress"]["fused"] = 4  # as version 0.1 wrote it
    torch.save({**last, "precision": "bf16", "key": run_key(cfg)}, checkpoints / "last.pt")
    best = torch.load(checkpoints / "best.pt", weights_only=True)
    torch.save({**best, "key": run_key(cfg)}, checkpoints / "best.pt")
    target = checkpoints.parents[1] / run_key(cfg)
    checkpoints.parent.rename(target)
    assert run_one(cfg).name == "finished"
    assert json.loads((target / "result.json").read_text())["provenance"]["precision"] == "bf16"


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("train.epochs=1", "has trained 2 epochs already"),
        ("data.val_size=300", "began with"),
        ("optimizer=adamw", "optimizer.name=adamw"),
        ("optimizer.decay_norm_bias=false", "began with"),
        ("placement=block", "model.attention.placement=block"),
        ("data.train_size=256", "data.train_size=256: .* began with 128"),
    ],
)
def test_a_parent_that_the_run_cant_go_on_from_is_refused_before_anything_runs(trained, tiny, word, said):
    store, parent = trained
    words = [*tiny, f"store={store}", "train.epochs=5", f"train.resume_from={parent}", word]
    with pytest.raises(ConfigError, match=said):
        make_plan(words, sweep=False)


@pytest.fixture
def checkpoint(trained, tmp_path):
    """The last checkpoint of a run, where no store is."""
    store, key = trained
    return shutil.copy(store / "runs" / key / "checkpoints" / "last.pt", tmp_path / "some.pt")


def test_a_checkpoint_that_lies_anywhere_can_be_gone_on_from(checkpoint, tmp_path, tiny, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tokens = [*tiny, f"store={tmp_path}", "train.epochs=4", "train.resume_from=some.pt"]
    longer = composed(tokens)
    assert list(make_plan(tokens, sweep=False).runs) == [run_key(longer)]
    assert run_one(longer).name == "finished"


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("train.epochs=1", "has trained 2 epochs already"),
        ("train.epochs=2", "has trained 2 epochs already, and no best.pt is beside it"),
        ("placement=block", "weights are of another network"),
    ],
)
def test_a_checkpoint_that_lies_anywhere_is_refused_when_it_is_loaded(checkpoint, tmp_path, tiny, word, said):
    other = composed([*tiny, "train.epochs=5", f"store={tmp_path}", f"train.resume_from={checkpoint}", word])
    state = run_one(other)
    assert (state.name, said in state.error) == ("failed", True), state.error
