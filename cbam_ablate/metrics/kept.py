"""Metrics of finished runs: worked out from their predictions when first asked for, then kept.

metrics/NAME.json of a run's folder holds a value with what was absent. It counts as long as the predictions
aren't newer than it, and the metric's definition is the same.
"""

import json
import math
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from cbam_ablate.errors import ConfigError
from cbam_ablate.metrics.definitions import VERSION, Definition, definition, value_of
from cbam_ablate.metrics.predictions import PARTS, Predictions, Refused, unpack
from cbam_ablate.metrics.sample import Sample, Value
from cbam_ablate.own import failure
from cbam_ablate.registry import Metric, find
from cbam_ablate.runs import Run
from cbam_ablate.runs.writer import keep_metric
from cbam_ablate.source import source_hash

FORMAT = 1
NAME = re.compile(rf"({'|'.join(PARTS)})_([A-Za-z][A-Za-z0-9_]*)")


@dataclass(frozen=True)
class Asked:
    """A metric of one part of the images, by the name that tables have for it."""

    name: str
    part: str
    definition: Definition
    source: str

    @property
    def label(self) -> str:
        words = {"test": "test", "last_test": "test, last epoch", "val": "val."}
        return f"{words[self.part]} {self.definition.label}"


def asked(name: str, own: Mapping[str, str] | None = None) -> Asked | None:
    """The metric called `test_f1_macro` or the like; None for other names.

    `own` are one's own functions of labels (N,) and probabilities (N, K), each `module:function`.
    """
    found = NAME.fullmatch(name)
    if found is None:
        return None
    part, bare = found.groups()
    if bare in (own or {}):
        made, source = own_metric(bare, (own or {})[bare])
        return Asked(name, part, made, source)
    known = definition(bare)
    return None if known is None else Asked(name, part, known, str(VERSION))


def own_metric(name: str, target: str) -> tuple[Definition, str]:
    """One's own metric, and which function of which source it is.

    Raises `ConfigError` where there is no such function.
    """
    named = f"metrics.own.{name}={target}"
    if definition(name) is not None:
        raise ConfigError(f"{named}: {name} is a metric of ours; take another name")
    part = find(Metric, target, f"metrics.own.{name}")
    made = Definition(name, name, "", target, "", "", _calling(part.function(), named), "")
    return made, f"{part.target} {source_hash(part.target)}"


def _calling(function: Callable[..., Any], named: str) -> Callable[[Sample], Value]:
    def value(sample: Sample) -> Value:
        sample.check()
        labels, probabilities = sample.labels.copy(), sample.probabilities.copy()
        try:
            found = float(function(labels, probabilities))
        except Exception as error:  # whatever it raises is the user's own
            return Value(None, (str(failure(named, error)),))
        if not math.isfinite(found):
            return Value(None, (f"{named}: gave {found}",))
        return Value(found)

    return value


@dataclass
class RunMetrics:
    """The metrics of one finished run. With `keep`, what is worked out is written beside the run."""

    run: Run
    keep: bool = True
    result: Mapping[str, Any] | None = None
    _predictions: Predictions | Refused | None = field(default=None, init=False)

    def predictions(self) -> Predictions:
        """What the run's network gave for each image. Raises `Refused` where there is nothing to use."""
        if self._predictions is None:
            try:
                result = self.run.result() if self.result is None else self.result
                self._predictions = unpack(self.run.predictions.read_bytes(), self.run.key, result)
            except FileNotFoundError:
                self._predictions = Refused("no predictions were kept")
            except OSError as error:
                self._predictions = Refused(f"predictions.npz can't be read ({error.strerror})")
            except Refused as error:
                self._predictions = Refused(f"predictions.npz is refused: {error}")
        if isinstance(self._predictions, Refused):
            raise self._predictions
        return self._predictions

    def value(self, metric: Asked) -> Value:
        """The metric in its unit. Raises `Refused` where the run has no usable predictions."""
        kept = read_kept(f"{self.run.path}/metrics/{metric.name}.json", f"{self.run.path}/predictions.npz")
        if kept is not None and kept.get("schema") == FORMAT and kept.get("source") == metric.source:
            number = kept.get("value")
            if number is None or isinstance(number, int | float):
                return Value(number, tuple(map(str, kept.get("notes") or ())))
        found = value_of(metric.definition.function, self.predictions().sample(metric.part))
        scaled = None if found.value is None else found.value * metric.definition.scale
        if self.keep:
            content = {
                "schema": FORMAT, "metric": metric.name, "value": scaled, "unit": metric.definition.unit,
                "notes": list(found.notes), "source": metric.source,
            }  # fmt: skip
            keep_metric(self.run, metric.name, content)
        return Value(scaled, found.notes)


def read_kept(path: str, predictions: str) -> dict[str, Any] | None:
    """What is kept of a metric, unless the predictions are newer; fast, for thousands of runs."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError:
        return None
    try:
        written = os.fstat(handle).st_mtime_ns
        content = os.read(handle, 1 << 16)
    finally:
        os.close(handle)
    try:
        if os.stat(predictions).st_mtime_ns > written:
            return None
    except OSError:
        pass  # as in an export, which leaves them out
    try:
        value = json.loads(content)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def confusion_percent(sample: Sample) -> np.ndarray:
    """What part of each true class's images is given each class (K, K), percent; NaN for an absent class."""
    counts = sample.confusion.astype(np.float64)
    rows = counts.sum(axis=1, keepdims=True)
    return np.divide(100 * counts, rows, out=np.full_like(counts, np.nan), where=rows > 0)
