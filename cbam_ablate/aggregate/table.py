"""From a study to its table: rows, statistics, comparisons and sentences."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from cbam_ablate.aggregate.advice import advise
from cbam_ablate.aggregate.caption import caption
from cbam_ablate.aggregate.classes import by_classes, class_options
from cbam_ablate.aggregate.compare import TASK, Contest, Family, Groups, difference, paired_differences
from cbam_ablate.aggregate.crossed import Crossed, single_pairs
from cbam_ablate.aggregate.declared import check_baseline, check_columns, check_values
from cbam_ablate.aggregate.effects import contrasts, effect
from cbam_ablate.aggregate.findings import find
from cbam_ablate.aggregate.layout import (
    Matrix,
    Setting,
    arrange,
    baselines,
    hashable,
    matrix,
    setting_text,
    settings_of,
)  # fmt: skip
from cbam_ablate.aggregate.means import marginals
from cbam_ablate.aggregate.measured import OWN, add_inference, add_metrics, own_metrics
from cbam_ablate.aggregate.metrics import METRICS, chosen_on_test, complete, default_costs, describe
from cbam_ablate.aggregate.model import Axis, Effect, Quantity, Row, Table, TableCell, tidy, tidy_pair
from cbam_ablate.aggregate.names import Names
from cbam_ablate.aggregate.notes import failures, left_out, mixtures, of_no_metric
from cbam_ablate.aggregate.options import (
    axes_of,
    axis_named,
    keep,
    matches,
    merge_options,
    ordered_values,
    read_options,
    split_axes,
)
from cbam_ablate.aggregate.records import Record, Study
from cbam_ablate.aggregate.references import read_published, read_references
from cbam_ablate.aggregate.statistics import Interval, bootstrap_interval, summarise, within
from cbam_ablate.config.options import spell
from cbam_ablate.config.output import BOOTSTRAP_FROM, TableConfig
from cbam_ablate.errors import ConfigError
from cbam_ablate.metrics.kept import Asked
from cbam_ablate.runs.provenance import is_foreign

PLACEMENT = "model.attention.placement"


def build_table(study: Study, values: Mapping[str, Any] | None = None, *, trained: bool = True) -> Table:
    """The study's table of whatever is done. `values` are options by name, over those the study declares.

    Of a study that isn't `trained` it may hold costs alone.
    Raises `ConfigError` for options that don't fit the study.
    """
    study = dataclasses.replace(study, warnings=[*study.warnings])
    own, values_here = own_metrics(study, values)
    options, odd = read_options(study.table, values_here)
    check_values(options)
    for name, value in options.baseline.items():
        if (name, value) not in (study.table.get("baseline") or {}).items():
            check_baseline(name, value, study)
    study.warnings += odd
    if options.by == "class":
        options = class_options(options)
        study, asked = by_classes(study, options)
    else:
        asked = add_metrics(study, options.metrics, own)
    order = ordered_values(study, options)
    settings = settings_of(study, keep(study, options), axes_of(study))
    down, across = split_axes(study, options, settings)
    shown_axes = [*down, *across]
    settings = arrange(settings, shown_axes, order)
    add_inference(study, settings, [*options.metrics, *(options.costs or ())])
    names = Names(options.labels, axes_of(study))
    if trained:
        check_columns(options)
    quantities = _quantities(study, options, names, asked, bool(across))
    shown = [quantity.name for quantity in quantities]
    wanted = _baseline(study, options, settings)
    base = baselines(settings, wanted)
    rows = [_row(study, setting, shown_axes, names, quantities, options) for setting in settings]
    for index in {index for index in base if index is not None}:
        rows[index].baseline = True
    results = _results(settings, quantities)
    crossed = Crossed(study, settings, options.interval, own)
    for index, row in enumerate(rows) if crossed.works else ():
        for quantity in (one for one in quantities if one.name in results):
            found = crossed.cell(index, quantity.name, row.cell(quantity.name).value)
            row.cell(quantity.name).interval = tidy_pair(within(found, quantity.unit))
    # How much a class differs from another says nothing of the networks.
    moving = [] if options.by == "class" else contrasts(settings, results, shown_axes, wanted)
    contest, moved = _compare(rows, quantities, results, base, moving, crossed)
    quiet = Crossed(study, settings, "images" if options.by is None else "", own)
    single = single_pairs(quiet, lambda row: setting_text(settings[row].axes, names), base)
    if options.references != study.table.get("references"):  # the table's own, for whichever rows they match
        settings = [dataclasses.replace(setting, other_network=False) for setting in settings]
    references, without_row = read_references(options.references, settings, study, shown)
    published, without_place = read_published(options.published, study, shown, across)
    measured = set().union(*(record.values for record in study.records.values()))
    notes = [
        *mixtures(study, settings, rows),
        *failures(settings, names),
        *left_out(settings, quantities),
        *of_no_metric(options, {*shown, *measured}, own),
        *without_row,
        *without_place,
        *single,
        *crossed.odd,
    ]
    table = Table(
        study=study.name,
        caption=caption(study, options, names, quantities, settings, shown_axes),
        row_axes=[_axis(name, names, settings, order) for name in down],
        column_axes=[_axis(name, names, settings, order) for name in across],
        quantities=quantities,
        rows=rows,
        effects=moved,
        references=references,
        published=published,
        means=marginals(rows, results, quantities, down, across, options.means),
        findings=find(rows, quantities, contest, moved, names),
        advice=advise(study, rows, quantities),
        notes=[],
        options={**dataclasses.asdict(options), **({OWN: own} if own else {})},
        told=merge_options({}, values or {}),
    )
    notes += [*study.warnings, *names.unused(study.axes, [*METRICS, *shown])]
    table.notes = list(dict.fromkeys(notes))
    return table


def _axis(name: str, names: Names, settings: list[Setting], order: dict[str, list[Any]]) -> Axis:
    ordered = arrange(settings, [name], order)
    values = {hashable(setting.axes[name]): setting.axes[name] for setting in ordered}
    return Axis(name=name, label=names.axis(name), values=list(values.values()))


def _quantities(
    study: Study, options: TableConfig, names: Names, asked: Mapping[str, Asked], pivoted: bool
) -> list[Quantity]:
    finished = [record for record in study.records.values() if record.finished]
    known = set().union(*(record.values for record in finished))
    costs = options.costs if options.costs is not None else default_costs(pivoted)
    found = []
    for name in dict.fromkeys([*options.metrics, *costs]):
        better = options.better.get(name, "")
        metric = describe(name, known, asked, better)
        if name not in METRICS and not metric.better:
            study.warnings.append(
                f"{name}: its better direction isn't known, so nothing in it is bold; "
                f"table.better.{name}=up or down says it."
            )
        if name in known and chosen_on_test(name):
            study.warnings.append(f"{name}: by its name, test data chose its epoch.")
        if metric.kind == "result" and finished and name not in {*known, *asked}:
            study.warnings.append(f"No run measured {name}.")
        if metric.unit == "%" and _fractions(name, finished):
            metric = metric._replace(unit="")
        label = names.metric(name, metric.label)
        found.append(
            Quantity(name=name, label=label, unit=metric.unit, better=metric.better, kind=metric.kind)
        )
    return found


def _fractions(name: str, finished: list[Record]) -> bool:
    """Whether an accuracy is of others' runs, who had it from 0 to 1."""
    values = [record.values[name] for record in finished if name in record.values]
    foreign = all(is_foreign(record.facts["rule"]) for record in finished)
    return foreign and bool(values) and max(values) <= 1


