"""What every source gives: runs as it has them, before anything is known of axes and seeds."""

import hashlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from cbam_ablate.runs.provenance import AUTHORS


@dataclass
class Found:
    """A run as its source has it.

    `address` says where it was found. `config` holds its options by dotted name, `values` what it measured
    (numbers; NaN and text too, which are told and left out), `history` its rows of epochs or steps. `state`
    is finished, failed, interrupted or running; a failed one has a `failure` and an `error`. `rule` says how
    the values were chosen. `candidates` names the options that can be axes; None means any. `sparse` says
    that an option which isn't there has no effect.
    """

    key: str
    address: str
    config: dict[str, Any]
    values: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    state: str = "finished"
    failure: str = ""
    error: str = ""
    rule: str = AUTHORS
    candidates: frozenset[str] | None = None
    sparse: bool = False
    selection: dict[str, Any] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Wanted:
    """What was asked of a source; empty means: find it.

    `axes` and `metrics` are names, `seed` one name or, where seeds stand side by side, their columns. `shown`
    are options that are axes whatever the others are.
    `better` gives up or down by metric. `step` is last, a number, or max:NAME or min:NAME, for sources with
    histories. `file` is a pattern for the metrics file of Hydra jobs, `experiment` an MLflow experiment.
    """

    axes: tuple[str, ...] = ()
    seed: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    shown: tuple[str, ...] = ()
    better: Mapping[str, str] = field(default_factory=dict)
    step: str = "last"
    file: str = ""
    experiment: str = ""


def run_key(*words: str) -> str:
    """The key of a run that others trained: 16 hex digits, the same whenever it is imported again."""
    return hashlib.sha256("/".join(words).encode("utf-8", "surrogateescape")).hexdigest()[:16]


def flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Nested mappings by dotted name; names that start with an underscore are the tool's own."""
    for name, value in values.items():
        name = str(name)
        if isinstance(value, Mapping) and value and not name.startswith("_"):
            yield from flat(value, f"{prefix}{name}.")
        elif not name.startswith("_"):
            yield f"{prefix}{name}", value


def plain(value: Any) -> Any:
    """A setting as JSON has it: NaN and infinities as words, whole floats as they are, the rest as text."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, Mapping):
        return {str(name): plain(item) for name, item in value.items()}
    return str(value)


def number(value: Any) -> float | None:
    """The number that a measured value is, NaN and infinities too; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value


def finite(value: Any) -> bool:
    return number(value) is not None and math.isfinite(value)


def count(number: int, what: str) -> str:
    """`1 run`, `2 runs`."""
    return f"{number} {what}{'s' * (number != 1)}"


def listed(names: Any, most: int = 6) -> str:
    """The first few names, and how many more."""
    every = [str(name) for name in names]
    more = f" and {len(every) - most} more" if len(every) > most else ""
    return ", ".join(every[:most]) + more
