import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from cbam_ablate.accel.fused.stack import Stack, stack_images
from cbam_ablate.accel.fused.trainer import CantFuse, FusedTrainer, Lane, one_by_one
from cbam_ablate.config.seeds import derive_seed
from cbam_ablate.data import make_feed
from cbam_ablate.data.together import train_together
from cbam_ablate.models import build_model
from cbam_ablate.training import Diverged, Interrupted, Trainer, checkpoint
from cbam_ablate.training.evaluate import autocast
from tests.composed import composed

CPU = torch.device("cpu")
CLOSE = 1e-3
"""In parts of a loss, after eight steps in float32."""


class Folder:
    """Where one run's records go in these tests."""

    def __init__(self, path):
        path.mkdir(parents=True)
        self.last, self.best = path / "last.pt", path / "best.pt"
        self.lines, self.records = [], []

    def check(self):
        pass

    def stamp(self, **here):
        return {}

    def line(self, text):
        self.lines.append(text)

    def progress(self, **values):
        pass

    def epoch(self, record):
        self.records.append(record)

    def rewrite_history(self, records):
        self.records = list(records)


def trainer(kind, words, path):
    cfg = composed(words)
    torch.manual_seed(derive_seed(cfg.seed, "weights"))
    return kind(cfg, build_model(cfg), make_feed(cfg, CPU, "fp32"), Folder(path), CPU, "fp32")


def losses(result):
    return {name: value for name, value in result.metrics.items() if name.endswith("loss")}


@pytest.fixture
def tiny(tiny):
    """A few steps at a learning rate so tame that rounding doesn't grow in them."""
    few = ["train.epochs=2", "train.batch_size=16", "data.train_size=64", "data.val_size=20"]
    return [*tiny, *few, "optimizer.lr=0.01"]


@pytest.fixture
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_thread")]


@pytest.fixture
def both(tmp_path, tiny):
    """Trains the runs of these lists of words separately and together: their results and trainers."""

    def train(*runs):
        apart = [trainer(Trainer, [*tiny, *words], tmp_path / f"apart{k}") for k, words in enumerate(runs)]
        lanes = [trainer(Lane, [*tiny, *words], tmp_path / f"fused{k}") for k, words in enumerate(runs)]
        ends = {}
        FusedTrainer(lanes, lambda lane, end: ends.update({id(lane): end})).run()
        return [one.run() for one in apart], [ends[id(lane)] for lane in lanes], apart, lanes

    return train


def gap(found, expected):
    """The largest difference of two gradients, in parts of the second's norm."""
    norm = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(g) for g in expected]))
    return max((f - e).abs().max() for f, e in zip(found, expected, strict=True)) / norm


NETWORKS = {
    "plain": [],
    "cbam": ["placement=both", "kernel=3"],
    "other pools": ["placement=block", "model.attention.pool=[avg,lse]", "model.attention.residual=block"],
    "simam": ["placement=stage", "attention=simam"],
    "bam": ["placement=stage", "attention=bam"],
    "coordinate": ["placement=block", "attention=coordinate"],
    "gc": ["placement=class", "attention=gc"],
    "eca": ["placement=block", "attention=eca"],
    "preact": ["backbone=resnet_preact", "depth=18"],
    "vgg": ["backbone=vgg", "depth=11", "placement=block"],
    "mobilenet": ["backbone=mobilenet", "depth=auto", "reduction=2"],
    "residual_attention": ["backbone=residual_attention", "depth=56"],
}


QUICK = ("plain", "cbam", "bam", "gc", "vgg")
CASES = [
    pytest.param(name, torch.float64, 1e-12, marks=() if name in QUICK else pytest.mark.slow, id=name)
    for name in NETWORKS
]
# In float32 a network whose norms see few pixels magnifies rounding, alone as together.
CASES += [pytest.param(name, torch.float32, 1e-5, id=f"{name}, float32") for name in ("plain", "cbam")]


@pytest.mark.parametrize(("name", "dtype", "tolerance"), CASES)
def test_gradients_and_statistics_are_those_of_separate_networks(tiny, name, dtype, tolerance):
    cfg, models = composed([*tiny, *NETWORKS[name]]), []
    for seed in range(3):
        torch.manual_seed(seed)
        model = build_model(cfg).to(dtype)
        models.append(model.to(memory_format=torch.channels_last))
    torch.manual_seed(12)  # whose images leave no value so near a ReLU's edge that rounding decides
    images = torch.randn(3, 4, 3, 32, 32, dtype=dtype).to(memory_format=torch.preserve_format)
    labels = torch.randint(10, (3, 4))
    apart = copy.deepcopy(models)
    stack = Stack(models)
    each = [part.contiguous(memory_format=torch.channels_last) for part in images]
    logits = stack(stack_images(each))
    F.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none").view(3, 4).mean(
        1
    ).sum().backward()
    for run, model in enumerate(apart):
        F.cross_entropy(model(each[run]), labels[run]).backward()
        found = [stack.parameters[key].grad[run] for key, _ in model.named_parameters()]
        assert gap(found, [parameter.grad for parameter in model.parameters()]) < tolerance
        for key, buffer in model.named_buffers():
            assert torch.allclose(stack.buffers[key][run].double(), buffer.double(), rtol=1e-4, atol=1e-6), (
                key
            )
            assert torch.equal(models[run].get_buffer(key), stack.buffers[key][run])


