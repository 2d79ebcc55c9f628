"""What a run will cost: from runs that the store holds of the same device, else from a short probe."""

import statistics
import time
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch.nn import functional as F

from cbam_ablate.config.canonical import from_dict, network_of
from cbam_ablate.config.facts import DATASETS
from cbam_ablate.config.schema import RunConfig
from cbam_ablate.models import ModelCost, build_model
from cbam_ablate.runs import RunStore
from cbam_ablate.training.device import device_name, peak_memory_mib, pick_precision
from cbam_ablate.training.evaluate import autocast
from cbam_ablate.training.optimizer import build_optimizer

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
    facts = DATASETS[cfg.data.name]
    trained = cfg.data.train_size or facts.train - cfg.data.val_size
    return cfg.train.epochs * (trained + FORWARD * cfg.data.val_size) + 2 * FORWARD * facts.test


def guess_all(
    runs: Mapping[str, RunConfig],
    costs: Mapping[str, ModelCost],
    store: RunStore,
    device: torch.device,
    probe_threads: int | None,
) -> dict[str, Guess]:
    """A guess for each run that anything is known of: the same network, else a similar one by MACs.

    With `probe_threads`, networks that the store doesn't know are timed with so many.
    """
    known = _known(store, device)
    every = [rate for rates in known.values() for rate in rates if rate.macs]
    guesses: dict[str, Guess] = {}
    probed: dict[str, _Known] = {}
    for key, cfg in runs.items():
        name = network_of(cfg)
        if name not in known and probe_threads is not None:
            probed[name] = probed.get(name) or _probe(cfg, device, probe_threads)
            rates, source = [probed[name]], "a probe"
        elif name in known:
            rates, source = known[name], "runs of the same network"
        else:
            like = [rate for rate in every if 1 / ALIKE < rate.macs / costs[key].macs < ALIKE]
            if like:
                per_mac = statistics.median(rate.seconds_an_image / rate.macs for rate in like)
                seconds = per_mac * costs[key].macs * work(cfg)
                guesses[key] = Guess(seconds, None, "similar networks' runs, by MACs")
            continue
        seconds = statistics.median(rate.seconds_an_image for rate in rates) * work(cfg)
        guesses[key] = Guess(seconds, max(rate.memory_mib for rate in rates) or None, source)
    return guesses


def _known(store: RunStore, device: torch.device) -> dict[str, list[_Known]]:
    """Rates of the finished runs on this kind of device, by network."""
    here, known = device_name(device), dict[str, list[_Known]]()
    for run in store.runs():
        result, config = run.result(), run.config()
        if result is None or config is None or result["provenance"]["device"] != here:
            continue
        try:
            name = network_of(from_dict(config))
        except (ValueError, KeyError):
            continue
        cost = result["cost"]
        rate = _Known(1 / cost["images_per_second"], cost["peak_memory_mib"], cost["macs"])
        known.setdefault(name, []).append(rate)
    return known


def _probe(cfg: RunConfig, device: torch.device, threads: int) -> _Known:
    """Times a few training steps on made-up images, after one that warms up."""
    facts, train = DATASETS[cfg.data.name], cfg.train
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    model = build_model(cfg, pretrained=False).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = build_optimizer(cfg.optimizer, model)
    images = torch.randn(train.batch_size, facts.channels, facts.size, facts.size, device=device)
    images = images.contiguous(memory_format=torch.channels_last)
    labels = torch.zeros(train.batch_size, dtype=torch.long, device=device)
    cast = autocast(device, pick_precision(train.precision, device))
    times = []
    for _ in range(1 + PROBE_STEPS):
        started = time.perf_counter()
        with cast:
            loss = F.cross_entropy(model(images).float(), labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        loss.item()
        times.append(time.perf_counter() - started)
    torch.set_num_threads(before)
    memory = peak_memory_mib(device) if device.type == "cuda" else 0.0
    return _Known(statistics.median(times[1:]) / train.batch_size, memory, 0)