def _baseline(study: Study, options: TableConfig, settings: list[Setting]) -> dict[str, Any]:
    """The swept axes' values in the baseline; empty where there is none."""
    if not options.baseline:
        none = any(setting.axes.get(PLACEMENT) == "none" for setting in settings)
        return {PLACEMENT: "none"} if none and len(settings) > 1 else {}
    declared = {axis_named("baseline", name, study): value for name, value in options.baseline.items()}
    wanted = {name: value for name, value in declared.items() if name in settings[0].axes}
    fixed = {name: value for name, value in declared.items() if name not in wanted}
    there = matches({}, fixed, study) and any(index is not None for index in baselines(settings, wanted))
    if not there and len(settings) > 1:
        listed = ", ".join(f"{name} {spell(value)}" for name, value in options.baseline.items())
        study.warnings.append(
            f"No row, or no single one, is the baseline ({listed}): no differences are shown."
        )
    return wanted if there else {}


def _row(
    study: Study,
    setting: Setting,
    axes: list[str],
    names: Names,
    quantities: list[Quantity],
    options: TableConfig,
) -> Row:
    return Row(
        axes={name: setting.axes[name] for name in axes},
        labels={name: names.value(name, setting.axes[name]) for name in axes},
        n=setting.n,
        expected=len(setting.by_seed),
        missing=setting.missing(),
        run_keys=[record.key for record in setting.records],
        cells={quantity.name: _cell(study, setting, quantity, options) for quantity in quantities},
    )