SGD = ["optimizer.lr=0.02", "optimizer.weight_decay=0.01", "train.ema=0.9"]
ADAMW = ["optimizer=adamw", "optimizer.lr=0.001", "schedule=step", "train.label_smoothing=0.1"]
CLIPPED = ["optimizer.clip_norm=0.5", "optimizer.decay_norm_bias=false", "optimizer.momentum=0"]


def test_bf16_rounds_as_it_does_in_separate_networks(tiny):
    """Against float32, which both miss by as much."""
    torch.manual_seed(0)
    cfg = composed([*tiny, "placement=both", "kernel=3"])
    models = [build_model(cfg) for _ in range(2)]
    models = [model.to(memory_format=torch.channels_last) for model in models]
    exact = copy.deepcopy(models)
    images = torch.randn(2, 32, 3, 32, 32)
    each = [part.contiguous(memory_format=torch.channels_last) for part in images]
    lowered = stack_images([part.bfloat16() for part in each])
    with autocast(CPU, "bf16"):
        found = Stack(copy.deepcopy(models))(lowered)
        alone = torch.stack([model(part.bfloat16()) for model, part in zip(models, each, strict=True)])
    assert found.dtype == alone.dtype == torch.bfloat16
    expected = torch.stack([model(part) for model, part in zip(exact, each, strict=True)])
    assert (found - expected).norm() < 1.5 * (alone - expected).norm()


VARIED = [
    ["seed=1", *SGD],
    ["seed=2", *CLIPPED, "optimizer.nesterov=false", "augment=erasing"],
    ["seed=2", *ADAMW],
    ["seed=1", "optimizer=adam", "optimizer.lr=0.001", "schedule.warmup_epochs=1", "train.ema=0.5"],
    ["seed=3", *SGD],
]


def test_runs_of_any_hyperparameters_train_as_they_would_alone(both, tmp_path):
    apart, fused, separate, lanes = both(*[["placement=class", *words] for words in VARIED])
    for one, other, alone, lane in zip(apart, fused, separate, lanes, strict=True):
        assert other.selection == one.selection
        assert losses(other) == pytest.approx(losses(one), rel=CLOSE)
        assert [r.keys() for r in lane.log.records] == [r.keys() for r in alone.log.records]
        assert [r["lr"] for r in lane.log.records] == [r["lr"] for r in alone.log.records]
        ours, theirs = checkpoint.load(lane.log.last), checkpoint.load(alone.log.last)
        assert ours.keys() == theirs.keys()
        for name, value in theirs["model"].items():
            assert (ours["model"][name] - value).double().norm() <= 0.01 * value.double().norm() + CLOSE, name
        assert ours["optimizer"]["param_groups"] == theirs["optimizer"]["param_groups"]
        assert ours["optimizer"]["state"].keys() == theirs["optimizer"]["state"].keys()
        assert lane.log.last.stat().st_size == pytest.approx(alone.log.last.stat().st_size, rel=0.05)


SAME = [["seed=1"], ["seed=2"], ["seed=1"]]
FEEDS = {
    "crops": SAME,
    "rotations": [[*words, "augment=rotate_shift"] for words in SAME],
    "erasing": [[*words, "augment=erasing"] for words in SAME],
    "mixup": [[*words, "augment=mixup"] for words in SAME],
    "different": [["seed=1"], ["seed=2", "augment=none"], ["seed=3", "augment=erasing"]],
}


@pytest.mark.parametrize("name", FEEDS)
@pytest.mark.parametrize("together", [train_together, one_by_one])
def test_every_run_sees_the_batches_that_it_would_see_alone(tiny, name, together):
    feeds = [make_feed(composed([*tiny, *words]), CPU, "fp32") for words in FEEDS[name]]
    alone = [feed.train(1, 2) for feed in feeds]
    for (images, labels), *each in zip(together(feeds, 1, 2), *alone, strict=True):
        assert images.permute(1, 3, 4, 0, 2).is_contiguous()
        for run, (own_images, own_labels) in enumerate(each):
            assert torch.equal(images[run], own_images)
            assert torch.equal(labels[run], own_labels)


def test_mixed_labels_train_too_and_costs_are_shared(both):
    words = [["train.epochs=1", "augment=mixup", f"seed={seed}"] for seed in (0, 1)]
    apart, fused, _, lanes = both(*words)
    assert losses(fused[1]) == pytest.approx(losses(apart[1]), rel=CLOSE)
    assert fused[0].cost["train_seconds"] == fused[1].cost["train_seconds"]
    assert {lane.together for lane in lanes} == {2}


