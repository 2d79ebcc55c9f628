"""What can stand in a table's columns: printed name, unit, and which direction is better."""

import math
from collections.abc import Mapping
from functools import cache
from typing import NamedTuple

from cbam_ablate.errors import ConfigError
from cbam_ablate.metrics import DEFINITIONS
from cbam_ablate.metrics.kept import Asked


class Description(NamedTuple):
    """`better` is up, down or empty; `kind` is result (compared, tested) or cost (measured, shown)."""

    label: str
    unit: str = ""
    better: str = ""
    kind: str = "result"


def _accuracies() -> dict[str, Description]:
    found = {}
    for part, label in (
        ("test", "test"),
        ("last_test", "test, last epoch"),
        ("val", "val."),
        ("train", "train"),
    ):
        for k in (1, 5):
            found[f"{part}_top{k}"] = Description(f"{label} top-{k}", "%", "up")
            found[f"{part}_error{k}"] = Description(f"{label} top-{k} error", "%", "down")
        found[f"{part}_loss"] = Description(f"{label} loss", "nats", "down")
    return found


METRICS = {
    **_accuracies(),
    "params": Description("params", "", "down", "cost"),
    "macs": Description("MACs", "", "down", "cost"),
    "train_seconds": Description("train time", "s", "down", "cost"),
    "images_per_second": Description("training images/s", "", "up", "cost"),
    "peak_memory_mib": Description("peak memory", "MiB", "down", "cost"),
    "latency_ms": Description("latency", "ms", "down", "cost"),
    "infer_images_per_second": Description("inference images/s", "", "up", "cost"),
    "infer_memory_mib": Description("inference memory", "MiB", "down", "cost"),
}
"""The metrics that every run stores, `..._error1` and `..._error5` being 100 less the accuracy; and what
`cbam-ablate measure` finds."""

RANGES = {"auroc": 1, "auroc_ovo": 1, "average_precision": 1, "kappa": 2, "mcc": 2, "brier": 2}
"""How far apart two values of a metric without unit can be."""

COSTS = tuple(name for name, metric in METRICS.items() if metric.kind == "cost")


def default_costs(pivoted: bool) -> list[str]:
    """The costs that a table shows where it isn't told which."""
    return [] if pivoted else ["params", "macs", "train_seconds"]


def complete(values: dict[str, float]) -> dict[str, float]:
    """Adds the error rates, percent, to the accuracies that are there."""
    for accuracy, error in _errors_of(tuple(values)):
        values[error] = 100 - values[accuracy]
    return values


@cache
def _errors_of(names: tuple[str, ...]) -> list[tuple[str, str]]:
    """The accuracies among these names, each with its error's."""
    parts = [(name, *name.rpartition("_top")) for name in names]
    return [(name, f"{head}_error{k}") for name, head, found, k in parts if found]


def widest(name: str, unit: str) -> float:
    """How far apart two values of a result can be; infinitely far where nothing says so."""
    if unit == "%":
        return 100
    if name in METRICS and METRICS[name].unit == "%":
        return 1
    part = next((part for part in ("last_test_", "test_", "val_") if name.startswith(part)), "")
    return RANGES.get(name.removeprefix(part), math.inf)


def chosen_on_test(name: str) -> bool:
    """Whether a name says that test data chose its epoch."""
    return "test" in name and name.partition("_")[0] in ("best", "max", "min")


def describe(name: str, known: set[str], asked: Mapping[str, Asked], better: str = "") -> Description:
    """The metric called so. `better` is for new ones.

    `known` are the names that the study's results hold, `asked` those worked out from predictions.

    Raises `ConfigError` for one that nothing measures, and for another direction than a known metric's.
    """
    if name in METRICS:
        if better not in ("", METRICS[name].better):
            raise ConfigError(f"table.better.{name}={better}: {METRICS[name].better} is better, and known")
        return METRICS[name]
    if name in asked and asked[name].definition.better:
        metric = asked[name].definition
        if better not in ("", metric.better):
            raise ConfigError(f"table.better.{name}={better}: {metric.better} is better, and known")
        return Description(asked[name].label, metric.unit, metric.better)
    if name in asked:
        return Description(asked[name].label, "", better)
    if name not in known and chosen_on_test(name):
        raise ConfigError(
            f"table.metrics={name}: test data chooses nothing; test_top1 is the epoch that validation chose, "
            "last_test_top1 the last epoch"
        )
    if name not in known:
        listed = ", ".join([*METRICS, *sorted(known - set(METRICS))])
        raise ConfigError(
            f"table.metrics={name}: no run measured it; there are {listed}; and, of the predictions that "
            f"runs keep, test_, last_test_ or val_ with topK, {', '.join(DEFINITIONS)} or one of metrics.own"
        )
    return Description(name, "", better)
