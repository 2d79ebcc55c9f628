"""How a run's steps are done: compiled where that works and pays, and plain with `train.accel=off`."""

import json
from functools import partial

import pytest
import torch

from cbam_ablate.accel.cuda.compiled import COST, GAIN, compiled_or_eager, pays
from cbam_ablate.config.canonical import run_key
from cbam_ablate.models import build_model
from cbam_ablate.sweep.job import run_one
from tests.composed import composed

CPU = torch.device("cpu")


def train(words, store):
    cfg = composed([*words, f"store={store}"])
    state = run_one(cfg)
    return state, store / "runs" / run_key(cfg)


@pytest.fixture(scope="module")
def accelerated(tiny_words, tmp_path_factory):
    """The words of a run, and its folder."""
    words = [*tiny_words, "train.epochs=1", "placement=block", "optimizer.lr=0.01"]
    return words, train(words, tmp_path_factory.mktemp("fast"))[1]


@pytest.mark.parametrize(
    "by", ["option", "environment", pytest.param("former environment", marks=pytest.mark.slow)]
)
def test_with_accel_off_a_run_is_plain_has_the_same_key_and_trains_alike(
    accelerated, tmp_path, monkeypatch, by
):
    words, fast = accelerated
    named = {"environment": "CBAM_ABLATE_ACCEL", "former environment": "CBAM_ABLATE_KERNELS"}
    if by in named:
        monkeypatch.setenv(named[by], "off")
    monkeypatch.setattr("cbam_ablate.accel.cpu.library.call", lambda *_: pytest.fail("a pass was called"))
    monkeypatch.setattr("cbam_ablate.accel.cpu.norm.call", lambda *_: pytest.fail("a pass was called"))
    state, plain = train([*words, *(["train.accel=off"] if by == "option" else [])], tmp_path / "plain")
    assert (state.name, plain.name) == ("finished", fast.name), state.error
    losses = [
        json.loads((folder / "result.json").read_text())["metrics"]["train_loss"] for folder in (fast, plain)
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)


@pytest.mark.slow
def test_a_compiler_that_fails_leaves_the_run_to_eager_mode(tmp_path, tiny, monkeypatch):
    monkeypatch.setattr("torch.compile", lambda model, mode: lambda images: 1 / 0)
    eager, compiled = composed(tiny), composed([*tiny, "train.compile=on"])
    assert run_key(eager) == run_key(compiled)
    _, plain = train(tiny, tmp_path / "eager")
    state, folder = train([*tiny, "train.compile=on"], tmp_path / "compiled")
    assert state.name == "finished"
    assert "torch.compile does not work here" in (folder / "train.log").read_text()
    metrics = [json.loads((path / "result.json").read_text())["metrics"] for path in (plain, folder)]
    assert metrics[0] == metrics[1]


def test_on_a_cpu_a_run_says_that_it_goes_on_without_a_graph(tmp_path, tiny):
    state, folder = train([*tiny, "train.epochs=1", "train.compile=graph"], tmp_path)
    assert state.name == "finished", state.error
    assert "graph is for CUDA" in (folder / "train.log").read_text()


@pytest.mark.slow
def test_auto_compiles_once_after_the_first_epoch_and_where_it_pays(tmp_path, tiny, monkeypatch):
    asked = []
    monkeypatch.setattr("torch.compile", lambda model: asked.append(model) or model)
    for name, worth in (("no", False), ("yes", True)):
        monkeypatch.setattr("cbam_ablate.accel.cuda.steps.pays", lambda device, seconds, worth=worth: worth)
        _, folder = train([*tiny, "train.epochs=3"], tmp_path / name)
        lines = (folder / "train.log").read_text().splitlines()
        said = [next(word for word in ("compiled", "epoch") if word in line) for line in lines
                if "compiled in" in line or ("epoch " in line and "train loss" in line)]  # fmt: skip
        assert said == (["epoch", "compiled", "epoch", "epoch"] if worth else 3 * ["epoch"])
    assert len(asked) == 1


@pytest.mark.slow
# PyTorch's own, of its compiler's parts.
@pytest.mark.filterwarnings("ignore:.*(should not be instantiated|torch.jit.*deprecated):DeprecationWarning")
def test_however_many_networks_a_process_compiles_the_last_runs_compiled(tiny, monkeypatch):
    """PyTorch has a limit for the graphs of one function, beyond which it runs eagerly in silence."""
    ran, lines = [], []

    def backend(graph, _):
        return lambda *given: ran.append(len(given)) or graph.forward(*given)

    monkeypatch.setattr("torch.compile", partial(torch.compile, backend=backend))
    with torch._dynamo.config.patch(recompile_limit=2):
        for width in (4, 8, 12, 16):
            cfg = composed([*tiny, f"model.width={width}"])
            eager = build_model(cfg)
            cast = torch.autocast("cpu", enabled=False)
            network = compiled_or_eager(eager, cfg, CPU, cast, torch.float32, lines.append)
            ran.clear()
            images = torch.zeros(cfg.train.batch_size, 3, 32, 32)
            network(images.contiguous(memory_format=torch.channels_last))
            assert ran, f"width {width} of {lines}"
    torch._dynamo.reset()


def test_compiling_pays_where_it_saves_more_than_it_costs():
    cuda = torch.device("cuda:0")
    assert [pays(cuda, COST / GAIN * factor) for factor in (0.99, 1.01)] == [False, True]
    assert not pays(torch.device("cpu"), 1e6)


@pytest.fixture(scope="module")
def compiled_sweep(command_line, tmp_path_factory):
    """Two compiled runs of one process, and the words that they have in common."""
    cli = command_line(tmp_path_factory.mktemp("compiled"))
    words = [*command_line.tiny, "placement=class", "train.epochs=2", "train.compile=on"]
    done = cli("train", "-m", *words, "seed=1,2", "hydra.launcher.jobs=0")
    assert done.returncode == 0, done.stderr
    assert not any("does not work" in (folder / "train.log").read_text() for folder in cli.runs().values())
    return cli, words


def seed_of(folder):
    return json.loads((folder / "config.json").read_text())["seed"]


@pytest.mark.slow
def test_a_compiled_run_trains_like_an_eager_one(compiled_sweep, tmp_path):
    cli, words = compiled_sweep
    (key, folder), *_ = cli.runs().items()
    _, plain = train([*words, f"seed={seed_of(folder)}", "train.compile=off"], tmp_path)
    eager = json.loads((plain / "result.json").read_text())["metrics"]["train_loss"]
    assert cli.result(key)["metrics"]["train_loss"] == pytest.approx(eager, rel=0.05)


@pytest.mark.slow
def test_runs_of_one_process_share_a_compiled_graph_and_nothing_else(compiled_sweep, tmp_path):
    """The second run is the one that a process of its own would have trained."""
    cli, words = compiled_sweep
    logs = {key: (folder / "train.log").read_text() for key, folder in cli.runs().items()}
    (key,) = [key for key, log in logs.items() if "takes over" in log]
    assert sum("compiled in" in log for log in logs.values()) == 1
    shared, alone = cli.runs()[key], type(cli)(tmp_path / "alone")
    assert alone("train", *words, f"seed={seed_of(shared)}").returncode == 0
    weights = [
        torch.load(folder / "checkpoints" / "last.pt", weights_only=True)["model"]
        for folder in (shared, alone.runs()[key])
    ]
    torch.testing.assert_close(*weights, rtol=0, atol=0)
