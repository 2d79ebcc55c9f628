"""An augmentation of one's own: a function of each training batch, its random numbers the run's."""

import random
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from cbam_ablate.config.schema import AugmentConfig
from cbam_ablate.config.seeds import derive_seed
from cbam_ablate.errors import DataError
from cbam_ablate.registry import Augmentation, find


class OwnAugment:
    """Normalised images (B, C, H, W) of a batch, changed by the user's function to others of that shape.

    Whatever the function draws, from torch, numpy or Python, depends on the run's seed, the epoch and the
    step alone, and the rest of the run draws as it would without it.
    """

    def __init__(self, options: AugmentConfig) -> None:
        self.name = str(options.own)
        self.change: Callable[[Tensor], Tensor] = find(Augmentation, self.name).function(options.options)

    def __call__(self, images: Tensor, seed: int, epoch: int, step: int) -> Tensor:
        """The changed images. Raises `DataError` where what comes back isn't images of that shape."""
        python, legacy = random.getstate(), np.random.get_state()
        with torch.random.fork_rng([images.device] if images.is_cuda else []):
            drawn = derive_seed(derive_seed(seed, "own augmentation", epoch), "step", step)
            torch.manual_seed(drawn)
            random.seed(drawn)
            np.random.seed(drawn % 2**32)
            try:
                with torch.no_grad():
                    changed = self.change(images)
            finally:
                random.setstate(python)
                np.random.set_state(legacy)
        if not isinstance(changed, Tensor) or changed.shape != images.shape:
            given = tuple(changed.shape) if isinstance(changed, Tensor) else type(changed).__name__
            raise DataError(
                f"augment.own={self.name}: is given images {tuple(images.shape)} and gives {given}; it must "
                "give as many of the same size"
            )
        return changed.to(images.device, images.dtype)


def own_augment(options: AugmentConfig) -> OwnAugment | None:
    return OwnAugment(options) if options.own else None
