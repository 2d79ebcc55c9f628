"""Intervals that take in another test set: over the images alone, or over seeds and images together."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cbam_ablate.aggregate.layout import Setting
from cbam_ablate.aggregate.records import Study
from cbam_ablate.aggregate.statistics import Interval, Paired
from cbam_ablate.config.output import BOTH_FROM
from cbam_ablate.metrics.crossed import (
    Variances,
    draws_of,
    interval_of,
    mcnemar,
    of_draws,
    of_means,
    p_of,
    per_image,
)
from cbam_ablate.metrics.definitions import value_of
from cbam_ablate.metrics.kept import Asked, RunMetrics, asked
from cbam_ablate.metrics.predictions import Predictions, Refused
from cbam_ablate.metrics.sample import Sample
from cbam_ablate.runs import RunStore

OVER = ("images", "both")
STORED = {"loss": "log_loss", "error1": "top1", "error5": "top5"}
"""What result.json has under a name of its own, and the metric of predictions that it is."""


class One(NamedTuple):
    """One seed's metric: a number for each image (N,), or the value with one for each draw (B,)."""

    images: NDArray[np.float64] | None
    value: float
    draws: NDArray[np.float64] | None


@dataclass
class Crossed:
    """Answers for the rows of one table whose option `interval` is `over`.

    `odd` are sentences on what has no such interval.
    """

    study: Study
    settings: Sequence[Setting]
    over: str
    own: Mapping[str, str]
    odd: list[str] = field(default_factory=list)
    _runs: dict[str, Predictions | None] = field(default_factory=dict)
    _ones: dict[tuple[str, str], One | None] = field(default_factory=dict)
    _orders: dict[str, str] = field(default_factory=dict)

    @property
    def works(self) -> bool:
        """Whether the table asks for such intervals, and its runs are in a store."""
        return self.over in OVER and self.study.root is not None

    def cell(self, row: int, name: str, value: float | None) -> Interval | None:
        """The interval of a row's mean, around its `value`."""
        ones = self._row(row, name)
        return None if value is None else self._around(value, self._variances(name, list(ones.values())))

    def pair(self, row: int, base: int, name: str, pair: Paired) -> Paired:
        """A paired difference with its interval, and over both its p, put in place."""
        ours, theirs = self._row(row, name), self._row(base, name)
        seeds = [seed for seed in ours if seed in theirs]
        if len(seeds) != pair.n or pair.mean is None:
            return pair._replace(interval=None)
        found = self._variances(name, [_less(ours[seed], theirs[seed]) for seed in seeds])
        interval = self._around(pair.mean, found)
        if self.over == "images":
            return pair._replace(interval=interval)
        p = None if found is None or pair.n < BOTH_FROM else p_of(found._replace(mean=pair.mean))
        return pair._replace(interval=interval, p=p)

    def _around(self, value: float, found: Variances | None) -> Interval | None:
        bounds = None if found is None else interval_of(found, self.over)
        if bounds is None:
            return None
        half = (bounds[1] - bounds[0]) / 2
        return value - half, value + half

    def _variances(self, name: str, ones: Sequence[One]) -> Variances | None:
        if not ones or (self.over == "both" and len(ones) < BOTH_FROM):
            if ones:
                needed = f"needs {BOTH_FROM} seeds; rows have fewer."
                self._say(f"{name}: an interval over seeds and test images {needed}")
            return None
        images = [one.images for one in ones if one.images is not None]
        if len(images) == len(ones):
            return of_means(np.array(images))
        return of_draws(np.array([one.value for one in ones]), np.array([one.draws for one in ones]).T)

    def _row(self, row: int, name: str) -> dict[str, One]:
        """By seed, of the seeds with one finished run that has predictions of the table's images."""
        metric, sign = _metric(name, self.own)
        if metric is None:
            self._say(f"{name}: no interval over test images, it is no metric of their predictions.")
            return {}
        found = {}
        for seed, records in self.settings[row].by_seed.items():
            finished = [record.key for record in records if record.finished]
            one = self._one(finished[0], name, metric, sign) if len(finished) == 1 else None
            if one is not None:
                found[seed] = one
        return found

    def _one(self, key: str, name: str, metric: Asked, sign: float) -> One | None:
        if (key, name) not in self._ones:
            sample = self.sample(key, metric.part)
            self._ones[key, name] = None if sample is None else _worked_out(sample, metric, sign)
        return self._ones[key, name]

    def sample(self, key: str, part: str) -> Sample | None:
        """A run's predictions of the images that the table's other runs predict too, in their order."""
        if key not in self._runs and self.study.root is not None:
            try:
                self._runs[key] = RunMetrics(RunStore(self.study.root).run(key)).predictions()
            except Refused as error:
                self._runs[key] = None
                self._say(f"Run {key} is in no interval over test images: {error}.")
        found = self._runs.get(key)
        if found is None or part not in found.parts:
            return None
        order = self._orders.setdefault(part, found.order(part))
        if found.order(part) != order:
            self._say(f"Run {key} is in no interval over test images: it has others, or in another order.")
            return None
        sample = found.sample(part)
        return None if sample.broken else sample

    def _say(self, sentence: str) -> None:
        if sentence not in self.odd:
            self.odd.append(sentence)


