"""Optimisers and the learning rate at every step."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from cbam_ablate.config.schema import OptimizerConfig, ScheduleConfig


def build_optimizer(cfg: OptimizerConfig, model: nn.Module) -> torch.optim.Optimizer:
    """The configured optimiser over all parameters, its rate set by the schedule before each step."""
    groups = _groups(cfg, model)
    if cfg.name == "sgd":
        return torch.optim.SGD(groups, cfg.lr, momentum=cfg.momentum, nesterov=cfg.nesterov, fused=True)
    kind = torch.optim.AdamW if cfg.name == "adamw" else torch.optim.Adam
    return kind(groups, cfg.lr, betas=(cfg.beta1, cfg.beta2), fused=True)


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

    Linear warm-up to `lr`; then cosine to 0, or a factor `gamma` at each milestone, or constant.
    """
    total = epochs * steps
    warmup = round(cfg.warmup_epochs * steps)

    def shape(step: int) -> float:
        if cfg.name == "cosine":
            return (1 + math.cos(math.pi * (step - warmup) / max(1, total - warmup))) / 2
        if cfg.name == "step":
            return cfg.gamma ** sum(step >= round(mark * total, 6) for mark in cfg.milestones)
        return 1.0

    return lambda step: lr * ((step + 1) / warmup if step < warmup else shape(step))
