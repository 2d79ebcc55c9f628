"""What training sees of the data: batches by epoch and part, on the device."""

from collections.abc import Iterator

import torch

from cbam_ablate.config.schema import RunConfig
from cbam_ablate.data.batches import Batch, Normalise, TrainBatches, eval_batches
from cbam_ablate.data.loader import Splits, load_splits

EVAL_BATCH = 500


class Feed:
    """Batches of normalised images (N, C, H, W) and labels. `steps` is full batches an epoch.

    `numbers` are those of the images of val and test in their files, in order.

    Labels are classes (N,), or where images are mixed in training each class's share (N, classes).
    """

    def __init__(self, cfg: RunConfig, splits: Splits, dtype: torch.dtype) -> None:
        self.seed = cfg.seed
        self.sha256 = splits.sha256
        self.steps = len(splits.train) // cfg.train.batch_size
        self.classes, self.numbers = splits.classes, splits.numbers
        self._normalise = Normalise(splits.mean, splits.std, splits.train.shape, dtype)
        self.batches = TrainBatches(
            splits.train,
            cfg.augment,
            cfg.train.batch_size,
            self._normalise,
            splits.classes,
            cfg.data.sampler == "balanced",
        )
        self._parts = {"val": splits.val, "test": splits.test}

    def train(self, epoch: int, start: int) -> Iterator[Batch]:
        """The batches of one epoch from step `start` on, ordered and augmented by the run's seed alone."""
        return self.batches.epoch(self.seed, epoch, start)

    def class_counts(self) -> list[int]:
        """The training images of each class."""
        return torch.bincount(self.batches.part.labels.cpu(), minlength=self.classes).tolist()

    def evaluate(self, part: str) -> Iterator[Batch]:
        """All images of `val` or `test` in order."""
        return eval_batches(self._parts[part], self._normalise, EVAL_BATCH)


def make_feed(cfg: RunConfig, device: torch.device, precision: str) -> Feed:
    """The feed of a run, images in the number format that the network computes in."""
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    return Feed(cfg, load_splits(cfg, device), dtype)
