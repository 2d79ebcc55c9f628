"""What a network gave for every image of a set, condensed on the device as `metrics.predictions` keeps it."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cbam_ablate.metrics.predictions import TOP, TOP_ARRAYS
from cbam_ablate.metrics.sample import Sample, Top


class Outputs:
    """Collects batches of one set of images. `kept` is all, or top for the greatest logits and sums alone."""

    def __init__(self, kept: str) -> None:
        self.kept = kept
        self._batches: list[dict[str, Tensor]] = []
        self._labels: list[Tensor] = []

    def add(self, logits: Tensor, labels: Tensor) -> None:
        """`logits` (N, K) float32, `labels` (N,)."""
        self._labels.append(labels)
        shifted = logits - logits.amax(dim=1, keepdim=True)
        if self.kept == "all":
            self._batches.append({"logits": _half(shifted)})
            return
        powers = shifted.exp()
        total = powers.sum(dim=1)
        greatest = shifted.topk(min(TOP, logits.shape[1]), dim=1)
        self._batches.append(
            {
                "classes": greatest.indices.int(),
                "logits": _half(greatest.values),
                "label": _half(shifted.gather(1, labels[:, None])[:, 0]),
                "log_sum": total.log(),
                "squares": powers.square().sum(dim=1) / total.square(),
            }
        )

    @property
    def labels(self) -> NDArray[np.int64]:
        """The true classes (N,)."""
        return torch.cat(self._labels).cpu().numpy()

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """The condensed predictions, by the names that `metrics.predictions` has for them."""
        found = {
            name: torch.cat([batch[name] for batch in self._batches]).cpu().numpy()
            for name in self._batches[0]
        }
        if "classes" in found:
            found["classes"] = found["classes"].astype(
                np.uint16 if found["classes"].max() < 2**16 else np.int32
            )
        return found

    def sample(self, classes: int) -> Sample:
        """The same for metrics."""
        arrays = self.arrays()
        if self.kept == "all":
            return Sample.of_logits(self.labels, arrays["logits"])
        floats = {name: arrays[name].astype(np.float64) for name in TOP_ARRAYS[1:]}
        top = Top(arrays["classes"].astype(np.int64), **floats)
        return Sample.of_top(self.labels, classes, top)


def _half(values: Tensor) -> Tensor:
    """float16. A logit below its range is its least number; what is no number stays so."""
    return values.clamp(min=torch.finfo(torch.float16).min).half()
