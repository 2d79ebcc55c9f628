"""Runs that differ only in their seed or in scalar hyperparameters, trained as one network.

One forward and one backward pass serve all K runs: `vmap` turns their convolutions into grouped ones, every
run with batches, batch norm statistics, loss, learning rate and moving average of its own. Each run keeps a
`Trainer`, whose tensors are views of the stacked ones, and which evaluates, chooses, saves and resumes as it
would alone; so a run that was begun here can be gone on with alone, and the other way round.

Batches are those of separate runs, bit for bit. Sums inside a convolution are ordered differently, so in fp32
the first step's gradients agree to 1e-5 (1e-12 in float64) of the largest in their tensor, and training
then drifts apart as it does under any other change of rounding. A group of the same runs repeats bit for bit.

Seconds, and the memory held, are split evenly among the runs trained together, so that sums stay right.
"""

import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import groupby
from typing import Any

import torch
from torch import Tensor

from cbam_ablate.accel.cuda.recorded import recorded
from cbam_ablate.accel.fused.stack import Stack, StackPart, part_of, stack_images
from cbam_ablate.training.evaluate import Totals, autocast
from cbam_ablate.training.loop import Interrupted, Result, RunLog, Trainer, TrainingFeed
from cbam_ablate.training.optimizer import held_tensors


class CantFuse(RuntimeError):
    """These runs can't be trained together; each can be trained alone. Nothing of them has changed."""


class Lane(Trainer):
    """One of the runs that are trained together: everything of a `Trainer` but the step."""

    def begin_epoch(self, totals: Totals) -> None:
        """From here on the epoch's totals are kept in `totals`, which goes on from what is there."""
        totals.start(self.totals.sums if self.done.step else None)
        if self.done.step == 0:
            self.done.epoch_seconds = 0.0
        self.totals = totals

    def check(self) -> None:
        """Raises `Diverged` where the loss has."""
        self._check_finite()

    def log_step(self, loss: float) -> None:
        self._log_step(loss)

    def end_epoch(self) -> None:
        """Validates, records and saves; raises `Diverged`."""
        self._end_epoch()

    def result(self) -> Result:
        found = self._result()
        memory = found.cost["peak_memory_mib"] / self.together
        return dataclasses.replace(found, cost={**found.cost, "peak_memory_mib": memory})


Together = Callable[[Sequence[Any], int, int], Iterator[tuple[Tensor, Tensor]]]
"""From feeds, an epoch and a step to batches: images (K, N, C, H, W), labels (K, N) or (K, N, classes)."""


