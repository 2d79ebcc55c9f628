"""The tensors of several runs as one, and their optimisers.

Shapes: K runs of one network; what is (...) in a network is (K, ...) here, and each run's own tensor becomes
the view `[k]` of it. Runs with equal optimiser, schedule, loss and average stand next to each other: a part
is such a range `first:last` of the stack.
"""

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from cbam_ablate.accel.fused.rules import Rules
from cbam_ablate.config.schema import LossConfig, RunConfig
from cbam_ablate.training.average import Pairs, ema_update, paired
from cbam_ablate.training.loop import Trainer
from cbam_ablate.training.optimizer import build_optimizer, set_rate


def stacked(tensors: Sequence[Tensor]) -> Tensor:
    """Tensors (...) as one (K, ...); images and weights of convolutions stay channels_last."""
    if tensors[0].ndim != 4:
        return torch.stack([tensor.detach() for tensor in tensors])
    return torch.stack([tensor.detach().permute(0, 2, 3, 1) for tensor in tensors]).permute(0, 1, 4, 2, 3)


def stack_images(batches: Sequence[Tensor]) -> Tensor:
    """K batches (N, C, H, W) as (K, N, C, H, W), laid out as (N, H, W, K, C).

    So the runs' channels stand side by side, and a batched convolution is a grouped one without copying.
    """
    return torch.stack([images.permute(0, 2, 3, 1) for images in batches], 3).permute(3, 0, 4, 1, 2)


class Stack:
    """The weights and buffers of K networks. The networks themselves become views of it.

    `parameters` are leaves that collect gradients (K, ...); a step on them is a step of every network.
    """

    def __init__(self, models: Sequence[nn.Module]) -> None:
        self.runs = len(models)
        self.parameters = _weights(models)
        self.buffers = _buffers(models)
        self._blank = copy.deepcopy(models[0]).to("meta").train()

    def __call__(self, images: Tensor) -> Tensor:
        """Images (K, N, C, H, W) to logits (K, N, classes) in training mode; each run its own statistics."""
        with Rules():
            logits: Tensor = torch.vmap(self._one)(self.parameters, self.buffers, images)
        return logits

    def zero_grad(self) -> None:
        for parameter in self.parameters.values():
            parameter.grad = None

    def _one(self, parameters: dict[str, Tensor], buffers: dict[str, Tensor], images: Tensor) -> Tensor:
        logits: Tensor = functional_call(self._blank, (parameters, buffers), (images,), tie_weights=False)
        return logits


def _weights(models: Sequence[nn.Module]) -> dict[str, Tensor]:
    return _tied_by_name([dict(model.named_parameters()) for model in models])


def _buffers(models: Sequence[nn.Module]) -> dict[str, Tensor]:
    return _tied_by_name([dict(model.named_buffers()) for model in models])


