"""Steps recorded as one CUDA graph."""

import gc
import weakref
from functools import partial

import pytest
import torch

from cbam_ablate.accel.cuda import compiled
from cbam_ablate.accel.cuda.recorded import WARM_UP, Recorded
from cbam_ablate.accel.cuda.steps import FastSteps
from cbam_ablate.accel.fused.trainer import FusedTrainer, Lane
from cbam_ablate.training import Trainer, checkpoint

pytestmark = pytest.mark.cuda
GRAPH = "train.compile=graph"
KINDS = [
    ["placement=both"],
    ["optimizer=adamw", "optimizer.clip_norm=0.5", "train.label_smoothing=0.1"],
    ["augment=mixup", "train.ema=0.9"],
]


@pytest.fixture
def replays(monkeypatch):
    """Counts the replays of recorded steps, of all runs together."""
    count, replay = [0], torch.cuda.CUDAGraph.replay

    def counted(graph):
        count[0] += 1
        return replay(graph)

    monkeypatch.setattr(torch.cuda.CUDAGraph, "replay", counted)
    return count


def fused(runs):
    """Trains these lanes together; their results, in order."""
    ends = {}
    FusedTrainer(runs, lambda lane, end: ends.update({id(lane): end})).run()
    return [ends[id(lane)] for lane in runs]


def end(run):
    """Its weights, statistics and averages after its last step."""
    last = checkpoint.load(run.log.last)
    return {"model": last["model"], "ema": last["ema"] or {}}


@pytest.mark.parametrize("kind", KINDS)
def test_a_recorded_run_ends_as_the_eager_one(
    words, trainer, assert_same_metrics, assert_same_weights, replays, kind
):
    words = [*words, *kind, "train.epochs=4"]
    eager, ours = trainer([*words, "train.compile=off"]), trainer([*words, GRAPH])
    expected = eager.run()
    found = ours.run()
    assert replays[0] == 4 * ours.feed.steps - WARM_UP
    assert_same_metrics(found.metrics, expected.metrics)
    assert_same_weights(end(ours), end(eager))


@pytest.mark.parametrize("kind", KINDS)
def test_runs_recorded_together_end_as_eager_ones_together(
    words, trainer, assert_same_weights, replays, kind
):
    other = ["seed=1", f"optimizer.lr={2**-11}"]
    every = [
        [trainer([*words, *kind, *own, compiled], Lane) for own in ([], ["seed=2"], other)]
        for compiled in ("train.compile=off", GRAPH)
    ]
    for lanes in every:
        fused(lanes)
    assert replays[0] == 2 * every[1][0].feed.steps - WARM_UP
    for expected, found in zip(*every, strict=True):
        assert_same_weights(end(found), end(expected))


@pytest.mark.parametrize("kind", [Trainer, Lane])
@pytest.mark.parametrize("broken", ["weights", "statistics", "totals"])
def test_a_recording_that_does_something_else_is_not_used_and_the_run_says_so(
    words, trainer, assert_same_weights, replays, monkeypatch, kind, broken
):
    """Anything that a step changes: here one tensor of it is, after each replay, not where it should be."""
    words = [*words, "train.compile=auto"]
    expected, ours = trainer([*words, "train.compile=off"], kind), trainer(words, kind)
    together = FusedTrainer([ours], lambda lane, end: None) if kind is Lane else ours
    replay = torch.cuda.CUDAGraph.replay

    def elsewhere(graph):
        replay(graph)
        kinds = dict(zip(("weights", "statistics", "optimiser", "totals"), together._changed(), strict=True))
        with torch.no_grad():
            kinds[broken][0].mul_(1.5)

    monkeypatch.setattr(torch.cuda.CUDAGraph, "replay", elsewhere)
    together.run()
    (fused([expected]) if kind is Lane else expected.run())
    assert replays[0] == 1
    assert_same_weights(end(ours), end(expected))
    (said,) = [line for line in ours.log.lines if "recorded" in line]
    assert said.endswith("it does not do what it does unrecorded")


TRACED = partial(torch.compile, backend="eager", fullgraph=True)
"""torch.compile less what needs a real GPU: what it traces is run as it is."""


