"""Rows of a table, one a run or one a measured value, as runs."""

import math
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

from cbam_ablate.errors import ConfigError
from cbam_ablate.sources.axes import REPEATS, SEEDS
from cbam_ablate.sources.found import Found, Wanted, listed, number, plain
from cbam_ablate.sources.measures import COSTS, direction

Row = dict[str, Any]
SEED_COLUMN = re.compile(
    r"(?:(?P<metric>.+?)[ _./-]?)?\bseed[ _=-]?(?P<seed>\d+)|(?P<first>.+?)_seed(?P<number>\d+)", re.I
)
NAMES = ("metric", "variable", "measure")
VALUES = ("value", "score", "result")
"""Columns of a long table: what was measured, and what came out."""


def runs_of(
    columns: Sequence[str], rows: Sequence[Row], wanted: Wanted, addresses: Sequence[str]
) -> tuple[list[Found], list[str]]:
    """The runs of a table, and sentences about it. `addresses` say where each row stands.

    Wide tables have a row a run, or a row a setting with a column a seed; long ones a row a value. Empty
    cells are not there. Raises `ConfigError` for columns that aren't there, or when none is measured.
    """
    if not rows:
        raise ConfigError("holds no rows")
    for option, names in (("axes", wanted.axes), ("rows or columns", wanted.shown), ("seed", wanted.seed)):
        for name in names:
            if name not in columns:
                raise ConfigError(f"{option}={name}: no such column; there are {listed(columns, 40)}")
    runs, notes = _read(columns, rows, wanted, addresses)
    options = set().union(*(run.config for run in runs))
    return runs, [*_mixed([name for name in columns if name in options], rows), *notes]


def _mixed(options: Sequence[str], rows: Sequence[Row]) -> list[str]:
    """A sentence for each option that is a number in some rows and text in others."""
    found = []
    for name in options:
        values = {row[name]: None for row in rows if isinstance(row.get(name), int | float | str)}
        texts = [repr(value) for value in values if isinstance(value, str)]
        if texts and any(number(value) is not None for value in values):
            found.append(f"{name} holds numbers and text ({listed(texts, 3)}).")
    return found


def _read(
    columns: Sequence[str], rows: Sequence[Row], wanted: Wanted, addresses: Sequence[str]
) -> tuple[list[Found], list[str]]:
    across = _seeds_across(columns, wanted)
    if across:
        return _unfold(columns, rows, wanted, addresses, across)
    pair = _long(columns, rows, wanted)
    if pair:
        return _gather(columns, rows, wanted, addresses, pair)
    measured, notes = _measured(columns, rows, wanted)
    named = {*measured, *COSTS}
    runs = []
    for index, row in enumerate(rows):
        config = {name: value for name, value in row.items() if name not in named and not _gap(value)}
        values = {name: row[name] for name in columns if name in named and row.get(name) is not None}
        runs.append(_run(index, addresses[index], config, values))
    return runs, notes


def _gap(option: Any) -> bool:
    return option is None or (isinstance(option, float) and math.isnan(option))


def _run(index: int, address: str, config: Row, values: Row) -> Found:
    run = Found(
        str(index), address, {name: plain(value) for name, value in config.items()}, values, sparse=True
    )
    numbers = [value for value in values.values() if number(value) is not None]
    if not numbers:
        run.state, run.failure, run.error = "failed", "no result", "no measured value in its row"
    elif all(map(math.isnan, numbers)):
        run.state, run.failure, run.error = "failed", "diverged", "every measured value is NaN"
    return run


def _measured(columns: Sequence[str], rows: Sequence[Row], wanted: Wanted) -> tuple[list[str], list[str]]:
    """The columns that hold results: those named, else numbers called like a metric, else fractions."""
    for name in wanted.metrics:
        if name not in columns:
            raise ConfigError(f"metric={name}: no such column; there are {listed(columns, 40)}")
    option = {
        *wanted.axes,
        *wanted.shown,
        *wanted.seed,
        *(name for name in columns if name.lower() in (*SEEDS, *REPEATS)),
    }
    free = [name for name in columns if name not in option and name not in COSTS]
    numeric = [name for name in free if _share_of_numbers(rows, name) > 0.5]
    called = [name for name in numeric if direction(name)]
    fractions = [name for name in numeric if name not in called and _all_apart(rows, name)]
    found = list(dict.fromkeys([*wanted.metrics, *called, *fractions]))
    if not found:
        raise ConfigError(f"which columns are measured? metric=NAME says it; there are {listed(columns, 40)}")
    unsaid = [name for name in fractions if name not in wanted.metrics]
    return found, [f"{listed(unsaid)}: taken as measured, axes= makes them options."] if unsaid else []


