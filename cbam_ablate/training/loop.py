"""The training run: from a config, a network and data to a result. Resumable at any step."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from cbam_ablate.config.schema import RunConfig
from cbam_ablate.config.seeds import derive_seed
from cbam_ablate.errors import ConfigError
from cbam_ablate.training import checkpoint
from cbam_ablate.training.average import ema_update, paired
from cbam_ablate.training.choice import Choice
from cbam_ablate.training.device import peak_memory_mib, random_state, set_random_state
from cbam_ablate.training.evaluate import Scores, Totals, autocast, evaluate
from cbam_ablate.training.layout import lay_out
from cbam_ablate.training.loss import build_loss
from cbam_ablate.training.optimizer import (
    build_optimizer,
    build_schedule,
    configured,
    held_tensors,
    set_rate,
)
from cbam_ablate.training.outputs import Outputs
from cbam_ablate.training.protocols import RunLog, TrainingFeed
from cbam_ablate.training.steps import PlainSteps, StepMaker


class Diverged(RuntimeError):
    """The loss stopped being finite."""


class Interrupted(Exception):
    """The run was asked to stop; its last checkpoint holds all that was done."""


@dataclass
class Progress:
    """How far a run has come: epochs, steps of the next, seconds of training."""

    epoch: int = 0
    step: int = 0
    best_epoch: int = 0
    best_top1: float = -1.0
    best_score: float | None = None
    chosen_by: str = "val_top1"
    seconds: float = 0.0
    epoch_seconds: float = 0.0
    history: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class Result:
    """What a run found: metrics (losses in nats, accuracies in percent), the epoch chosen, its cost."""

    metrics: dict[str, float]
    selection: dict[str, Any]
    cost: dict[str, float]


class Trainer:
    """One run's network, optimiser and progress.

    `stop` is asked after every step; where it says yes the run is saved and `Interrupted` raised. Once it
    has run, `outputs` are its predictions of test, last_test and val: without the last epoch's where that is
    the chosen one, and none where they are too large to keep.
    `make_steps` makes what does the steps. `together` is how many runs the process began to train as one.
    """

    together = 1

    def __init__(
        self,
        cfg: RunConfig,
        model: nn.Module,
        feed: TrainingFeed,
        log: RunLog,
        device: torch.device,
        precision: str,
        stop: Callable[[], bool] = lambda: False,
        make_steps: StepMaker = PlainSteps,
    ) -> None:
        self.cfg, self.feed, self.log, self.device, self.stop = cfg, feed, log, device, stop
        self.precision = precision
        self.steps = make_steps(cfg, lay_out(cfg, model, device), device, precision, log.line)
        self.model = self.steps.model
        self.optimizer = build_optimizer(cfg.optimizer, self.model)
        self.lr = build_schedule(cfg.schedule, cfg.optimizer.lr, cfg.train.epochs, feed.steps)
        self.ema = AveragedModel(self.model, use_buffers=True) if cfg.train.ema else None
        self.loss = build_loss(cfg, feed.class_counts, device)
        self.done = Progress()
        self.accelerators: Callable[[], list[str]] = list
        self.totals = Totals(device)
        self.outputs: dict[str, Outputs] = {}
        self._val: Outputs | None = None
        self.choice = Choice(cfg.train.select, feed)

    @property
    def evaluated(self) -> nn.Module:
        """The network whose accuracy counts: the moving average where there is one."""
        return self.ema.module if self.ema is not None else self.model

    def run(self) -> Result:
        """Trains to the last epoch, then looks at the test set once."""
        try:
            while self.done.epoch < self.cfg.train.epochs:
                self._train_epoch()
                self._end_epoch()
                to_go = self.cfg.train.epochs - self.done.epoch
                self.steps.epoch_done(to_go * self.done.epoch_seconds)
            return self._result()
        finally:
            self.steps.close()

    def resume(self, state: dict[str, Any], source: str) -> None:
        """Goes on from a checkpoint of `save`, of this run or of a parent."""
        checkpoint.load_weights(self.model, state, source)
        asked = [configured(self.cfg.optimizer, group) for group in self.optimizer.param_groups]
        self.optimizer.load_state_dict(state["optimizer"])
        for group, ours in zip(self.optimizer.param_groups, asked, strict=True):
            group.update(ours)
        if self.ema is not None and state["ema"] is not None:
            self.ema.load_state_dict(state["ema"])
        known = {name: value for name, value in state["progress"].items() if name != "fused"}  # of 0.1
        self.done = self.choice.go_on(Progress(**known), self.cfg.train.epochs)
        left = self.cfg.train.epochs - self.done.epoch
        if left < 0 or (left == 0 and not self.done.best_epoch):
            bare = "" if left else ", and no best.pt is beside it"
            raise ConfigError(
                f"train.epochs={self.cfg.train.epochs}: {source} has trained {self.done.epoch} epochs "
                f"already{bare}"
            )
        self.totals.start(state["totals"])
        if self.done.step:
            torch.set_rng_state(state["rng"]["cpu"])
            set_random_state(state["rng"]["cuda"], self.device)
        self.log.rewrite_history(self.done.history)

    def save(self) -> None:
        """Writes last.pt: everything the next step depends on. best.pt then is the epoch that it means."""
        state = {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "ema": self.ema.state_dict() if self.ema is not None else None,
            "progress": vars(self.done),
            "totals": self.totals.sums.cpu(),
            "rng": {"cpu": torch.get_rng_state(), "cuda": random_state(self.device)},
            "threads": torch.get_num_threads(),
            "precision": self.precision,
            **self.log.stamp(**self.origin()),
        }
        checkpoint.save(self.log.last, state, self.log.check, partial(checkpoint.promote_best, self.log.best))

    def origin(self) -> dict[str, Any]:
        """How this process trains: what makes its steps faster, and how many runs it trains together."""
        found: dict[str, Any] = {"accelerators": self.accelerators()}
        return {**found, "fused": self.together} if self.together > 1 else found

    def cast(self) -> torch.autocast:
        return autocast(self.device, self.precision)

    def _train_epoch(self) -> None:
        done, epochs, steps = self.done, self.cfg.train.epochs, self.feed.steps
        if done.step == 0:
            torch.manual_seed(derive_seed(self.cfg.seed, "model", done.epoch))
            self.totals.start()
            done.epoch_seconds = 0.0
        self.model.train()
        started = time.perf_counter()
        spent = done.epoch_seconds
        every = self.cfg.train.log_every
        for images, labels in self.feed.train(done.epoch, done.step):
            batch = images, labels, [self.lr(done.epoch * steps + done.step)]
            loss = self.steps(self._step, self._changed, *batch)
            if self.ema is not None:
                self._follow(self.ema)
            done.step += 1
            self.log.progress(epoch=done.epoch + 1, epochs=epochs, step=done.step, steps=steps)
            if self.stop():
                done.epoch_seconds = spent + time.perf_counter() - started
                self._check_finite()
                self.save()
                raise Interrupted
            if every and done.step % every == 0 and done.step < steps:
                self._check_finite()
                self._log_step(loss.item())
        self._check_finite()
        done.epoch_seconds = spent + time.perf_counter() - started

    def _log_step(self, loss: float) -> None:
        done, epochs, steps = self.done, self.cfg.train.epochs, self.feed.steps
        lr = self.lr(done.epoch * steps + done.step - 1)
        self.log.line(f"epoch {done.epoch + 1}/{epochs} step {done.step}/{steps} loss {loss:.4f} lr {lr:.4g}")

    def _step(self, images: Tensor, labels: Tensor, rates: Sequence[float | Tensor]) -> Tensor:
        set_rate(self.optimizer, *rates)
        # Before the forward pass, which can then use the gradients' memory.
        self.optimizer.zero_grad(set_to_none=True)
        with self.cast():
            logits = self.steps.network(images)
        loss = self.loss(logits.float(), labels)
        loss.backward()
        if self.cfg.optimizer.clip_norm is not None:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.cfg.optimizer.clip_norm)
        self.optimizer.step()
        loss = loss.detach()
        self.totals.add(loss, logits.detach(), labels)
        return loss

    def _changed(self) -> list[list[Tensor]]:
        """What a step changes: weights, statistics, the optimiser's state and the epoch's totals."""
        totals = [self.totals.sums, self.totals.diverged]
        return [
            list(self.model.parameters()),
            list(self.model.buffers()),
            held_tensors(self.optimizer),
            totals,
        ]

    def _follow(self, ema: AveragedModel) -> None:
        averages = [*ema.module.parameters(), *ema.module.buffers()]
        followed = [*self.model.parameters(), *self.model.buffers()]
        ema_update(paired(averages, followed), self.cfg.train.ema, first=not ema.n_averaged)
        ema.n_averaged += 1

    def _check_finite(self) -> None:
        step = int(self.totals.diverged) // self.cfg.train.batch_size
        if step >= 0:
            raise Diverged(f"the loss is not finite at epoch {self.done.epoch + 1}, step {step}")

    def _end_epoch(self) -> None:
        done, cfg = self.done, self.cfg
        outputs = self._val = self.choice.outputs(last=done.epoch + 1 == cfg.train.epochs)
        train, val = self.totals.scores(), self._evaluate("val", outputs)
        if not math.isfinite(val.loss):
            raise Diverged(
                f"the validation loss is not finite after epoch {done.epoch + 1}, step {done.step}"
            )
        rate = done.step * cfg.train.batch_size / done.epoch_seconds
        lr = self.lr(done.epoch * self.feed.steps + done.step - 1)
        done.seconds += done.epoch_seconds
        done.epoch, done.step = done.epoch + 1, 0
        record = {
            "epoch": done.epoch,
            **{f"train_{name}": value for name, value in train._asdict().items()},
            **{f"val_{name}": value for name, value in val._asdict().items()},
            "lr": lr,
            "seconds": done.epoch_seconds,
            "images_per_second": rate,
        }
        done.history.append(record)
        if self.choice.improves(done, val, outputs, record):
            weights = {"model": self.evaluated.state_dict(), "epoch": done.epoch, "val_top1": val.top1}
            weights |= self.log.stamp(**self.origin())
            checkpoint.save(checkpoint.coming(self.log.best), weights, self.log.check)
        if done.epoch % cfg.train.save_every == 0 or done.epoch == cfg.train.epochs:
            self.save()
        self.log.epoch(record)
        self.log.progress(epoch=done.epoch, step=0, val_top1=val.top1, best_val_top1=done.best_top1)
        self.log.line(
            f"epoch {done.epoch}/{cfg.train.epochs} train loss {train.loss:.4f} top-1 {train.top1:.2f} % | "
            f"val loss {val.loss:.4f} top-1 {val.top1:.2f} % top-5 {val.top5:.2f} % | "
            f"lr {lr:.4g} {rate:.0f} images/s {done.epoch_seconds:.1f} s"
        )

    def _evaluate(self, part: str, outputs: Outputs | None = None) -> Scores:
        return evaluate(self.evaluated, self.feed.evaluate(part), self.device, self.cast(), outputs)

    def _result(self) -> Result:
        done, cfg, kept = self.done, self.cfg, self.choice.kept
        outputs = {part: Outputs(kept) for part in ("test", "last_test", "val")} if kept else {}
        self.outputs = outputs
        last = chosen = self._evaluate("test", outputs.get("last_test"))
        if done.best_epoch != done.epoch:
            state = checkpoint.load(self.log.best)
            checkpoint.load_weights(self.evaluated, state, str(self.log.best))
            chosen = self._evaluate("test", outputs.get("test"))
        elif kept:
            outputs["test"] = outputs.pop("last_test")
        if kept and done.best_epoch == done.epoch and self._val is not None and self._val.kept == kept:
            outputs["val"] = self._val
        elif kept:
            self._evaluate("val", outputs["val"])
        final, best = done.history[-1], done.history[done.best_epoch - 1]
        metrics = {f"test_{name}": value for name, value in chosen._asdict().items()}
        metrics |= {f"last_test_{name}": value for name, value in last._asdict().items()}
        metrics |= {name: value for name, value in best.items() if name.startswith("val_")}
        metrics |= {name: final[name] for name in ("train_loss", "train_top1", "train_top5")}
        images = sum(record["images_per_second"] * record["seconds"] for record in done.history)
        return Result(
            metrics,
            {"rule": self.choice.rule, "epoch": done.best_epoch, "epochs": cfg.train.epochs},
            {
                "train_seconds": done.seconds,
                "images_per_second": images / done.seconds,
                "peak_memory_mib": peak_memory_mib(self.device),
            },
        )
