"""These tests run on a GPU, or on the one that `pretend/` makes up where there is none: `make test-cuda`."""

import pytest
import torch

from cbam_ablate.accel.cuda.steps import FastSteps
from cbam_ablate.config import load_config
from cbam_ablate.config.seeds import derive_seed
from cbam_ablate.data import make_feed
from cbam_ablate.models import build_model
from cbam_ablate.training import Trainer

GPU = torch.device("cuda:0")


class Quiet:
    """A run's log that keeps what was said."""

    def __init__(self, folder):
        folder.mkdir()
        self.last, self.best, self.lines = folder / "last.pt", folder / "best.pt", []

    def ignore(self, *_, **__):
        pass

    progress = epoch = rewrite_history = ignore

    def check(self):
        pass

    def stamp(self, **here):
        return {}

    def line(self, text):
        self.lines.append(text)


@pytest.fixture(autouse=True)
def a_device():
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device: make test-cuda")


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def one_order_of_sums(monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)


@pytest.fixture
def cli(command_line, tmp_path):
    # A process that a device was started in can't be forked.
    return command_line(tmp_path / "store", cold=True)


@pytest.fixture
def words(tiny):
    """Six steps, at learning rates that change, that a float32 holds exactly and that rounding survives."""
    rates = ["schedule=step", "schedule.gamma=0.5", "schedule.milestones=[0.3,0.7]", f"optimizer.lr={2**-10}"]
    size = ["train.epochs=2", "train.batch_size=10", "data.train_size=30", "data.val_size=20"]
    return [*tiny, *rates, *size, "train.device=cuda", "train.log_every=0"]


@pytest.fixture
def trainer(tmp_path):
    """Makes a run's trainer, or another kind of it, with a log of its own."""
    made = []

    def make(words, kind=Trainer, precision="fp32", make_steps=FastSteps):
        cfg = load_config(words)
        torch.manual_seed(derive_seed(cfg.seed, "weights"))
        log = Quiet(tmp_path / f"run{len(made)}")
        made.append(log)
        how = {"make_steps": make_steps} if kind is Trainer else {}
        return kind(cfg, build_model(cfg), make_feed(cfg, GPU, precision), log, GPU, precision, **how)

    return make


@pytest.fixture
def exact():
    """If equal work gives equal numbers: on the made-up GPU. A real one leaves the order of sums open."""
    return torch.cuda.get_device_name() == "pretended"


@pytest.fixture
def assert_same_weights(exact):
    def compare(found, expected):
        rtol, atol = (0, 0) if exact else (1e-2, 1e-3)
        torch.testing.assert_close(found, expected, rtol=rtol, atol=atol)

    return compare


@pytest.fixture
def assert_same_metrics(exact):
    def compare(found, expected):
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            an_image = 6 if "top" in name else 0
            assert found[name] == (value if exact else pytest.approx(value, rel=1e-2, abs=an_image)), name

    return compare