def one_by_one(feeds: Sequence[TrainingFeed], epoch: int, start: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Each run's own batches, stacked."""
    for batches in zip(*(feed.train(epoch, start) for feed in feeds), strict=True):
        images, labels = zip(*batches, strict=True)
        yield stack_images(images), torch.stack(labels)


class FusedTrainer:
    """Trains lanes that stand at the same epoch and step, and have alike networks, data and epochs.

    `ended` hears of each run's end, a `Result` or what it raised, as soon as it is there; the others go on.
    `stop` is asked after every step; where it says yes all runs are saved and `Interrupted` raised. `batches`
    makes those of all runs from their feeds. Raises `CantFuse` where a step of these networks does not work.
    """

    def __init__(
        self,
        lanes: Sequence[Lane],
        ended: Callable[[Lane, Result | Exception], None],
        stop: Callable[[], bool] = lambda: False,
        batches: Together = one_by_one,
    ) -> None:
        self.ended, self.stop, self.batches = ended, stop, batches
        first = lanes[0]
        self.device, self.precision = first.device, first.precision
        self.epochs, self.steps = first.cfg.train.epochs, first.feed.steps
        self._stack(lanes)
        self._try()
        for lane in lanes:
            lane.together = len(lanes)

    def run(self) -> None:
        """Trains to the last epoch; each run then looks at the test set once."""
        while self.lanes and self.lanes[0].done.epoch < self.epochs:
            self.train_epoch()
            self._keep([lane for lane in self.lanes if self._survives(lane)])
        for lane in self.lanes:
            try:
                end: Result | Exception = lane.result()
            except Exception as error:  # one run's own, so the others have theirs
                end = error
            self.ended(lane, end)

    def _stack(self, lanes: Sequence[Lane]) -> None:
        """Makes the lanes' networks and optimisers views of new stacked ones, a part side by side."""
        order = list(dict.fromkeys(part_of(lane.cfg) for lane in lanes))
        self.lanes = sorted(lanes, key=lambda lane: order.index(part_of(lane.cfg)))
        self.stack = Stack([lane.model for lane in self.lanes])
        self.parts: list[StackPart] = []
        for _, part in groupby(self.lanes, key=lambda lane: part_of(lane.cfg)):
            self.parts.append(StackPart(self.stack, list(part), sum(len(p.trainers) for p in self.parts)))
        self.totals = Totals(self.device, len(self.lanes))
        how, logs = self.lanes[0].cfg.train.compile, [lane.log for lane in self.lanes]
        self.recorded = recorded(how, self.device, partial(_tell, logs))

    def _keep(self, lanes: list[Lane]) -> None:
        if lanes and len(lanes) < len(self.lanes):
            self._stack(lanes)
        else:
            self.lanes = lanes

    def _try(self) -> None:
        """A step's passes on nothing, which leave weights, statistics and gradients as they were."""
        images = next(iter(self.lanes[0].feed.evaluate("val")))[0][:1]
        batch = self.lanes[0].cfg.train.batch_size
        kept = [(buffer, buffer.clone()) for buffer in self.stack.buffers.values()]
        try:
            everything = stack_images([images.expand(batch, -1, -1, -1)] * len(self.lanes))
            with self._cast():
                logits = self.stack(everything)
            logits.float().sum().backward()
        except Exception as error:  # what vmap can't batch shows in many ways, and so does too little memory
            first = (str(error).splitlines() or [type(error).__name__])[0]
            raise CantFuse(first) from error
        finally:
            for buffer, before in kept:
                buffer.copy_(before)
            self.stack.zero_grad()

    def train_epoch(self) -> None:
        """The rest of an epoch."""
        done = self.lanes[0].done
        for number, lane in enumerate(self.lanes):
            lane.begin_epoch(self.totals.of(number))
        spent, started = [lane.done.epoch_seconds for lane in self.lanes], time.perf_counter()
        every = self.lanes[0].cfg.train.log_every
        for images, labels in self.batches([lane.feed for lane in self.lanes], done.epoch, done.step):
            losses = self.step(images, labels, done.epoch * self.steps + done.step)
            step = done.step + 1
            for lane in self.lanes:
                lane.done.step = step
                lane.log.progress(epoch=done.epoch + 1, epochs=self.epochs, step=step, steps=self.steps)
            if self.stop():
                self._share(spent, started)
                self._interrupt()
            if every and step % every == 0 and step < self.steps:
                for lane, loss in zip(self.lanes, losses.tolist(), strict=True):
                    lane.log_step(loss)
        self.totals.sums.cpu()  # waits for the device, before the clock is read
        self._share(spent, started)

    def step(self, images: Tensor, labels: Tensor, number: int) -> Tensor:
        """Step `number`, counted over the whole runs, of every run on images (K, N, C, H, W): losses (K,)."""
        batch = images, labels, [part.rate(number) for part in self.parts]
        losses = self.recorded(self._step, self._changed, *batch)
        for part in self.parts:
            part.average()
        return losses

    def _step(self, images: Tensor, labels: Tensor, rates: Sequence[float | Tensor]) -> Tensor:
        # Before the forward pass, which can then use the gradients' memory.
        self.stack.zero_grad()
        with self._cast():
            logits = self.stack(images).float()
        losses = torch.cat([part.losses(logits, labels) for part in self.parts])
        losses.sum().backward()
        for part, rate in zip(self.parts, rates, strict=True):
            part.step(rate)
        losses = losses.detach()
        self.totals.add(losses, logits.detach(), labels)
        return losses

    def _changed(self) -> list[list[Tensor]]:
        """What a step changes: weights, statistics, the optimisers' state and the epoch's totals."""
        held = [tensor for part in self.parts for tensor in held_tensors(part.optimizer)]
        totals = [self.totals.sums, self.totals.diverged]
        return [list(self.stack.parameters.values()), list(self.stack.buffers.values()), held, totals]

    def _cast(self) -> torch.autocast:
        return autocast(self.device, self.precision)

    def _share(self, spent: list[float], started: float) -> None:
        """Gives each run its part of the time, and its optimiser the rate for its checkpoint."""
        seconds = (time.perf_counter() - started) / len(self.lanes)
        for lane, before in zip(self.lanes, spent, strict=True):
            lane.done.epoch_seconds = before + seconds
        for part in self.parts:
            part.settle()

    def _survives(self, lane: Lane) -> bool:
        """Ends a run's epoch; says that it has ended where that fails, as by divergence."""
        try:
            lane.check()
            lane.end_epoch()
        except Exception as error:  # one run's own, so the others go on
            self.ended(lane, error)
            return False
        return True

    def _interrupt(self) -> None:
        for lane in self.lanes:
            try:
                lane.check()
                lane.save()
            except Exception as error:  # one run's own, so the others are saved
                self.ended(lane, error)
        raise Interrupted


def _tell(logs: Sequence[RunLog], text: str) -> None:
    for log in logs:
        log.line(text)
