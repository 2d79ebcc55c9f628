"""A study by class: a row for each setting and class, from the predictions of its runs."""

import dataclasses
from typing import Any

import numpy as np

from cbam_ablate.aggregate.records import Point, Record, Study
from cbam_ablate.config.output import TableConfig
from cbam_ablate.errors import ConfigError
from cbam_ablate.metrics.decisions import BY_CLASS, by_class
from cbam_ablate.metrics.definitions import PERCENT, Definition
from cbam_ablate.metrics.kept import NAME, Asked, RunMetrics
from cbam_ablate.metrics.predictions import Refused
from cbam_ablate.metrics.sample import Value
from cbam_ablate.registry import Dataset, rows
from cbam_ablate.runs import RunStore

AXIS = "data.class"
"""The axis of classes; as one of the data, only rows of the same class compete."""
LABELS = {"accuracy": "accuracy", "precision": "precision", "recall": "recall", "f1": "F1"}


def class_names(study: Study, classes: int) -> list[str]:
    """What the classes of the study's data set are called, else their numbers."""
    found = study.constants.get("data.classes")
    if isinstance(found, list) and len(found) == classes:
        return [str(name) for name in found]
    data = rows(Dataset).get(str(study.constants.get("data.name")))
    names = data.names.split() if data else []
    return names if len(names) == classes else [str(one) for one in range(classes)]


def class_options(options: TableConfig) -> TableConfig:
    """The options with what a table by class can show. Raises `ConfigError` for what it can't."""
    metrics = ["test_accuracy" if name == "test_top1" else name for name in options.metrics]
    for name in metrics:
        found = NAME.fullmatch(name)
        if found is None or found[2] not in BY_CLASS:
            raise ConfigError(
                f"table.metrics={name}: by class there are test_, last_test_ or val_ with "
                f"{', '.join(BY_CLASS)}"
            )
    if options.interval not in ("t", "seeds"):
        raise ConfigError(f"table.interval={options.interval}: by class intervals are over seeds; t or seeds")
    if options.costs:
        raise ConfigError(f"table.costs=[{','.join(options.costs)}]: a class has no costs; leave them out")
    return dataclasses.replace(options, metrics=metrics, costs=[])


def by_classes(study: Study, options: TableConfig) -> tuple[Study, dict[str, Asked]]:
    """The study with the axis of classes, and the metrics of a class.

    Raises `ConfigError` where no run has predictions.
    """
    if study.root is None:
        raise ConfigError("table.by=class: these runs are in no store of ours, and keep no predictions")
    store, found = RunStore(study.root), dict[str, dict[str, Any]]()
    odd: dict[str, str] = {}
    classes = 0
    for key, record in study.records.items():
        if not record.finished:
            continue
        try:
            predictions = RunMetrics(store.run(key)).predictions()
            found[key] = {}
            for name in options.metrics:
                part, _, bare = name.rpartition("_")
                sample = predictions.sample(part)
                if sample.broken:
                    raise Refused(f"the outputs for {sample.broken} images aren't finite numbers")
                found[key][name] = 100 * by_class(sample.confusion, bare)
            classes = max(classes, predictions.classes)
        except Refused as error:
            odd.setdefault(str(error), key)
    if not classes:
        why = next(iter(odd), "no run has finished")
        raise ConfigError(f"table.by=class: no run has predictions to go by ({why})")
    names = class_names(study, classes)
    records, runs, places = {}, {}, []
    for place in study.places:
        for index, name in enumerate(names):
            key = f"{place.key}/{index}"
            places.append(Point({**place.axes, AXIS: name}, key))
            runs[key] = study.runs.get(place.key, {})
            records[key] = _record(study.records[place.key], found.get(place.key, {}), index)
    absent = {
        name
        for values in found.values()
        for one in values.values()
        for name, value in zip(names, one, strict=True)
        if np.isnan(value)
    }
    notes = [f"{text} (run {key}, by class)." for text, key in odd.items()]
    if absent:
        notes.append(f"By class: {', '.join(sorted(absent))} undefined in some runs, and left out there.")
    made = dataclasses.replace(
        study, axes={**study.axes, AXIS: names}, runs=runs, places=places, records=records, costs={},
        warnings=[*study.warnings, *notes],
    )  # fmt: skip
    return made, {name: _asked(name) for name in options.metrics}


def _asked(name: str) -> Asked:
    part, _, bare = name.rpartition("_")
    definition = Definition(bare, LABELS[bare], PERCENT, "", "", "", lambda sample: Value(None))
    return Asked(name, part, definition, "")


def _record(record: Record, values: dict[str, Any], index: int) -> Record:
    own = {name: float(one[index]) for name, one in values.items() if not np.isnan(one[index])}
    return dataclasses.replace(record, values=own)
