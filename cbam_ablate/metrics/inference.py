"""metrics/inference.json of a run's folder: how fast its network answers, by device."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from cbam_ablate.runs import Run
from cbam_ablate.runs.files import read_json
from cbam_ablate.runs.writer import keep_metric

FORMAT = 1
NAME = "inference"
COLUMNS = {
    "latency_ms": "latency_ms",
    "infer_images_per_second": "images_per_second",
    "infer_memory_mib": "peak_mib",
}
"""A table's columns and what of a measurement they show; of what has quartiles, the median."""


class Condition(NamedTuple):
    """What measurements must share to be compared."""

    device: str
    precision: str
    compiled: bool
    threads: int | None
    batch: int

    def __str__(self) -> str:
        how = "compiled" if self.compiled else "eager"
        threads = f", {self.threads} threads" if self.threads else ""
        return (
            f"{self.device}, {self.precision}, {how}{threads}; latency at batch 1, the others at {self.batch}"
        )


def keep_inference(run: Run, condition: Condition, measured: Mapping[str, Any]) -> None:
    """Keeps a measurement, in place of an earlier one under the same condition."""
    others = [one for one in _entries(run) if _condition(one) != condition]
    entry = {**condition._asdict(), **measured}
    keep_metric(run, NAME, {"schema": FORMAT, "measured": [*others, entry]})


def read_inference(run: Run) -> dict[Condition, dict[str, float]]:
    """A run's measurements, as a table's columns have them, by their condition."""
    found = {}
    for entry in _entries(run):
        condition = _condition(entry)
        values = {name: _number(entry.get(inner)) for name, inner in COLUMNS.items()}
        if condition is not None:
            found[condition] = {name: value for name, value in values.items() if value is not None}
    return found


def shared_condition(measured: Iterable[Iterable[Condition]]) -> Condition | None:
    """The condition under which most rows were measured; of equals an eager one, then the first by name."""
    counts = Counter(condition for row in measured for condition in set(row))
    return min(counts, key=lambda one: (-counts[one], one.compiled, one.device, str(one)), default=None)


def _entries(run: Run) -> list[dict[str, Any]]:
    content = read_json(run.path / "metrics" / f"{NAME}.json") or {}
    entries = content.get("measured") if content.get("schema") == FORMAT else None
    return [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []


def _condition(entry: Mapping[str, Any]) -> Condition | None:
    try:
        return Condition(
            str(entry["device"]), str(entry["precision"]), bool(entry["compiled"]), entry["threads"],
            int(entry["batch"]),
        )  # fmt: skip
    except (KeyError, TypeError, ValueError):
        return None


def _number(value: Any) -> float | None:
    inner = value.get("median") if isinstance(value, Mapping) else value
    return float(inner) if isinstance(inner, int | float) else None
