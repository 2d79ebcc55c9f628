"""Whether a table's declaration fits a sweep: asked before anything runs, and of options alone."""

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from cbam_ablate.aggregate.classes import class_options
from cbam_ablate.aggregate.metrics import COSTS, METRICS, describe
from cbam_ablate.aggregate.options import axis_named, one_way, taken, values_of
from cbam_ablate.aggregate.records import SEED
from cbam_ablate.aggregate.references import published_items, reference_items
from cbam_ablate.config.output import BOOTSTRAP_FROM, TableConfig
from cbam_ablate.config.overrides import same, spell
from cbam_ablate.config.rules import wrong
from cbam_ablate.errors import ConfigError
from cbam_ablate.metrics.kept import asked

MOST_DIGITS = 12
MEANS = ("row", "column")


@dataclass
class Declared:
    """What a sweep will vary, by dotted name, and what all its runs will share."""

    axes: Mapping[str, list[Any]]
    constants: Mapping[str, Any]


def table_problems(
    options: TableConfig, declared: Declared, own: Mapping[str, str] | None = None
) -> list[str]:
    """What is wrong with a table's options for this sweep, a line each: value, rule and alternatives.

    `own` are one's own metrics by name. Seeds are an axis of `declared`, or one where they aren't.
    """
    found: list[str] = []
    for check in _checks(options, declared, own or {}):
        try:
            check()
        except ConfigError as error:
            found += [line for line in str(error).splitlines() if line not in found]
    return found


def _checks(options: TableConfig, declared: Declared, own: Mapping[str, str]) -> Iterator[Callable[[], Any]]:
    yield partial(check_values, options)
    for option in ("rows", "columns", "groups", "separators"):
        for name in getattr(options, option):
            yield partial(axis_named, option, name, declared)
    yield partial(_one_way, options, declared)
    if options.by == "class":
        yield partial(class_options, options)
    for name in options.metrics if options.by is None else ():
        yield partial(_metric, name, own, options.better.get(name, ""))
    yield partial(check_columns, options)
    for option in ("filters", "order"):
        for name, value in getattr(options, option).items():
            yield partial(taken, option, {name: value}, declared)
    for name, value in options.baseline.items():
        yield partial(_baseline, name, value, declared)
    for entry in options.references:
        yield partial(_reference, entry, declared, own)
    for entry in options.published:
        yield partial(_published, entry, declared, own)
    yield partial(_seeds, options, len(declared.axes.get(SEED, [0])))


def check_values(options: TableConfig) -> None:
    """Raises `ConfigError` for values that no table can have, whatever was swept."""
    found = [
        line
        for field in dataclasses.fields(options)
        for line in wrong(f"table.{field.name}", field.metadata, getattr(options, field.name))
    ]
    found += [f"table.{name}: is not finite" for name in _infinite(dataclasses.asdict(options))]
    found += [f"table.means=[{name}]: not one of row, column" for name in options.means if name not in MEANS]
    for name, better in options.better.items():
        if better not in ("up", "down"):
            found.append(f"table.better.{name}={better}: not one of up, down")
    digits = options.digits if isinstance(options.digits, dict) else {"": options.digits}
    for name, count in digits.items():
        whole = isinstance(count, int) and not isinstance(count, bool) and 0 <= count <= MOST_DIGITS
        if count is not None and not whole:
            option = f"table.digits.{name}" if name else "table.digits"
            found.append(f"{option}={count}: decimals, a whole number from 0 to {MOST_DIGITS}")
    if options.caption_only and not options.caption:
        found.append("table.caption_only=true: needs table.caption, which is then all of it")
    if found:
        raise ConfigError("\n".join(found))


def _infinite(value: Any, name: str = "") -> Iterator[str]:
    """Where below a value numbers are that no file of a table can hold."""
    if isinstance(value, dict):
        for inner, below in value.items():
            yield from _infinite(below, f"{name}.{inner}" if name else str(inner))
    elif isinstance(value, list | tuple):
        for below in value:
            yield from _infinite(below, name)
    elif isinstance(value, float) and not math.isfinite(value):
        yield name


def check_columns(options: TableConfig) -> None:
    """Raises `ConfigError` for costs that nothing measures, and for a table without results."""
    for name in options.costs or []:
        if name not in COSTS:
            raise ConfigError(f"table.costs={name}: not one of {', '.join(COSTS)}")
    if all(name in COSTS for name in options.metrics):
        listed = ", ".join(name for name in METRICS if name not in COSTS)
        raise ConfigError(f"table.metrics=[{','.join(options.metrics)}]: at least one result of {listed}")


def _one_way(options: TableConfig, declared: Declared) -> None:
    known = {*declared.axes, *declared.constants}
    down, across = (
        [name for name in names if _known(name, known, declared)]
        for names in ([*options.rows, *options.groups], options.columns)
    )
    one_way(
        [axis_named("rows", name, declared) for name in down],
        [axis_named("columns", name, declared) for name in across],
    )


def _known(name: str, known: set[str], declared: Declared) -> bool:
    try:
        return axis_named("rows", name, declared) in known
    except ConfigError:
        return False


def _baseline(name: str, value: Any, declared: Declared) -> None:
    axis = axis_named("baseline", name, declared)
    known = values_of(axis, declared)
    if not any(same(value, other) for other in known):
        listed = ", ".join(spell(other) for other in known)
        raise ConfigError(f"table.baseline.{name}={spell(value)}: no run has it; {axis} takes {listed}")


def _metric(name: str, own: Mapping[str, str], better: str = "") -> None:
    found = asked(name, own)
    known = better if better in ("up", "down") else ""
    describe(name, set(), {name: found} if found else {}, known)


def _reference(entry: Any, declared: Declared, own: Mapping[str, str]) -> None:
    reference_items(entry, declared)
    if "metric" in entry:
        _metric(str(entry["metric"]), own)


def _published(entry: Any, declared: Declared, own: Mapping[str, str]) -> None:
    for _, metric, _ in published_items(entry, declared):
        if metric not in METRICS and asked(metric, own) is None:
            raise ConfigError(
                f"table.published: {metric} is neither an axis nor a metric; there are {', '.join(METRICS)}"
            )


def _seeds(options: TableConfig, seeds: int) -> None:
    if options.interval == "bootstrap" and seeds < BOOTSTRAP_FROM:
        raise ConfigError(
            f"table.interval=bootstrap: {seeds} seed{'s' * (seeds != 1)}, and a bootstrap of fewer than "
            f"{BOOTSTRAP_FROM} covers too little; table.interval=t"
        )