def _cell(study: Study, setting: Setting, quantity: Quantity, options: TableConfig) -> TableCell:
    metric = quantity.name
    values = list(setting.values(metric).values())
    found = summarise(values)
    keys = [record.key for record in setting.records if metric in record.values]
    value = found.mean
    if value is None and setting.records:
        # Parameters and MACs are known from the plan before anything is trained.
        value = complete(dict(study.costs.get(setting.records[0].key) or {})).get(metric)
    interval = found.interval
    if options.interval == "bootstrap" and quantity.kind == "result":
        interval = _bootstrapped(values, quantity)
    bounds = tidy_pair(within(interval, quantity.unit))
    return TableCell(value=tidy(value), n=found.n, sd=tidy(found.sd), interval=bounds, run_keys=keys)


def _bootstrapped(values: list[float], quantity: Quantity) -> Interval:
    if len(values) < BOOTSTRAP_FROM:
        raise ConfigError(
            f"table.interval=bootstrap: a row has {len(values)} seeds of {quantity.name} and a bootstrap of "
            f"fewer than {BOOTSTRAP_FROM} covers too little; table.interval=t"
        )
    if min(values) == max(values):
        return values[0], values[0]
    return bootstrap_interval(values, np.random.default_rng(0))


def _results(settings: list[Setting], quantities: list[Quantity]) -> dict[str, Matrix]:
    seeds = list(dict.fromkeys(seed for setting in settings for seed in setting.by_seed))
    return {
        quantity.name: matrix(settings, seeds, quantity.name)
        for quantity in quantities
        if quantity.kind == "result"
    }


def _competing(rows: list[Row]) -> Groups:
    """The rows that were given the same data, together: on other data another row may be the best."""
    found: dict[Any, list[int]] = {}
    for index, row in enumerate(rows):
        task = tuple(hashable(value) for name, value in row.axes.items() if name.startswith(TASK))
        found.setdefault(task, []).append(index)
    return list(found.values())


def _compare(
    rows: list[Row],
    quantities: list[Quantity],
    results: dict[str, Matrix],
    base: list[int | None],
    moved: list[tuple[str, Any, Any]],
    crossed: Crossed,
) -> tuple[Contest, list[Effect]]:
    """Marks cells that differ from their baseline and those that are best; gives what was found besides."""
    pairs = paired_differences(results, base)
    if crossed.works:
        pairs = {
            (name, row): crossed.pair(row, other, name, pair)
            for (name, row), pair in pairs.items()
            if (other := base[row]) is not None
        }
    family = Family([*(pair.p for pair in pairs.values()), *(pair.p for _, _, pair in moved)])
    effects = [effect(name, contrast, pair, family) for name, contrast, pair in moved]
    unit_of = {quantity.name: quantity.unit for quantity in quantities}
    for one in effects:
        most = 100.0 * len(one.axes)
        one.interval = within(one.interval, unit_of[one.quantity], -most, most)
    planned = set()
    for (name, index), pair in pairs.items():
        other = base[index]
        if other is None:
            continue
        cell = rows[index].cell(name)
        found = difference(pair, family, max(cell.n, rows[other].cell(name).n))
        found.interval = within(found.interval, unit_of[name], -100.0)
        cell.difference = found
        if found.significant:
            planned.add((name, index, other) if found.value > 0 else (name, other, index))
    open = {name for name, _, _ in planned} | {one.quantity for one in effects if one.significant}
    directed = {q.name: q.better for q in quantities if q.kind == "result" and q.better}
    contest = Contest({name: results[name] for name in directed}, _competing(rows), family, open, planned)
    for name, better in directed.items():
        contest.crown(name, [row.cell(name) for row in rows], better)
    return contest, effects
