"""Own parts tried before anything runs: optimiser, schedule, loss, augmentation, metrics, once on the CPU.

Networks and attention modules are tried where their cost is counted.
"""

import math
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from cbam_ablate.config.canonical import INSIDE, effective, effective_in, effective_top
from cbam_ablate.config.once import Memo
from cbam_ablate.config.options import difference
from cbam_ablate.config.schema import RunConfig
from cbam_ablate.data.own_augment import own_augment
from cbam_ablate.errors import ConfigError, UserError
from cbam_ablate.metrics.kept import own_metric
from cbam_ablate.metrics.sample import Sample
from cbam_ablate.models.cost import attention_places, name_of
from cbam_ablate.own import failure
from cbam_ablate.registry import Loss, Optimizer, Schedule, facts, own_target
from cbam_ablate.sweep.asked import Cell, Outline, network_in, refuse_broken
from cbam_ablate.training.loss import build_loss
from cbam_ablate.training.optimizer import build_optimizer, build_schedule

WHERE = ("model.attention.placement", "model.attention.at")
"""Options that say where attention is."""


def refuse_same_places(cells: Sequence[Cell]) -> None:
    """Raises `ConfigError` where two cells differ in where attention is asked for, but not in where it is."""
    if len({(cell.cfg.model.attention.placement, repr(cell.cfg.model.attention.at)) for cell in cells}) < 2:
        return
    first, once = dict[str, Cell](), Memo()
    places: dict[Hashable, str] = {}
    for cell in {cell.key: cell for cell in cells if cell.cfg.model.attention.placement != "none"}.values():
        others = [once(_elsewhere, name, getattr(cell.cfg, name)) for name in INSIDE]
        network = network_in(cell.cfg)
        if network not in places:
            places[network] = repr(attention_places(cell.cfg))
        other = first.setdefault(f"{effective_top(cell.cfg)} {others} {places[network]}", cell)
        if other is not cell:
            named = difference(effective(other.cfg), effective(cell.cfg))
            modules = ", ".join(place.module for place in attention_places(cell.cfg)[:3])
            cell.broken.append(
                f"adds the same attention to {name_of(cell.cfg)} as another cell ({other.label}), "
                f"at {modules}: {named}; leave one of them out"
            )
    refuse_broken(cells)


def _elsewhere(name: str, section: Any) -> str:
    """The options of a section that have an effect, but for where attention is."""
    known = {option: value for option, value in effective_in(name, section).items() if option not in WHERE}
    if name == "model":
        known.setdefault("model.attention.position", "after")  # which some placements don't read
    return repr(sorted(known.items()))


def refuse_own(asked: Outline) -> None:
    """Raises `ConfigError` where own parts don't do what they are for."""
    base = asked.base
    found = _own_problems(asked.runs.values()) + _metric_problems(base.metrics.own, facts(base.data).classes)
    if found:
        raise ConfigError("\n".join([*found, "Nothing was started."]))


def _own_problems(cfgs: Iterable[RunConfig]) -> list[str]:
    """What is wrong with the own parts of these runs, a line each; each part is tried once."""
    tried: dict[str, Callable[[], None]] = {}
    for cfg in cfgs:
        if not cfg.code:
            continue
        if own_target(Optimizer, cfg.optimizer.name):
            tried.setdefault(repr(cfg.optimizer), lambda cfg=cfg: _optimizer(cfg))  # type: ignore[misc]
        if own_target(Schedule, cfg.schedule.name):
            tried.setdefault(repr(cfg.schedule), lambda cfg=cfg: _schedule(cfg))  # type: ignore[misc]
        if own_target(Loss, cfg.loss.name):
            tried.setdefault(repr(cfg.loss), lambda cfg=cfg: _loss(cfg))  # type: ignore[misc]
        if cfg.augment.own:
            tried.setdefault(repr(cfg.augment), lambda cfg=cfg: _augment(cfg))  # type: ignore[misc]
    return [line for attempt in tried.values() for line in _problems(attempt)]


def _metric_problems(own: Mapping[str, str], classes: int) -> list[str]:
    """What is wrong with one's own metrics, tried on a few random predictions of so many classes."""
    return [
        line
        for name, target in own.items()
        for line in _problems(lambda: _metric(name, target, classes))  # noqa: B023
    ]


def _problems(attempt: Callable[[], None]) -> list[str]:
    try:
        with torch.random.fork_rng([]):
            attempt()
    except UserError as error:
        return [str(error)]
    return []


def _trying(named: str, work: Callable[[], Any]) -> Any:
    try:
        return work()
    except UserError:
        raise
    except Exception as error:  # it is anybody's code
        raise failure(named, error) from error


def _optimizer(cfg: RunConfig) -> None:
    named = f"optimizer.name={cfg.optimizer.name}"
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 2))

    def step() -> None:
        optimizer = build_optimizer(cfg.optimizer, network)
        if not isinstance(optimizer, torch.optim.Optimizer):
            raise ConfigError(f"{named}: gives no torch.optim.Optimizer but {type(optimizer).__name__}")
        network(torch.randn(2, 3, 4, 4)).square().sum().backward()
        optimizer.step()
        optimizer.load_state_dict(optimizer.state_dict())

    _trying(named, step)


def _schedule(cfg: RunConfig) -> None:
    named, steps = f"schedule.name={cfg.schedule.name}", 10
    rate = _trying(named, lambda: build_schedule(cfg.schedule, 1.0, cfg.train.epochs, steps))
    total = cfg.train.epochs * steps
    for step in sorted({0, total // 2, total - 1}):
        found = _trying(named, lambda step=step: rate(step))  # type: ignore[misc]
        if not isinstance(found, int | float) or not math.isfinite(found) or found < 0:
            raise ConfigError(
                f"{named}: gives {found} at step {step} of {total}; a factor from 0 on is wanted"
            )


def _loss(cfg: RunConfig) -> None:
    classes, named = facts(cfg.data).classes, f"loss.name={cfg.loss.name}"
    logits = torch.randn(4, classes, requires_grad=True)
    labels: Tensor = torch.arange(4) % classes
    if cfg.augment.mixup or cfg.augment.cutmix:
        labels = nn.functional.one_hot(labels, classes).float()
    loss = _trying(named, lambda: build_loss(cfg, lambda: [1] * classes, torch.device("cpu")))
    _trying(named, lambda: loss(logits, labels).backward())


def _augment(cfg: RunConfig) -> None:
    data, named = facts(cfg.data), f"augment.own={cfg.augment.own}"
    images: Tensor = torch.randn(4, data.channels, data.size, data.size)
    change = _trying(named, lambda: own_augment(cfg.augment))
    _trying(named, lambda: change(images, cfg.seed, 1, 0))


def _metric(name: str, target: str, classes: int) -> None:
    labels = np.arange(4 * classes, dtype=np.int64) % classes
    logits = np.random.default_rng(0).standard_normal((len(labels), classes))
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    definition, _ = own_metric(name, target)
    found = definition.function(Sample.of_probabilities(labels, probabilities))
    if found.value is None:
        raise ConfigError(found.notes[0])
