"""The recorded step, with a graph for a CPU in the place of CUDA's.

It keeps every operator with the tensors and numbers it was given and replays them into the same memory, so
that what is frozen in a CUDA graph is frozen here.
"""

import gc
import weakref

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from cbam_ablate.config import load_config
from cbam_ablate.config.seeds import derive_seed
from cbam_ablate.data import make_feed
from cbam_ablate.models import build_model, cpu
from cbam_ablate.training import Trainer
from cbam_ablate.training.recorded import WARM_UP, Recorded

CPU = torch.device("cpu")
EXACT = ["schedule=step", "schedule.gamma=0.5", "optimizer.lr=0.03125", "train.epochs=4"]
"""Learning rates that change, and that a float32 holds exactly."""
SMALL = ["train.batch_size=16", "data.train_size=64", "data.val_size=20"]


class Tape(TorchDispatchMode):
    """Records by doing the work once, so its first replay has nothing left to do."""

    def __init__(self):
        super().__init__()
        self.calls, self.replays = [], -1

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func is torch.ops.aten._local_scalar_dense.default:
            raise RuntimeError("operation not permitted when stream is capturing")
        out = func(*args, **(kwargs or {}))
        self.calls.append((func, args, kwargs or {}, out))
        return out

    def beside(self, work):
        return work()

    def record(self, work):
        with self:
            return work()

    @torch.no_grad()
    def replay(self):
        self.replays += 1
        for func, args, kwargs, out in self.calls if self.replays else ():
            returned = func._schema.returns
            if any(value.alias_info and not value.alias_info.is_write for value in returned):
                continue  # a view of memory that stays where it is
            again = func(*args, **kwargs)
            for kept, new in zip(tree_leaves(out), tree_leaves(again), strict=True):
                if isinstance(kept, torch.Tensor) and kept is not new:
                    kept.copy_(new)


class Quiet:
    def __init__(self, folder):
        folder.mkdir()
        self.last, self.best, self.lines = folder / "last.pt", folder / "best.pt", []

    def ignore(self, *_, **__):
        pass

    progress = epoch = rewrite_history = ignore

    def line(self, text):
        self.lines.append(text)


@pytest.fixture(autouse=True)
def operators_alone_on_one_thread(monkeypatch):
    monkeypatch.setattr(cpu, "_library", lambda: None)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def trainer(words, folder):
    cfg = load_config(words)
    torch.manual_seed(derive_seed(cfg.seed, "weights"))
    return Trainer(cfg, build_model(cfg), make_feed(cfg, CPU, "fp32"), Quiet(folder), CPU, "fp32")


def recorded(words, folder):
    found = trainer(words, folder)
    tape = Tape()
    found.recorded = Recorded(CPU, found.log.line, tape)
    return found, tape


@pytest.mark.parametrize(
    "words",
    [
        ["placement=both"],
        ["optimizer=adamw", "optimizer.clip_norm=0.5", "train.label_smoothing=0.1"],
        ["augment=mixup", "train.ema=0.9"],
    ],
)
def test_a_recorded_run_is_bit_for_bit_the_eager_one(tmp_path, tiny, words):
    words = [*tiny, *SMALL, *EXACT, *words]
    eager, (ours, tape) = trainer(words, tmp_path / "eager"), recorded(words, tmp_path / "recorded")
    expected, found = eager.run(), ours.run()
    assert tape.replays == 4 * ours.feed.steps - WARM_UP - 1
    assert found.metrics == expected.metrics
    for name, value in eager.model.state_dict().items():
        assert torch.equal(ours.model.state_dict()[name], value), name


def test_a_recorded_run_goes_on_from_its_checkpoint_unrecorded_and_the_other_way_round(tmp_path, tiny):
    words = [*tiny, *SMALL, *EXACT, "optimizer=adamw"]
    expected = trainer(words, tmp_path / "whole").run().metrics
    for number, kinds in enumerate([(recorded, trainer), (trainer, recorded)]):
        runs = [kind(words, tmp_path / f"{number}{part}") for part, kind in enumerate(kinds)]
        first, second = (run[0] if isinstance(run, tuple) else run for run in runs)
        for _ in range(2):
            first._train_epoch()
            first._end_epoch()
        second.resume(torch.load(first.log.last, weights_only=True), "the first")
        second.log.best.write_bytes(first.log.best.read_bytes())
        assert second.run().metrics == expected


def test_a_step_that_waits_for_the_device_is_not_recorded_and_the_run_says_so(tmp_path, tiny):
    words = [*tiny, *SMALL, *EXACT]
    expected = trainer(words, tmp_path / "eager").run().metrics
    ours, tape = recorded(words, tmp_path / "recorded")
    ours.model.register_forward_pre_hook(lambda _, given: (given[0] * given[0].new_ones(()).item(),))
    assert ours.run().metrics == expected
    assert tape.replays == -1
    (said,) = [line for line in ours.log.lines if "recorded" in line]
    assert "not permitted when stream is capturing" in said
    assert (ours.recorded.graph, ours.recorded.inputs) == (None, None)


def test_a_run_that_is_over_leaves_no_memory_behind(tmp_path, tiny):
    """Without waiting for the garbage collector, since the next run of the process needs the room."""
    ours, _ = recorded([*tiny, *SMALL, *EXACT], tmp_path / "run")
    ours.run()
    weights = weakref.ref(ours.model)
    gc.disable()
    try:
        del ours
        assert weights() is None
    finally:
        gc.enable()


def test_on_a_cpu_a_run_says_that_it_goes_on_without_a_graph(tmp_path, tiny):
    ours = trainer([*tiny, "train.compile=graph"], tmp_path / "run")
    assert any("graph is for CUDA" in line for line in ours.log.lines)
    assert ours.recorded is None
