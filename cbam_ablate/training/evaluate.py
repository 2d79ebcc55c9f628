"""Loss and accuracy over a set of images."""

from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Scores(NamedTuple):
    """Mean cross entropy in nats, and the percentage of images whose label is among the top 1 and 5."""

    loss: float
    top1: float
    top5: float


class Totals:
    """Sums of loss, top-1 and top-5 hits and images, kept on the device so that adding never waits for it."""

    def __init__(self, device: torch.device, start: Tensor | None = None) -> None:
        self.sums = torch.zeros(4, dtype=torch.float64) if start is None else start
        self.sums = self.sums.to(device)

    def add(self, loss: Tensor, logits: Tensor, labels: Tensor) -> None:
        """`loss`: mean over the batch. `logits` (N, classes), `labels` (N,) or mixed (N, classes).

        Of mixed labels the one with the greatest share counts.
        """
        labels = labels.argmax(1) if labels.ndim == 2 else labels
        top = logits.topk(min(5, logits.shape[1]), dim=1).indices == labels[:, None]
        images = torch.full((), float(len(labels)), dtype=torch.float64, device=logits.device)
        self.sums += torch.stack([loss.double() * len(labels), top[:, 0].sum(), top.sum(), images])

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
) -> Scores:
    """Scores of the model in eval mode; `cast` is the autocast to run it under."""
    was_training = model.training
    model.eval()
    totals = Totals(device)
    with torch.inference_mode(), cast:
        for images, labels in batches:
            logits = model(images).float()
            totals.add(F.cross_entropy(logits, labels), logits, labels)
    model.train(was_training)
    return totals.scores()
