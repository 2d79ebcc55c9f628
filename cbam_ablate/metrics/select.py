"""What chooses a run's epoch: a validation metric, or that it is the last. Test data chooses nothing."""

import re
from typing import NamedTuple

import numpy as np

from cbam_ablate.errors import ConfigError
from cbam_ablate.metrics.definitions import DEFINITIONS, Definition, definition, value_of
from cbam_ablate.metrics.predictions import TOP, form_of
from cbam_ablate.metrics.sample import Sample, Top

STORED = {"top1": ("top-1", "up"), "top5": ("top-5", "up"), "loss": ("loss", "down")}
"""What every epoch is measured by anyway: its words, and which direction is better."""
LAST = "last"


class Selection(NamedTuple):
    """`metric` is set where an epoch's predictions are needed; `rule` is what a result says of it."""

    name: str
    rule: str
    better: str
    metric: Definition | None = None


def selection(name: str) -> Selection:
    """What `train.select` names. Raises `ConfigError` for what can't choose."""
    if name == LAST:
        return Selection(name, "taking the last", "up")
    found = re.fullmatch(r"val_(\w+)", name)
    bare = found[1] if found else ""
    if bare in STORED:
        words, better = STORED[bare]
        return Selection(name, _rule(words, better), better)
    metric = definition(bare)
    if metric is None:
        hint = ": test data chooses nothing" if name.startswith(("test", "last_test")) else ""
        listed = ", ".join([*STORED, "topK", *DEFINITIONS])
        raise ConfigError(f"train.select={name}{hint}; there are last, and val_ with {listed}")
    return Selection(name, _rule(metric.label, metric.better), metric.better, metric)


def undecided(chosen: Selection, classes: int) -> str:
    """Why it can't choose among so many classes, of whose predictions the top ones are kept; else empty."""
    if chosen.metric is None or form_of(classes, 1) == "all":
        return ""
    top, each = np.tile(np.arange(TOP), (2, 1)), np.zeros(2)
    kept = Top(top, np.zeros(top.shape), each, each + np.log(classes), each + 1 / classes)
    found = value_of(chosen.metric.function, Sample.of_top([0, 1], classes, kept))
    return found.notes[0] if found.value is None else ""


def _rule(words: str, better: str) -> str:
    return f"{'highest' if better == 'up' else 'lowest'} validation {words}, the first of equals"