def compiler(monkeypatch, works):
    """Has networks compiled anew, as far as that works."""
    monkeypatch.setattr(compiled, "_shelf", {})
    monkeypatch.setattr(torch, "compile", TRACED if works else lambda model: 1 / 0)


class Unrecorded(FastSteps):
    """Does every step as it is."""

    def _record_anew(self):
        self.recorded = Recorded(self.device, self.say, None)


# PyTorch's own, of its compiler's parts.
@pytest.mark.filterwarnings("ignore:.*(should not be instantiated|torch.jit.*deprecated):DeprecationWarning")
@pytest.mark.parametrize("works", [True, False])
def test_the_steps_of_a_compiled_network_are_recorded_too(
    words, trainer, assert_same_weights, replays, monkeypatch, works
):
    """With train.compile=on from the first, with auto from the epoch on after which it is compiled."""
    words = [*words, "data.train_size=50", "train.epochs=3"]
    monkeypatch.setattr("cbam_ablate.accel.cuda.steps.pays", lambda device, seconds: True)
    for how, recordings in (("on", 1), ("auto", 2)):
        ends = []
        for make_steps in (Unrecorded, FastSteps):
            compiler(monkeypatch, works)
            replays[0] = 0
            run = trainer([*words, f"train.compile={how}"], make_steps=make_steps)
            run.run()
            assert ("compiled in" in " ".join(run.log.lines)) == works
            ends.append(end(run))
        assert replays[0] == 15 - recordings * WARM_UP
        assert_same_weights(*ends)


def test_when_one_diverges_the_others_are_recorded_again(words, trainer, assert_same_weights, replays):
    words = [*words, "train.epochs=3", "data.train_size=50"]
    hows = ["train.compile=off", GRAPH]
    every = [[trainer([*words, f"seed={seed}", how], Lane) for seed in range(3)] for how in hows]
    for lanes in every:
        next(lanes[1].model.parameters()).data.fill_(float("nan"))
        assert [type(end).__name__ for end in fused(lanes)] == ["Result", "Diverged", "Result"]
    assert replays[0] == (5 - WARM_UP) + (10 - WARM_UP)
    for number in (0, 2):
        assert_same_weights(end(every[1][number]), end(every[0][number]))


def test_a_recorded_run_goes_on_from_its_checkpoint_unrecorded_and_the_other_way_round(
    words, trainer, assert_same_metrics
):
    words = [*words, "optimizer=adamw", "train.epochs=4"]
    expected = trainer([*words, "train.compile=off"]).run().metrics
    for hows in ([GRAPH, "train.compile=off"], ["train.compile=off", GRAPH]):
        first, second = (trainer([*words, how]) for how in hows)
        for _ in range(2):
            first._train_epoch()
            first._end_epoch()
        second.resume(checkpoint.load(first.log.last), "the first")
        second.log.best.write_bytes(first.log.best.read_bytes())
        assert_same_metrics(second.run().metrics, expected)


def waits(_, given):
    return (given[0] * given[0].new_ones(()).item(),)


def test_a_step_that_waits_for_the_device_is_not_recorded_and_the_run_says_so(
    words, trainer, assert_same_metrics, replays
):
    expected = trainer([*words, "train.compile=off"]).run().metrics
    ours = trainer([*words, GRAPH])
    ours.model.register_forward_pre_hook(waits)
    assert_same_metrics(ours.run().metrics, expected)
    assert replays[0] == 0
    (said,) = [line for line in ours.log.lines if "recorded" in line]
    assert "not permitted when stream is capturing" in said
    assert (ours.steps.recorded.graph, ours.steps.recorded.inputs) == (None, None)


@pytest.mark.parametrize(("kind", "works"), [(Trainer, True), (Lane, True), (Trainer, False)])
def test_what_is_over_leaves_no_memory_behind(words, trainer, kind, works):
    """Without waiting for the garbage collector, since the next run of the process needs the room."""
    run = trainer([*words, GRAPH], kind)
    if not works:
        run.model.register_forward_pre_hook(waits)
    together = FusedTrainer([run], lambda lane, end: None) if kind is Lane else run
    weights = weakref.ref(run.model)
    gc.disable()
    try:
        together.run()
        assert any("recorded" in line for line in run.log.lines) != works
        del run, together
        assert weights() is None
    finally:
        gc.enable()
