import json
import math

import pytest
import torch
from torch import nn

from cbam_ablate.config.canonical import run_key
from cbam_ablate.config.seeds import derive_seed
from cbam_ablate.data import make_feed
from cbam_ablate.models import build_model
from cbam_ablate.sweep.job import run_one
from cbam_ablate.training.evaluate import Totals
from cbam_ablate.training.optimizer import build_optimizer, build_schedule
from tests.composed import composed

CPU = torch.device("cpu")


def train(words, store):
    cfg = composed([*words, f"store={store}"])
    state = run_one(cfg)
    return state, store / "runs" / run_key(cfg)


def test_a_run_leaves_every_file_of_the_contract(tmp_path, tiny):
    state, folder = train([*tiny, "logger=csv"], tmp_path)
    assert state.name == "finished"
    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    expected = {"config.json", "history.jsonl", "history.csv", "result.json", "status.json", "train.log"}
    assert files >= expected | {"curves.svg", "checkpoints/last.pt", "checkpoints/best.pt"}


def test_the_result_says_what_where_and_by_which_rule(tmp_path, tiny):
    _, folder = train(tiny, tmp_path)
    result = json.loads((folder / "result.json").read_text())
    history = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    best = max(range(2), key=lambda index: history[index]["val_top1"])
    assert result["selection"]["epoch"] == best + 1
    assert result["metrics"]["val_top1"] == history[best]["val_top1"]
    assert result["cost"]["params"] > 0
    recorded = result["provenance"]
    assert recorded["precision"] == "fp32"
    assert recorded["threads"] == 1
    assert recorded["versions"]["torch"].startswith("2.")
    assert len(recorded["dataset_sha256"]) >= 8


@pytest.mark.slow
def test_a_class_can_be_learnt(tmp_path, tiny):
    _, folder = train(
        [*tiny, "train.epochs=6", "model.width=8", "data.train_size=512", "data.val_size=128"], tmp_path
    )
    assert json.loads((folder / "result.json").read_text())["metrics"]["test_top1"] > 50


def test_the_same_seed_gives_every_architecture_the_same_batches():
    words = ["data=synthetic", "train.batch_size=64", "seed=3"]
    plain = make_feed(composed(words), CPU, "fp32")
    gated = make_feed(composed([*words, "placement=block", "depth=34", "optimizer=adamw"]), CPU, "fp32")
    other = make_feed(composed(["data=synthetic", "train.batch_size=64", "seed=4"]), CPU, "fp32")
    pairs = list(zip(plain.train(2, 0), gated.train(2, 0), other.train(2, 0), strict=True))
    assert all(torch.equal(a[0], b[0]) and torch.equal(a[1], b[1]) for a, b, _ in pairs)
    assert not any(torch.equal(a[0], c[0]) for a, _, c in pairs)


def test_what_a_network_draws_for_its_weights_does_not_move_the_data(tmp_path, tiny):
    torch.manual_seed(0)
    feed = make_feed(composed(tiny), CPU, "fp32")
    before = [labels.tolist() for _, labels in feed.train(0, 0)]
    torch.manual_seed(99)
    torch.rand(1000)
    assert [labels.tolist() for _, labels in feed.train(0, 0)] == before


def test_a_loss_that_is_not_finite_ends_the_run_naming_epoch_and_step(tmp_path, tiny):
    state, folder = train([*tiny, "optimizer.lr=100", "optimizer.weight_decay=1"], tmp_path)
    assert (state.name, state.failure) == ("failed", "diverged")
    assert "epoch 1, step" in state.error
    assert "Diverged" in (folder / "traceback.txt").read_text()


@pytest.mark.parametrize(
    ("words", "rates"),
    [
        (["schedule=constant"], [0.1] * 10),
        (["schedule=cosine"], [0.05 * (1 + math.cos(math.pi * step / 10)) for step in range(10)]),
        (["schedule=step"], [0.1] * 5 + [0.01] * 3 + [0.001] * 2),
        (["schedule=constant", "schedule.warmup_epochs=2"], [0.025, 0.05, 0.075, 0.1] + [0.1] * 6),
    ],
)
def test_the_learning_rate_follows_its_formula(words, rates):
    cfg = composed([*words, "train.epochs=5"])
    rate = build_schedule(cfg.schedule, 0.1, epochs=5, steps=2)
    assert [rate(step) for step in range(10)] == pytest.approx(rates)


def test_a_milestone_falls_on_its_step_whatever_its_rounding():
    cfg = composed(["schedule=step", "schedule.milestones=[0.55]"])
    rate = build_schedule(cfg.schedule, 0.1, epochs=1, steps=100)
    assert [rate(54), rate(55)] == pytest.approx([0.1, 0.01])


def test_norms_and_biases_are_spared_from_decay_on_request():
    cfg = composed(["optimizer.decay_norm_bias=false"])
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 2))
    spared = [
        p.ndim
        for g in build_optimizer(cfg.optimizer, model).param_groups
        if not g["weight_decay"]
        for p in g["params"]
    ]
    assert spared == [1, 1, 1, 1]


def test_scores_equal_a_plain_computation():
    generator = torch.Generator().manual_seed(0)
    logits, labels = torch.randn(64, 10, generator=generator), torch.randint(10, (64,), generator=generator)
    totals = Totals(CPU)
    for part in range(0, 64, 24):
        loss = nn.functional.cross_entropy(logits[part : part + 24], labels[part : part + 24])
        totals.add(loss, logits[part : part + 24], labels[part : part + 24])
    scores = totals.scores()
    ranks = (logits > logits.gather(1, labels[:, None])).sum(1)
    assert scores.loss == pytest.approx(nn.functional.cross_entropy(logits, labels).item(), rel=1e-5)
    assert scores.top1 == pytest.approx(100 * (ranks < 1).float().mean().item())
    assert scores.top5 == pytest.approx(100 * (ranks < 5).float().mean().item())


@pytest.mark.parametrize("augment", ["mixup", "cutmix", "erasing", "rotate_shift", "none"])
def test_every_augmentation_trains(tmp_path, tiny, augment):
    state, _ = train([*tiny, "train.epochs=1", f"augment={augment}"], tmp_path)
    assert state.name == "finished", state.error


def test_gradients_are_clipped_to_the_norm_that_is_asked_for(tmp_path, tiny):
    words = [*tiny, "train.epochs=1", "optimizer.momentum=0", "optimizer.nesterov=false"]
    words += ["optimizer.weight_decay=0", "schedule=constant", "optimizer.lr=1", "optimizer.clip_norm=0.001"]
    _, folder = train([*words, "train.batch_size=128"], tmp_path)
    after = torch.load(folder / "checkpoints" / "last.pt", weights_only=True)["model"]
    torch.manual_seed(derive_seed(0, "weights"))
    before = build_model(composed(tiny))
    moved = sum((after[name] - value.detach()).square().sum() for name, value in before.named_parameters())
    assert moved.sqrt().item() == pytest.approx(0.001, rel=1e-3)
