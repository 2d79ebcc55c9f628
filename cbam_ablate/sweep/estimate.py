"""What a run will cost: from runs that the store holds of the same device, else from a short probe."""

import os
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from cbam_ablate.accel import accelerate_run
from cbam_ablate.config.canonical import from_dict, network_of
from cbam_ablate.config.once import Memo
from cbam_ablate.config.schema import RunConfig
from cbam_ablate.data.batches import Batch
from cbam_ablate.models import ModelCost, build_model
from cbam_ablate.registry import counts, facts
from cbam_ablate.runs import RunStore
from cbam_ablate.training import Trainer
from cbam_ablate.training.device import device_name, forget_peak, peak_memory_mib, pick_precision, use

FORWARD = 1 / 3
"""An image's forward pass, as part of a training step's work on it."""
PROBE_STEPS = 4
ALIKE = 3
"""Networks are compared by MACs up to this factor: beyond it seconds a MAC differ too much."""


class Guess(NamedTuple):
    """Seconds of a whole run, the memory it holds, and where the guess comes from."""

    seconds: float
    memory_mib: float | None
    source: str


class _Known(NamedTuple):
    seconds_an_image: float
    memory_mib: float
    macs: int


def work(cfg: RunConfig) -> float:
    """The run in images trained: validation each epoch and two looks at the test set are forward passes."""
    train, val, test = counts(cfg.data)
    return cfg.train.epochs * (train + FORWARD * val) + 2 * FORWARD * test


def guess_all(
    runs: Mapping[str, RunConfig],
    costs: Mapping[str, ModelCost],
    store: RunStore,
    device: torch.device,
    probe_threads: int | None,
) -> dict[str, Guess]:
    """A guess for each run that anything is known of: the same network, else a similar one by MACs.

    With `probe_threads`, networks that the store doesn't know are timed with so many; of one whose step
    fails nothing is known.
    """
    once = Memo()
    known = _known(store, device, runs, once)
    typical = {name: _typical(rates) for name, rates in known.items()}
    every = [rate for rates in known.values() for rate in rates if rate.macs]
    guesses: dict[str, Guess] = {}
    probed: dict[str, _Known | None] = {}
    for key, cfg in runs.items():
        name = network_of(cfg, once)
        if name not in known and probe_threads is not None:
            if name not in probed:
                probed[name] = _probe(cfg, device, probe_threads)
            probe = probed[name]
            if probe is None:
                continue
            rate, source = probe, "a probe"
        elif name in typical:
            rate, source = typical[name], "runs of the same network"
        else:
            like = [rate for rate in every if 1 / ALIKE < rate.macs / costs[key].macs < ALIKE]
            if like:
                per_mac = statistics.median(rate.seconds_an_image / rate.macs for rate in like)
                seconds = per_mac * costs[key].macs * work(cfg)
                guesses[key] = Guess(seconds, None, "similar networks' runs, by MACs")
            continue
        guesses[key] = Guess(rate.seconds_an_image * work(cfg), rate.memory_mib or None, source)
    return guesses


def _typical(rates: Sequence[_Known]) -> _Known:
    """The middle one's speed, the memory of the one that holds the most."""
    seconds = statistics.median(rate.seconds_an_image for rate in rates)
    return _Known(seconds, max(rate.memory_mib for rate in rates), rates[0].macs)


def _known(
    store: RunStore, device: torch.device, runs: Mapping[str, RunConfig], once: Memo
) -> dict[str, list[_Known]]:
    """Rates of the finished runs on this kind of device, by network; the configs of `runs` are known."""
    here, known, names = device_name(device), dict[str, list[_Known]](), dict[str, str]()
    for run in store.runs():
        result = run.result()
        if result is None or result["provenance"].get("device") != here:
            continue
        config = {} if run.key in runs else run.config()
        if config is None:
            continue
        try:
            if run.key in runs:
                name = network_of(runs[run.key], once)
            else:
                text = repr([config.get("data"), config.get("model")])
                if text not in names:
                    names[text] = network_of(from_dict(config))
                name = names[text]
            cost = result["cost"]
            memory = float(cost["peak_memory_mib"] or 0)
            rate = _Known(1 / cost["images_per_second"], memory, int(cost["macs"]))
            known.setdefault(name, []).append(rate)
        except Exception:  # of another version, or damaged: nothing is learnt from it
            continue
    return known


class _MadeUp:
    """A feed of one batch of noise, a few times an epoch."""

    steps = PROBE_STEPS
    classes, sha256 = 0, ""

    def __init__(self, cfg: RunConfig, device: torch.device, dtype: torch.dtype) -> None:
        known, count = facts(cfg.data), cfg.train.batch_size
        self.many = known.classes
        self.numbers: dict[str, NDArray[np.int64]] = {}
        images = torch.randn(count, known.channels, known.size, known.size, dtype=dtype, device=device)
        labels = torch.zeros(count, dtype=torch.long, device=device)
        self.batch = images.contiguous(memory_format=torch.channels_last), labels

    def class_counts(self) -> list[int]:
        return [1] * self.many

    def train(self, epoch: int, start: int) -> Iterator[Batch]:
        return iter([self.batch] * self.steps)

    def evaluate(self, part: str) -> Iterator[Batch]:
        return iter(())


class _NoLog:
    last = best = Path(os.devnull)

    def ignore(self, *_: Any, **__: Any) -> None:
        pass

    def stamp(self, **_: Any) -> dict[str, Any]:
        return {}

    check = line = progress = epoch = rewrite_history = ignore


def _probe(cfg: RunConfig, device: torch.device, threads: int) -> _Known | None:
    """Times an epoch of a few training steps on made-up images, after one that warms up.

    Nothing for a network whose step fails, which its run will tell.
    """
    before = torch.get_num_threads()
    try:
        use(device, threads)
        forget_peak(device)
        # Uncompiled, which would take longer than it tells, and at a rate at which no run diverges.
        how = "auto" if cfg.train.compile == "on" else cfg.train.compile
        train = replace(cfg.train, compile=how, log_every=0)
        cfg = replace(cfg, train=train, optimizer=replace(cfg.optimizer, lr=1e-9))
        precision = pick_precision(train.precision, device)
        feed = _MadeUp(cfg, device, torch.bfloat16 if precision == "bf16" else torch.float32)
        model = build_model(cfg, pretrained=False)
        make_steps = accelerate_run(cfg, model, device)
        trainer = Trainer(cfg, model, feed, _NoLog(), device, precision, make_steps=make_steps)
        for _ in range(2):
            trainer.done.step = 0
            trainer._train_epoch()
    except Exception:  # whatever a job raises is its own outcome
        return None
    finally:
        torch.set_num_threads(before)
    memory = peak_memory_mib(device) if device.type == "cuda" else 0.0
    return _Known(trainer.done.epoch_seconds / PROBE_STEPS / train.batch_size, memory, 0)