def _metric(name: str, own: Mapping[str, str]) -> tuple[Asked | None, float]:
    """The metric of predictions behind a column, and the sign with which it goes in."""
    for part in ("last_test", "test", "val"):
        bare = name.removeprefix(f"{part}_")
        if bare != name and bare in STORED:
            return asked(f"{part}_{STORED[bare]}", own), -1.0 if "error" in bare else 1.0
    return asked(name, own), 1.0


def _worked_out(sample: Sample, metric: Asked, sign: float) -> One | None:
    scale = sign * metric.definition.scale
    images = per_image(sample, metric.definition.name)
    if images is not None:
        return One(scale * images, scale * float(images.mean()), None)

    whole = value_of(metric.definition.function, sample).value
    if whole is None:
        return None
    draws = draws_of([sample], metric.definition.function, np.random.default_rng(0))[:, 0]
    return One(None, scale * whole, scale * np.where(np.isnan(draws), whole, draws))


def _less(ours: One, theirs: One) -> One:
    images = None if ours.images is None or theirs.images is None else ours.images - theirs.images
    draws = None if ours.draws is None or theirs.draws is None else ours.draws - theirs.draws
    return One(images, ours.value - theirs.value, draws)


MOST_PAIRS = 12


def single_pairs(crossed: Crossed, label: Callable[[int], str], base: Sequence[int | None]) -> list[str]:
    """McNemar's test of each row of one run and its baseline of one run, of the same seed, in sentences."""
    found: list[str] = []
    pairs = [(row, other) for row, other in enumerate(base) if other is not None and other != row]
    for row, other in pairs[:MOST_PAIRS] if crossed.works else ():
        pair = [_only(crossed.settings[index]) for index in (row, other)]
        if pair[0] is None or pair[1] is None or pair[0][0] != pair[1][0]:
            continue
        samples = [crossed.sample(key, "test") for one in pair if one is not None for key in [one[1]]]
        if samples[0] is None or samples[1] is None:
            continue
        ours, theirs, p = mcnemar(samples[0].right, samples[1].right)
        found.append(
            f"{label(row)} against {label(other)}, one run each: {ours} test images only the first has "
            f"right, {theirs} only the second, p = {p:.2g} (McNemar's exact test, of these two "
            "networks, not of the architectures)."
        )
    return found


def _only(setting: Setting) -> tuple[str, str] | None:
    """The seed and key of a row's only finished run."""
    finished = [
        (seed, record.key)
        for seed, records in setting.by_seed.items()
        for record in records
        if record.finished
    ]
    return finished[0] if len(finished) == 1 else None
