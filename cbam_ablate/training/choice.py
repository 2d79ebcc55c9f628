"""Which epoch a run keeps, by `train.select`."""

from cbam_ablate.metrics.predictions import form_of
from cbam_ablate.metrics.select import LAST, selection
from cbam_ablate.training.evaluate import Scores
from cbam_ablate.training.outputs import Outputs


class Choice:
    """Scores epochs by a metric of `images` validation images of `classes`, the higher the better."""

    def __init__(self, name: str, classes: int, images: int) -> None:
        self.by = selection(name)
        self._classes, self._images = classes, images

    @property
    def rule(self) -> str:
        return self.by.rule

    def outputs(self) -> Outputs | None:
        """Where an epoch's validation predictions go, if they are needed."""
        if self.by.metric is None:
            return None
        return Outputs(form_of(self._classes, self._images) or "top")

    def score(self, epoch: int, val: Scores, outputs: Outputs | None) -> tuple[float, dict[str, float]]:
        """An epoch's score, and what its record says of it. An undefined metric scores below any other."""
        if self.by.name == LAST:
            return float(epoch), {}
        sign = 1.0 if self.by.better == "up" else -1.0
        if outputs is None:
            return sign * float(getattr(val, self.by.name.removeprefix("val_"))), {}
        value = self.by.value(outputs.sample(self._classes))
        return (float("-inf"), {}) if value is None else (sign * value, {self.by.name: value})