def test_a_run_that_diverges_ends_alone(both, tmp_path, tiny):
    words = [["seed=0"], ["seed=1", "optimizer.lr=100", "optimizer.weight_decay=1"], ["seed=2"]]
    lanes = [trainer(Lane, [*tiny, *extra], tmp_path / f"run{k}") for k, extra in enumerate(words)]
    ends = {}
    FusedTrainer(lanes, lambda lane, end: ends.update({lanes.index(lane): end})).run()
    assert isinstance(ends[1], Diverged)
    assert "epoch 1, step" in str(ends[1])
    assert lanes[1].log.records == []
    for run in (0, 2):
        alone = trainer(Trainer, [*tiny, *words[run]], tmp_path / f"alone{run}").run()
        assert losses(ends[run]) == pytest.approx(losses(alone), rel=CLOSE)


@pytest.mark.slow
def test_survivors_keep_their_moments_and_averages(tmp_path, tiny):
    base = [*tiny, "train.ema=0.9", "optimizer=adamw", "schedule=constant", "train.epochs=6"]
    words = [
        [*base, "optimizer.lr=0.0001"],
        [*base, "optimizer.lr=100", "optimizer.weight_decay=1"],
    ]
    lanes = [trainer(Lane, run, tmp_path / f"run{k}") for k, run in enumerate(words)]
    ends = {}
    FusedTrainer(lanes, lambda lane, end: ends.update({lanes.index(lane): end})).run()
    assert isinstance(ends[1], Diverged)
    alone = trainer(Trainer, words[0], tmp_path / "alone").run()
    assert losses(ends[0]) == pytest.approx(losses(alone), rel=CLOSE / 5)


@pytest.mark.slow
def test_a_run_goes_on_alone_where_it_was_left_together_and_the_other_way_round(tiny, tmp_path):
    words = [
        [*tiny, f"seed={seed}", "train.ema=0.9", "optimizer=adamw", "optimizer.lr=0.001"] for seed in (0, 1)
    ]
    alone = [trainer(Trainer, run, tmp_path / f"alone{k}").run() for k, run in enumerate(words)]
    for steps in (1, 5):
        stop = iter([*[False] * steps, True]).__next__
        lanes = [trainer(Lane, run, tmp_path / f"{steps}fused{k}") for k, run in enumerate(words)]
        with pytest.raises(Interrupted):
            FusedTrainer(lanes, lambda lane, end: None, stop).run()
        state = checkpoint.load(lanes[0].log.last)
        later = trainer(Trainer, words[0], tmp_path / f"{steps}later0")
        later.resume(state, "fused")
        lanes[0].log.best.exists() and lanes[0].log.best.rename(later.log.best)
        assert later.done.step == (steps + 1) % 4
        assert losses(later.run()) == pytest.approx(losses(alone[0]), rel=CLOSE)
    ends = []
    lanes = [trainer(Lane, run, tmp_path / f"again{k}") for k, run in enumerate(words)]
    for run, lane in enumerate(lanes):
        lane.resume(checkpoint.load(tmp_path / f"alone{run}" / "last.pt"), "alone")
        lane.done.epoch = 1
        lane.done.history.pop()
        lane.log.best.write_bytes((tmp_path / f"alone{run}" / "best.pt").read_bytes())
    FusedTrainer(lanes, lambda lane, end: ends.append(end)).run()
    assert [end.selection["epochs"] for end in ends] == [2, 2]


class Dice(nn.Module):
    def forward(self, x):
        return F.dropout(x, 0.5)


def test_a_network_that_draws_random_numbers_is_not_fused(tiny, tmp_path):
    lanes = [trainer(Lane, [*tiny, f"seed={seed}"], tmp_path / str(seed)) for seed in (0, 1)]
    before = [buffer.clone() for buffer in lanes[0].model.buffers()]
    for lane in lanes:
        lane.model.attention = Dice()
    with pytest.raises(CantFuse, match="random"):
        FusedTrainer(lanes, lambda lane, end: None)
    assert all(torch.equal(a, b) for a, b in zip(before, lanes[0].model.buffers(), strict=True))


def test_runs_together_have_the_loss_that_they_have_alone(both):
    words = ["loss=focal", "loss.class_weights=balanced", "augment.mixup=1", "data.sampler=balanced"]
    apart, fused, *_ = both(
        [*words, "seed=0"], [*words, "seed=1"], ["loss.class_weights=balanced", "augment.mixup=1"]
    )
    for alone, together in zip(apart, fused, strict=True):
        assert losses(together) == pytest.approx(losses(alone), rel=CLOSE)
    assert abs(apart[0].metrics["train_loss"] - apart[2].metrics["train_loss"]) > 0.1