def _share_of_numbers(rows: Sequence[Row], name: str) -> float:
    values = [row[name] for row in rows if row.get(name) is not None]
    return sum(number(value) is not None for value in values) / len(values) if values else 0.0


def _all_apart(rows: Sequence[Row], name: str) -> bool:
    """Whether a column looks measured: broken numbers, nearly all different."""
    values = [value for row in rows if (value := number(row.get(name))) is not None]
    broken = [value for value in values if math.isfinite(value) and value != int(value)]
    return 2 * len(broken) > len(values) > 2 and len(set(values)) > 0.8 * len(values)


def _seeds_across(columns: Sequence[str], wanted: Wanted) -> dict[str, tuple[str, Any]]:
    """By column its metric and seed, where seeds stand side by side; empty where they don't."""
    metric = wanted.metrics[0] if wanted.metrics else "value"
    if len(wanted.seed) > 1:
        return {name: (metric, _seed_of(name)) for name in wanted.seed}
    found = {}
    for name in columns:
        match = SEED_COLUMN.fullmatch(name.strip())
        if match:
            prefix = match["metric"] or match["first"]
            found[name] = (
                prefix.rstrip(" _./-") if prefix else metric,
                int(match["seed"] or match["number"]),
            )
    return found if len(found) > 1 else {}


def _seed_of(name: str) -> Any:
    digits = re.findall(r"\d+", name)
    return int(digits[-1]) if len(digits) == 1 else name


def _unfold(
    columns: Sequence[str],
    rows: Sequence[Row],
    wanted: Wanted,
    addresses: Sequence[str],
    across: dict[str, tuple[str, Any]],
) -> tuple[list[Found], list[str]]:
    runs: list[Found] = []
    seeds = dict.fromkeys(seed for _, seed in across.values())
    for row, address in zip(rows, addresses, strict=True):
        options = {n: v for n, v in row.items() if n not in across and not _gap(v)}
        for seed in seeds:
            values = {m: row[n] for n, (m, own) in across.items() if own == seed and row.get(n) is not None}
            if values:
                runs.append(_run(len(runs), f"{address}, seed {seed}", {**options, "seed": seed}, values))
    if not runs:
        raise ConfigError(f"the columns of seeds ({listed(across)}) are empty")
    return runs, [f"Each row holds {len(seeds)} seeds side by side: {listed(across)}."]


def _long(columns: Sequence[str], rows: Sequence[Row], wanted: Wanted) -> tuple[str, str] | None:
    """The columns of names and of values in a long table; None for a wide one."""
    known = {name.lower(): name for name in columns}
    names = next((known[name] for name in NAMES if name in known), None)
    values = next((known[name] for name in VALUES if name in known), None)
    if (
        names is None
        or values is None
        or {names, values} & {*wanted.axes, *wanted.shown, *wanted.metrics, *wanted.seed}
    ):
        return None
    return (names, values) if all(isinstance(row.get(names), str) for row in rows) else None


def _gather(
    columns: Sequence[str],
    rows: Sequence[Row],
    wanted: Wanted,
    addresses: Sequence[str],
    pair: tuple[str, str],
) -> tuple[list[Found], list[str]]:
    """Rows alike in all but the metric are one run; a metric that comes again begins another."""
    names, values = pair
    options = [name for name in columns if name not in pair]
    seen: Counter[tuple[Any, ...]] = Counter()
    groups: dict[tuple[Any, ...], tuple[str, Row, Row]] = {}
    for row, address in zip(rows, addresses, strict=True):
        point = tuple(repr(row.get(name)) for name in options)
        turn = seen[(*point, row[names])]
        seen[(*point, row[names])] += 1
        config = {name: row[name] for name in options if not _gap(row.get(name))}
        _, _, measured = groups.setdefault((*point, turn), (address, config, {}))
        if row.get(values) is not None:
            measured[row[names]] = row[values]
    runs = [_run(i, address, config, found) for i, (address, config, found) in enumerate(groups.values())]
    return runs, [f"A row holds one value ({values}) of what {names} names."]
