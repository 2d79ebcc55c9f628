"""Optimisers and the learning rate at every step."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from cbam_ablate.config.schema import OptimizerConfig, ScheduleConfig
from cbam_ablate.registry import Optimizer, Schedule, find


def build_optimizer(cfg: OptimizerConfig, model: nn.Module) -> torch.optim.Optimizer:
    """The configured optimiser over all parameters, its rate set by the schedule before each step."""
    made: torch.optim.Optimizer = find(Optimizer, cfg.name).load()(_groups(cfg, model), cfg)
    return made


def sgd(groups: list[dict[str, object]], cfg: OptimizerConfig) -> torch.optim.Optimizer:
    return torch.optim.SGD(groups, cfg.lr, momentum=cfg.momentum, nesterov=cfg.nesterov, fused=True)


def adam(groups: list[dict[str, object]], cfg: OptimizerConfig) -> torch.optim.Optimizer:
    return torch.optim.Adam(groups, cfg.lr, betas=(cfg.beta1, cfg.beta2), fused=True)


def adamw(groups: list[dict[str, object]], cfg: OptimizerConfig) -> torch.optim.Optimizer:
    return torch.optim.AdamW(groups, cfg.lr, betas=(cfg.beta1, cfg.beta2), fused=True)


def own(groups: list[dict[str, object]], cfg: OptimizerConfig) -> torch.optim.Optimizer:
    """An optimiser of one's own, handed of the config's options those that it takes."""
    row = find(Optimizer, cfg.name)
    made: torch.optim.Optimizer = row.call(
        groups,
        options=cfg.options,
        lr=cfg.lr,
        weight_decay=cfg.weight_decay,
        momentum=cfg.momentum,
        nesterov=cfg.nesterov,
        beta1=cfg.beta1,
        beta2=cfg.beta2,
    )
    return made


def configured(cfg: OptimizerConfig, group: dict[str, Any]) -> dict[str, Any]:
    """What of a parameter group the config says.

    Of an optimiser of one's own that is what it was given; the rest is what it remembers.
    """
    row = find(Optimizer, cfg.name)
    names = {"weight_decay", "betas", *row.uses, *row.takes} if row.target else set(group) - {"params"}
    return {name: value for name, value in group.items() if name in names}


def set_rate(optimizer: torch.optim.Optimizer, rate: float | Tensor) -> None:
    """The learning rate of the next step; one on the device () where that is being recorded."""
    recording = isinstance(rate, Tensor) and rate.is_cuda and torch.cuda.is_current_stream_capturing()
    for group in optimizer.param_groups:
        group["lr"] = rate
        if "capturable" in group:
            group["capturable"] = recording


def held_tensors(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    """What the optimiser remembers from step to step, such as momenta."""
    values = (value for state in optimizer.state.values() for value in state.values())
    return [value for value in values if isinstance(value, Tensor)]


def _groups(cfg: OptimizerConfig, model: nn.Module) -> list[dict[str, object]]:
    """Weights with decay, and, unless these decay too, norms and biases (vectors) without."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    if cfg.decay_norm_bias:
        return [{"params": parameters, "weight_decay": cfg.weight_decay}]
    return [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": cfg.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]


def build_schedule(cfg: ScheduleConfig, lr: float, epochs: int, steps: int) -> Callable[[int], float]:
    """The learning rate of each step, counted from 0 over the whole run of `epochs * steps`.

    Linear warm-up to `lr`; then the schedule's factor of it.
    """
    warmup = round(cfg.warmup_epochs * steps)
    factor: Callable[[int], float] = find(Schedule, cfg.name).load()(cfg, warmup, epochs * steps)
    return lambda step: lr * ((step + 1) / warmup if step < warmup else factor(step))


def cosine(cfg: ScheduleConfig, warmup: int, total: int) -> Callable[[int], float]:
    """Half a cosine from 1, which would reach 0 one step after the last."""
    return lambda step: (1 + math.cos(math.pi * (step - warmup) / max(1, total - warmup))) / 2


def step(cfg: ScheduleConfig, warmup: int, total: int) -> Callable[[int], float]:
    """A factor `gamma` at each milestone, a fraction of the whole run."""
    return lambda step: cfg.gamma ** sum(step >= round(mark * total, 6) for mark in cfg.milestones)


def constant(cfg: ScheduleConfig, warmup: int, total: int) -> Callable[[int], float]:
    return lambda step: 1.0


def own_schedule(cfg: ScheduleConfig, warmup: int, total: int) -> Callable[[int], float]:
    """A schedule of one's own: the factor at each step, counted from 0 over the whole run."""
    factor: Callable[[int], float]
    factor = find(Schedule, cfg.name).function(cfg.options, warmup=warmup, total=total)
    return factor
