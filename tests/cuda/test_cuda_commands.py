"""The program itself on a GPU, its processes included."""

import json

import pytest

pytestmark = pytest.mark.cuda
SMALL = ["train.device=cuda", "train.batch_size=16", "data.train_size=64", "data.val_size=20"]


def only(runs):
    (key,) = runs
    return key


def test_a_run_ends_as_it_does_on_a_cpu(cli, tiny, tmp_path, exact):
    """On a CPU with the passes in C, and where numbers are exact with operators alone."""
    words = [*tiny, *SMALL, "placement=block", "optimizer.lr=0.01"]
    found = {}
    for name, kernels in (("cpu", ""), ("operators", "off"), ("cuda", "")):
        cli.store = tmp_path / name
        device = "cuda" if name == "cuda" else "cpu"
        done = cli("train", *words, f"train.device={device}", env={"CBAM_ABLATE_KERNELS": kernels})
        others = [line for line in done.stderr.splitlines() if not line.startswith("epoch ")]
        assert (done.returncode, others) == (0, [])
        found[name] = cli.result(only(cli.runs()))
    metrics = {name: result["metrics"] for name, result in found.items()}
    assert metrics["cuda"] == pytest.approx(metrics["cpu"], rel=1e-2, abs=6)
    assert metrics["cuda"]["train_loss"] == pytest.approx(metrics["cpu"]["train_loss"], rel=1e-3)
    if exact:
        assert metrics["cuda"] == metrics["operators"]
    assert found["cuda"]["provenance"]["device"].startswith("cuda: ")


def test_a_stored_run_is_evaluated_and_explained(cli, tiny, exact):
    words = [*tiny, *SMALL, "placement=block", "train.precision=bf16"]
    assert cli("train", *words).returncode == 0
    key = only(cli.runs())
    evaluated = cli("evaluate", f"run={key}")
    assert evaluated.returncode == 0, evaluated.stderr
    top1 = cli.result(key)["metrics"]["test_top1"]
    assert json.loads(evaluated.stdout)["top1"] == pytest.approx(top1, abs=0 if exact else 1)
    explained = cli("explain", f"run={key}")
    assert explained.returncode == 0, explained.stderr
    assert (cli.store / "explain" / key[:8] / "explain.png").stat().st_size > 10_000


def test_a_killed_sweep_goes_on_where_it_was(cli, tiny):
    words = ["train", "-m", *tiny, *SMALL, "train.epochs=6", "seed=0,1", "placement=none,block"]

    def saved():
        return any((run / "checkpoints" / "last.pt").exists() for run in cli.runs().values())

    cli.kill_when(cli.start(*words), saved)
    done = cli(*words)
    assert done.returncode == 0, done.stderr
    assert "4 to run on cuda:0" in done.stderr
    assert len(cli.runs()) == 4
    assert any("goes on from" in (run / "train.log").read_text() for run in cli.runs().values())
    assert all(cli.result(key)["provenance"]["device"].startswith("cuda: ") for key in cli.runs())


@pytest.mark.parametrize("launcher", ["local", "fused"])
def test_a_sweep_of_recorded_runs_is_the_sweep_of_eager_ones(
    cli, tiny, tmp_path, assert_same_metrics, launcher
):
    axes = ["seed=0,1", "placement=none,block", "optimizer.lr=0.001"]
    words = [*tiny, *SMALL, *axes, f"hydra/launcher={launcher}"]
    tables = []
    for how in ("off", "graph"):
        cli.store = tmp_path / how
        done = cli("train", "-m", *words, f"train.compile={how}")
        assert done.returncode == 0, done.stderr
        lines = [(run / "train.log").read_text() for run in cli.runs().values()]
        assert not any("can't be recorded" in text for text in lines)
        tables.append({key: cli.result(key)["metrics"] for key in cli.runs()})
    for key, expected in tables[0].items():
        assert_same_metrics(tables[1][key], expected)


def test_a_gpu_that_is_not_there_is_refused_with_those_that_are(cli, tiny):
    done = cli("train", *tiny, "train.device=cuda:9")
    assert done.returncode != 0
    assert "this machine has cpu, cuda:0" in done.stderr
    assert cli.runs() == {}
