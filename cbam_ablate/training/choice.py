"""Which epoch a run keeps, by `train.select`."""

from typing import Any, Protocol, TypeVar

from cbam_ablate.metrics.definitions import value_of
from cbam_ablate.metrics.predictions import form_of
from cbam_ablate.metrics.select import LAST, selection
from cbam_ablate.training.evaluate import Scores
from cbam_ablate.training.outputs import Outputs
from cbam_ablate.training.protocols import TrainingFeed


class Chosen(Protocol):
    """What a run's progress says of its best epoch: its score is by what `chosen_by` names."""

    epoch: int
    best_epoch: int
    best_top1: float
    best_score: float | None
    chosen_by: str


P = TypeVar("P", bound=Chosen)


class Choice:
    """Scores epochs by a validation metric, the higher the better, and notes the best."""

    def __init__(self, name: str, feed: TrainingFeed) -> None:
        self.by = selection(name)
        self._feed = feed

    @property
    def rule(self) -> str:
        return self.by.rule

    def go_on(self, done: P, epochs: int) -> P:
        """Progress to go on from, without a best epoch that was chosen otherwise if more are to come."""
        if done.chosen_by != self.by.name and done.epoch < epochs:
            done.best_epoch, done.best_top1, done.best_score = 0, -1.0, None
        done.chosen_by = self.by.name
        return done

    @property
    def kept(self) -> str | None:
        """The form in which a run's predictions are kept; None where they are too large."""
        numbers = self._feed.numbers
        return form_of(self._feed.classes, 2 * len(numbers["test"]) + len(numbers["val"]))

    def outputs(self, last: bool) -> Outputs | None:
        """Where an epoch's validation predictions go, if they choose or are the `last` and can be kept."""
        if self.by.metric is not None:
            return Outputs(form_of(self._feed.classes, len(self._feed.numbers["val"])) or "top")
        return Outputs(self.kept) if last and self.kept else None

    def improves(self, done: Chosen, val: Scores, outputs: Outputs | None, record: dict[str, Any]) -> bool:
        """Whether the epoch just ended is the best yet, which `done` then says; `record` gets its metric.

        An epoch whose metric is undefined scores below any other.
        """
        score = self._score(done.epoch, val, outputs, record)
        best = done.best_top1 if done.best_score is None else done.best_score
        if done.best_epoch and score <= best:
            return False
        done.best_epoch, done.best_top1, done.best_score = done.epoch, val.top1, score
        done.chosen_by = self.by.name
        return True

    def _score(self, epoch: int, val: Scores, outputs: Outputs | None, record: dict[str, Any]) -> float:
        if self.by.name == LAST:
            return float(epoch)
        sign = 1.0 if self.by.better == "up" else -1.0
        if self.by.metric is None or outputs is None:
            return sign * float(getattr(val, self.by.name.removeprefix("val_")))
        value = value_of(self.by.metric.function, outputs.sample(self._feed.classes)).value
        if value is None:
            return float("-inf")
        record[self.by.name] = self.by.metric.scale * value
        return sign * value
