"""Explains several stored networks on the same test images."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from cbam_ablate.config.schema import DataConfig, RunConfig
from cbam_ablate.config.seeds import derive_seed
from cbam_ablate.data.batches import Normalise
from cbam_ablate.data.loader import Splits, load_splits
from cbam_ablate.errors import ConfigError
from cbam_ablate.explain.confidence import Estimate, average_drop, increase
from cbam_ablate.explain.figure import Shown
from cbam_ablate.explain.maps import Array, Maps, explain
from cbam_ablate.models import build_model
from cbam_ablate.registry import Dataset, facts, find
from cbam_ablate.runs import Run
from cbam_ablate.training import checkpoint
from cbam_ablate.training.device import pick_device
from cbam_ablate.training.layout import lay_out

BATCH = 50


class Explained(NamedTuple):
    """One run's maps of the shown images, and its numbers over the measured ones."""

    maps: Maps
    drop: Estimate
    rise: Estimate


class Explanation(NamedTuple):
    """The images shown, the number measured, the data set's hash, and each run's share."""

    shown: Shown
    measured: int
    sha256: str
    runs: list[Explained]


def compare(
    configs: Sequence[RunConfig], runs: Sequence[Run], images: int | Sequence[int], n: int, seed: int
) -> Explanation:
    """Maps of `images` test images (how many, or their numbers) and numbers over `n`, or all where fewer.

    Images are drawn by `seed`, the same for all runs. Raises `ConfigError` for runs of other test images.
    """
    sets = {run.key: cfg.data.name for run, cfg in zip(runs, configs, strict=True)}
    if len(set(sets.values())) > 1:
        listed = ", ".join(f"{key[:8]} {name}" for key, name in sets.items())
        raise ConfigError(f"run={','.join(sets)}: runs are compared on one data set, these have {listed}")
    device = pick_device(configs[0].train.device)
    # Each run's own: they may normalise differently.
    splits = [load_splits(cfg, device) for cfg in configs]
    if len({(one.sha256, one.numbers["test"].tobytes()) for one in splits}) > 1:
        raise ConfigError(f"run={','.join(sets)}: runs are compared on the same test images, theirs differ")
    test, data = splits[0].test, configs[0].data.name
    draw = torch.Generator().manual_seed(derive_seed(seed, "explain"))
    order = torch.randperm(len(test), generator=draw)
    shown = order[:images] if isinstance(images, int) else _chosen(images, len(test), data)
    there = shown.to(test.rows.device)
    labels, names = test.labels.cpu()[shown].numpy(), _class_names(configs[0].data)
    pictures = Shown(test.take(there).cpu().numpy(), shown.numpy(), labels, names)
    found = [_explain(*one, shown, order[:n], device) for one in zip(configs, runs, splits, strict=True)]
    return Explanation(pictures, min(n, len(test)), splits[0].sha256, found)


def _class_names(data: DataConfig) -> list[str]:
    known = data.classes or find(Dataset, data.name).names.split()
    return known or [f"class {label}" for label in range(facts(data).classes)]


def _chosen(numbers: Sequence[int], count: int, data: str) -> Tensor:
    beyond = [number for number in numbers if number >= count]
    if beyond:
        raise ConfigError(f"images={beyond[0]}: the test set of {data} has images 0 to {count - 1}")
    return torch.tensor(numbers)


def _explain(
    cfg: RunConfig, run: Run, splits: Splits, shown: Tensor, measured: Tensor, device: torch.device
) -> Explained:
    model = lay_out(cfg, build_model(cfg, pretrained=False), device)
    state = checkpoint.load(run.best, run.key)
    checkpoint.load_weights(model, checkpoint.evaluated_weights(state), str(run.best))
    maps = explain(model, next(_batches(splits, shown, len(shown))))
    before, after = _confidences(model, _batches(splits, measured, BATCH))
    return Explained(maps, average_drop(before, after), increase(before, after))


def _batches(splits: Splits, chosen: Tensor, size: int) -> Iterator[Tensor]:
    """Test images of the chosen numbers, normalised, as float32 (N, C, H, W)."""
    test = splits.test
    normalise = Normalise(splits.mean, splits.std, test.shape, torch.float32)
    for some in chosen.to(test.rows.device).split(size):
        yield normalise(test.take(some))


def _confidences(model: nn.Module, batches: Iterator[Tensor]) -> tuple[Array, Array]:
    maps = [explain(model, images) for images in batches]
    return np.concatenate([one.confidence for one in maps]), np.concatenate([one.masked for one in maps])
