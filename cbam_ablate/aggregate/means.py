"""Marginal means: over the rows for each column, and over the columns for each line."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from cbam_ablate.aggregate.layout import Matrix, hashable
from cbam_ablate.aggregate.model import Marginal, Quantity, Row, TableCell, tidy, tidy_pair
from cbam_ablate.aggregate.statistics import summarise, within


def marginals(
    rows: list[Row],
    results: dict[str, Matrix],
    quantities: list[Quantity],
    down: list[str],
    across: list[str],
    wanted: Sequence[str],
) -> list[Marginal]:
    """The means that `wanted` names, row or column, and where it names both that of all rows.

    `results` are (rows, seeds) by metric. A mean is taken in each seed that all its rows have, then over
    those seeds; costs have none.
    """
    found = []
    if "row" in wanted:
        found += [_marginal("rows", one, rows, results, quantities) for one in _alike(rows, across)]
    if "column" in wanted and across:
        found += [_marginal("columns", one, rows, results, quantities) for one in _alike(rows, down)]
    if "row" in wanted and "column" in wanted and across:
        found.append(_marginal("all", ({}, list(range(len(rows)))), rows, results, quantities))
    return found


def _alike(rows: list[Row], axes: list[str]) -> list[tuple[dict[str, Any], list[int]]]:
    """The rows that share their values of these axes."""
    found: dict[Any, tuple[dict[str, Any], list[int]]] = {}
    for index, row in enumerate(rows):
        shared = {name: row.axes[name] for name in axes}
        key = tuple(hashable(value) for value in shared.values())
        found.setdefault(key, (shared, []))[1].append(index)
    return list(found.values())


def _marginal(
    over: str,
    alike: tuple[dict[str, Any], list[int]],
    rows: list[Row],
    results: dict[str, Matrix],
    quantities: list[Quantity],
) -> Marginal:
    axes, indices = alike
    cells = {}
    for quantity in quantities:
        if quantity.kind != "result":
            continue
        values = results[quantity.name][indices]
        means = values[:, ~np.isnan(values).any(axis=0)].mean(axis=0).tolist()
        found = summarise(means)
        keys = [key for index in indices for key in rows[index].cell(quantity.name).run_keys]
        interval = within(found.interval, quantity.unit)
        cells[quantity.name] = TableCell(
            value=tidy(found.mean), n=found.n, sd=tidy(found.sd), interval=tidy_pair(interval), run_keys=keys
        )
    mixes = list(dict.fromkeys(fact for index in indices for fact in rows[index].mixes))
    return Marginal(over=over, axes=axes, cells=cells, mixes=mixes)