def _tied_by_name(named: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Each name's tensors as one (K, ...), theirs becoming views of it."""
    found = {}
    for name, first in named[0].items():
        whole = stacked([tensors[name] for tensors in named])
        for run, tensors in enumerate(named):
            tensors[name].data = whole[run]
        found[name] = whole.requires_grad_(first.requires_grad)
    return found


def part_of(cfg: RunConfig) -> str:
    """A text that is equal for runs whose optimiser, schedule, loss and average are equal."""
    train = cfg.train
    return repr((cfg.optimizer, cfg.schedule, cfg.loss, train.label_smoothing, train.ema))


class StackPart:
    """The runs `first:last` of a stack, which share everything but their seed: loss and optimiser step."""

    def __init__(self, stack: Stack, trainers: Sequence[Trainer], first: int) -> None:
        self.trainers = trainers
        self.cfg = trainers[0].cfg
        self.range = slice(first, first + len(trainers))
        self._whole = len(trainers) == stack.runs
        self._stack = stack
        trained = {name: p for name, p in stack.parameters.items() if p.requires_grad}
        self._own = {
            name: p if self._whole else p.detach()[self.range].requires_grad_() for name, p in trained.items()
        }
        self.optimizer = self._build_optimizer()
        self._averages = self._build_averages() if self.cfg.train.ema else []

    def losses(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Mean loss of each run (last - first,) from all logits (K, N, classes) and labels (K, N, ...)."""
        if self.cfg.loss != LossConfig():
            every = zip(self.trainers, logits[self.range].float(), labels[self.range], strict=True)
            return torch.stack([trainer.loss(outputs, wanted) for trainer, outputs, wanted in every])
        logits, labels = logits[self.range].flatten(0, 1), labels[self.range].flatten(0, 1)
        smoothing = self.cfg.train.label_smoothing
        losses = F.cross_entropy(logits.float(), labels, reduction="none", label_smoothing=smoothing)
        return losses.view(len(self.trainers), -1).mean(1)

    def rate(self, number: int) -> float:
        """The learning rate of step `number`, counted over the whole run."""
        return self.trainers[0].lr(number)

    def step(self, rate: float | Tensor) -> None:
        """The optimiser's step."""
        if not self._whole:
            for name, own in self._own.items():
                gradient = self._stack.parameters[name].grad
                own.grad = None if gradient is None else gradient[self.range]
        if self.cfg.optimizer.clip_norm is not None:
            self._clip(self.cfg.optimizer.clip_norm)
        set_rate(self.optimizer, rate)
        self.optimizer.step()

    def settle(self) -> None:
        """Tells the runs' own optimisers the learning rate, for their checkpoints."""
        for trainer in self.trainers:
            for group, ours in zip(trainer.optimizer.param_groups, self.optimizer.param_groups, strict=True):
                group["lr"] = float(ours["lr"])

    def _clip(self, most: float) -> None:
        gradients = [own.grad for own in self._own.values() if own.grad is not None]
        norms = [torch.linalg.vector_norm(g.reshape(len(g), -1), dim=1) for g in gradients]
        factor = (most / (torch.linalg.vector_norm(torch.stack(norms), dim=0) + 1e-6)).clamp(max=1)
        for gradient in gradients:
            gradient.mul_(factor.view(-1, *[1] * (gradient.ndim - 1)))

    def _build_optimizer(self) -> torch.optim.Optimizer:
        """The optimiser of the runs' own kind over the stacked weights, its state stacked from theirs."""
        optimizer = build_optimizer(self.cfg.optimizer, self.trainers[0].model)
        names = {id(p): name for name, p in self.trainers[0].model.named_parameters()}
        for group in optimizer.param_groups:
            group["params"] = [self._own[names[id(p)]] for p in group["params"]]
        for number, group in enumerate(optimizer.param_groups):
            theirs = [trainer.optimizer.param_groups[number]["params"] for trainer in self.trainers]
            for whole, *each in zip(group["params"], *theirs, strict=True):
                states = [
                    trainer.optimizer.state.get(p) or _fresh(group, p)
                    for trainer, p in zip(self.trainers, each, strict=True)
                ]
                if not states[0]:
                    continue
                optimizer.state[whole] = _tied(states)
                for trainer, p, state in zip(self.trainers, each, states, strict=True):
                    trainer.optimizer.state[p] = state
        return optimizer

    def _build_averages(self) -> Pairs:
        """Averages and what they follow, (last - first, ...) each."""
        modules = [trainer.ema.module for trainer in self.trainers if trainer.ema is not None]
        averages = {**_weights(modules), **_buffers(modules)}
        followed = {**self._stack.parameters, **self._stack.buffers}
        sources = [followed[name].detach()[self.range] for name in averages]
        return paired([average.detach() for average in averages.values()], sources)

    def average(self) -> None:
        """The moving average's step, where there is one."""
        for number, trainer in enumerate(self.trainers):
            if trainer.ema is not None:
                if number == 0:
                    ema_update(self._averages, self.cfg.train.ema, first=not trainer.ema.n_averaged)
                trainer.ema.n_averaged += 1


def _fresh(group: dict[str, Any], parameter: Tensor) -> dict[str, Tensor]:
    """An optimiser's state before its first step, from which the step is the same as from none."""

    def zeros() -> Tensor:
        return torch.zeros_like(parameter, memory_format=torch.preserve_format)

    if "betas" in group:
        step = torch.zeros((), dtype=torch.float32, device=parameter.device)
        return {"step": step, "exp_avg": zeros(), "exp_avg_sq": zeros()}
    return {"momentum_buffer": zeros()} if group["momentum"] else {}


def _tied(states: list[dict[str, Any]]) -> dict[str, Any]:
    """The states of K runs as one, theirs becoming views; counts of steps are equal and shared."""
    whole = {}
    for name, first in states[0].items():
        if not isinstance(first, Tensor):
            whole[name] = first
            continue
        if name == "step":
            whole[name] = first.clone()
            for state in states:
                state[name] = whole[name]
            continue
        whole[name] = stacked([state[name] for state in states])
        for run, state in enumerate(states):
            state[name] = whole[name][run]
    return whole
