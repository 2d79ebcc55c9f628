"""Whether a table's declaration fits a sweep: asked before anything runs, and of options alone."""

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from cbam_ablate.aggregate.classes import class_options
from cbam_ablate.aggregate.metrics import COSTS, METRICS, describe
from cbam_ablate.aggregate.options import Swept, axis_named, matches, one_way, taken, values_of
from cbam_ablate.aggregate.records import SEED
from cbam_ablate.aggregate.references import published_items, reference_items, reference_of
from cbam_ablate.config.options import same, spell
from cbam_ablate.config.output import BOOTSTRAP_FROM, BOTH_FROM, TableConfig
from cbam_ablate.config.rules import wrong
from cbam_ablate.errors import ConfigError
from cbam_ablate.metrics.kept import asked

MOST_DIGITS = 12
MEANS = ("row", "column")


@dataclass
class Declared:
    """What a sweep will vary, by dotted name, and what all its runs will share.

    `cells` are its axis values, `replaced` the values that its study declares and the command replaces,
    `other_networks` the places of cells whose network isn't one of the study's.
    """

    axes: Mapping[str, list[Any]]
    constants: Mapping[str, Any]
    cells: Sequence[Mapping[str, Any]] = ()
    replaced: Mapping[str, list[Any]] = field(default_factory=dict)
    other_networks: frozenset[int] = frozenset()


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
        yield partial(check_baseline, name, value, declared)
    for name in options.digits if isinstance(options.digits, dict) else ():
        yield partial(_digits_of, name, options.metrics, own)
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


def check_baseline(name: str, value: Any, declared: Swept) -> None:
    """Raises `ConfigError` where no run has a baseline's value."""
    axis = axis_named("baseline", name, declared)
    known = values_of(axis, declared)
    if not any(same(value, other) for other in known):
        listed = ", ".join(spell(other) for other in known)
        raise ConfigError(f"table.baseline.{name}={spell(value)}: no run has it; {axis} takes {listed}")


def _metric(name: str, own: Mapping[str, str], better: str = "") -> None:
    found = asked(name, own)
    known = better if better in ("up", "down") else ""
    describe(name, set(), {name: found} if found else {}, known)


def _digits_of(name: str, shown: Sequence[str], own: Mapping[str, str]) -> None:
    if name not in (*METRICS, *shown) and asked(name, own) is None:
        listed = ", ".join(dict.fromkeys([*shown, *METRICS]))
        raise ConfigError(f"table.digits.{name}: there is no metric of that name; there are {listed}")


def _reference(entry: Any, declared: Declared, own: Mapping[str, str]) -> None:
    items = reference_items(entry, declared)
    if "metric" in entry:
        _metric(str(entry["metric"]), own)
    whole = reference_of(entry, declared)
    cells = [cell for cell in declared.cells if matches(cell, whole, declared)]
    for wanted, value in items:
        if cells and not any(matches(cell, wanted, declared) for cell in cells):
            _possible(entry["label"], wanted, value, declared)


def _possible(label: Any, wanted: Mapping[str, Any], number: Any, declared: Declared) -> None:
    """Raises `ConfigError` for a published number whose row the study, even whole, doesn't have."""
    for name, value in wanted.items():
        known = declared.axes.get(name, [])
        # Of what the command replaces, other grids may have had the value that it is without it.
        sure = known and value is not None and name not in declared.replaced
        if sure and not any(same(value, other) for other in known):
            listed = ", ".join(dict.fromkeys(spell(other) for other in known))
            raise ConfigError(
                f"table.references: {label}: {name}={spell(value)}: no run has it; it takes {listed}"
            )
    if all(name in declared.axes and name not in declared.replaced for name in wanted):
        place = ", ".join(f"{name} {spell(value)}" for name, value in wanted.items())
        raise ConfigError(f"table.references: {label}: no row for {place}, {number}")


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
    if options.interval == "both" and seeds < BOTH_FROM:
        raise ConfigError(
            f"table.interval=both: {seeds} seed{'s' * (seeds != 1)}, and an interval over seeds and test "
            f"images needs {BOTH_FROM}; table.interval=t"
        )
