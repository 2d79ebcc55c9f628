"""Loss and accuracy over a set of images."""

import copy
from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cbam_ablate.training.device import sum_dtype
from cbam_ablate.training.outputs import Outputs


class Scores(NamedTuple):
    """Mean cross entropy in nats, and the percentage of images whose label is among the top 1 and 5."""

    loss: float
    top1: float
    top5: float


class Totals:
    """Sums over batches, kept on the device so that adding never waits for it.

    `sums` (4,): loss, top-1 hits, top-5 hits and images; `diverged` (): images after which the loss was first
    not finite, or -1. Of several runs (K, 4) and (K,).
    """

    def __init__(self, device: torch.device, *runs: int) -> None:
        self.sums = torch.zeros(*runs, 4, dtype=sum_dtype(device), device=device)
        self.diverged = torch.full(runs, -1.0, dtype=sum_dtype(device), device=device)

    def start(self, sums: Tensor | None = None) -> None:
        """Begins anew, or goes on from these sums."""
        self.sums.zero_() if sums is None else self.sums.copy_(sums)
        self.diverged.fill_(-1)

    def of(self, run: int) -> "Totals":
        """Those of one run, on the same memory."""
        one = copy.copy(self)
        one.sums, one.diverged = self.sums[run], self.diverged[run]
        return one

    def add(self, loss: Tensor, logits: Tensor, labels: Tensor) -> None:
        """`loss` (): mean over the batch. `logits` (N, classes), `labels` (N,) or mixed (N, classes).

        Of several runs each with K before that. Of mixed labels the one with the greatest share counts.
        """
        labels = labels.argmax(-1) if labels.ndim == logits.ndim else labels
        count = labels.shape[-1]
        top = logits.topk(min(5, logits.shape[-1]), dim=-1).indices == labels[..., None]
        images = torch.full_like(loss, count, dtype=self.sums.dtype)
        hits = [top[..., 0].sum(-1), top.sum((-2, -1))]
        self.sums += torch.stack([loss.to(self.sums.dtype) * count, *hits, images], -1)
        known = loss.isfinite() | (self.diverged >= 0)
        self.diverged.copy_(torch.where(known, self.diverged, self.sums[..., 3]))

    def scores(self) -> Scores:
        loss, top1, top5, images = self.sums.tolist()
        return Scores(loss / images, 100 * top1 / images, 100 * top5 / images)


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """bf16 where the network computes in it, else nothing."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")


def evaluate(
    model: nn.Module,
    batches: Iterable[tuple[Tensor, Tensor]],
    device: torch.device,
    cast: AbstractContextManager[object],
    outputs: Outputs | None = None,
) -> Scores:
    """Scores of the model in eval mode; `cast` is the autocast to run it under.

    What it gave for each image is added to `outputs`.
    """
    was_training = model.training
    model.eval()
    totals = Totals(device)
    with torch.inference_mode(), cast:
        for images, labels in batches:
            logits = model(images).float()
            totals.add(F.cross_entropy(logits, labels), logits, labels)
            if outputs is not None:
                outputs.add(logits, labels)
    model.train(was_training)
    return totals.scores()
