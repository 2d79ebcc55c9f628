"""Steps recorded as one CUDA graph."""

import gc
import weakref

import pytest
import torch

from cbam_ablate.training import checkpoint
from cbam_ablate.training.fused import FusedTrainer, Lane
from cbam_ablate.training.recorded import WARM_UP

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


def alike(found, expected, same):
    """Whether two runs have the same weights, statistics and averages after their last step."""
    ends = [checkpoint.load(run.log.last) for run in (found, expected)]
    states = [{**end["model"], **(end["ema"] or {})} for end in ends]
    return all(same(states[0][name], value) for name, value in states[1].items())


@pytest.mark.parametrize("kind", KINDS)
def test_a_recorded_run_ends_as_the_eager_one(words, trainer, same, replays, kind):
    eager, ours = trainer([*words, *kind, "train.compile=off"]), trainer([*words, *kind, GRAPH])
    expected = eager.run()
    found = ours.run()
    assert replays[0] == 2 * ours.feed.steps - WARM_UP
    assert found.metrics == pytest.approx(expected.metrics, rel=1e-2)
    assert alike(ours, eager, same)


@pytest.mark.parametrize("kind", KINDS)
def test_runs_recorded_together_end_as_eager_ones_together(words, trainer, same, replays, kind):
    other = ["seed=1", "optimizer.lr=0.015625"]
    every = [
        [trainer([*words, *kind, *own, compiled], Lane) for own in ([], ["seed=2"], other)]
        for compiled in ("train.compile=off", GRAPH)
    ]
    for lanes in every:
        fused(lanes)
    assert replays[0] == 2 * every[1][0].feed.steps - WARM_UP
    assert all(alike(found, expected, same) for expected, found in zip(*every, strict=True))


def test_when_one_diverges_the_others_are_recorded_again(words, trainer, same, replays):
    words = [*words, "train.epochs=3", "data.train_size=50"]
    hows = ["train.compile=off", GRAPH]
    every = [[trainer([*words, f"seed={seed}", how], Lane) for seed in range(3)] for how in hows]
    for lanes in every:
        next(lanes[1].model.parameters()).data.fill_(float("nan"))
        assert [type(end).__name__ for end in fused(lanes)] == ["Result", "Diverged", "Result"]
    assert replays[0] == (5 - WARM_UP) + (10 - WARM_UP)
    for number in (0, 2):
        assert alike(every[1][number], every[0][number], same)


def test_a_recorded_run_goes_on_from_its_checkpoint_unrecorded_and_the_other_way_round(words, trainer):
    words = [*words, "optimizer=adamw"]
    expected = trainer([*words, "train.compile=off"]).run().metrics
    for hows in ([GRAPH, "train.compile=off"], ["train.compile=off", GRAPH]):
        first, second = (trainer([*words, how]) for how in hows)
        first._train_epoch()
        first._end_epoch()
        second.resume(checkpoint.load(first.log.last), "the first")
        second.log.best.write_bytes(first.log.best.read_bytes())
        assert second.run().metrics == pytest.approx(expected, rel=1e-2)


def test_a_step_that_waits_for_the_device_is_not_recorded_and_the_run_says_so(words, trainer, replays):
    expected = trainer([*words, "train.compile=off"]).run().metrics
    ours = trainer([*words, GRAPH])
    ours.model.register_forward_pre_hook(lambda _, given: (given[0] * given[0].new_ones(()).item(),))
    assert ours.run().metrics == pytest.approx(expected, rel=1e-2)
    assert replays[0] == 0
    (said,) = [line for line in ours.log.lines if "recorded" in line]
    assert "not permitted when stream is capturing" in said
    assert (ours.recorded.graph, ours.recorded.inputs) == (None, None)


@pytest.mark.parametrize("kind", [None, Lane])
def test_what_is_over_leaves_no_memory_behind(words, trainer, kind):
    """Without waiting for the garbage collector, since the next run of the process needs the room."""
    run = trainer([*words, GRAPH], *[kind] * (kind is not None))
    together = FusedTrainer([run], lambda lane, end: None) if kind else run
    together.run()
    weights = weakref.ref(run.model)
    gc.disable()
    try:
        del run, together
        assert weights() is None
    finally:
        gc.enable()
