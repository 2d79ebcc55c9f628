"""From a study to its table: rows, statistics, comparisons and words."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from cbam_ablate.aggregate.advice import advise
from cbam_ablate.aggregate.caption import caption
from cbam_ablate.aggregate.compare import TASK, Contest, Groups, differences
from cbam_ablate.aggregate.effects import effects
from cbam_ablate.aggregate.findings import find
from cbam_ablate.aggregate.layout import (
    Matrix,
    Setting,
    arrange,
    baselines,
    hashable,
    matrix,
    settings_of,
)  # fmt: skip
from cbam_ablate.aggregate.measured import OWN, add_metrics, own_metrics
from cbam_ablate.aggregate.metrics import COSTS, METRICS, complete, describe
from cbam_ablate.aggregate.model import Axis, Cell, Quantity, Row, Table, tidy, tidy_pair
from cbam_ablate.aggregate.names import Names
from cbam_ablate.aggregate.notes import failures, mixtures
from cbam_ablate.aggregate.options import (
    axes_of,
    axis_named,
    keep,
    matches,
    read_options,
    split_axes,
)
from cbam_ablate.aggregate.records import Record, Study
from cbam_ablate.aggregate.references import read_references
from cbam_ablate.aggregate.statistics import BOOTSTRAP_FROM, Interval, bootstrap_interval, summarise
from cbam_ablate.config.errors import ConfigError
from cbam_ablate.config.overrides import spell
from cbam_ablate.config.schema import TableConfig
from cbam_ablate.metrics.kept import Asked
from cbam_ablate.runs.provenance import FOREIGN_RULE

PLACEMENT = "model.attention.placement"
DEFAULT_COSTS = ["params", "macs", "train_seconds"]


def build_table(study: Study, values: Mapping[str, Any] | None = None) -> Table:
    """The study's table of whatever is done. `values` are options by name, over those the study declares.

    Raises `ConfigError` for options that don't fit the study.
    """
    study = dataclasses.replace(study, warnings=[*study.warnings])
    own, values = own_metrics(study, values)
    options = read_options(study, values)
    asked = add_metrics(study, options.metrics, own)
    swept = axes_of(study)
    settings = settings_of(study, keep(study, options), swept)
    down, across = split_axes(study, options, settings)
    settings = arrange(settings, [*down, *across], study.axes)
    names = Names(options.labels, swept)
    quantities = _quantities(study, options, names, asked, bool(across))
    wanted = _baseline(study, options, settings)
    base = baselines(settings, wanted)
    rows = [_row(study, setting, [*down, *across], names, quantities, options) for setting in settings]
    for index in set(base) - {None}:
        rows[index].baseline = True  # type: ignore[index]
    results = _results(settings, quantities)
    contest = _compare(rows, quantities, results, base, _competing(rows))
    moved = effects(settings, results, [*down, *across], wanted)
    shown = [quantity.name for quantity in quantities]
    published, odd = read_references(options.references, settings, study, shown)
    notes = [*mixtures(study, settings, rows), *failures(settings, names), *odd, *study.warnings]
    return Table(
        study=study.name,
        caption=caption(study, options, names, quantities, settings, [*down, *across]),
        row_axes=[_axis(name, names, settings, study) for name in down],
        column_axes=[_axis(name, names, settings, study) for name in across],
        quantities=quantities,
        rows=rows,
        effects=moved,
        references=published,
        findings=find(rows, quantities, contest, moved, names),
        advice=advise(study, rows, quantities),
        notes=list(dict.fromkeys(notes)),
        options={**dataclasses.asdict(options), **({OWN: own} if own else {})},
    )


def _axis(name: str, names: Names, settings: list[Setting], study: Study) -> Axis:
    ordered = arrange(settings, [name], study.axes)
    values = {hashable(setting.axes[name]): setting.axes[name] for setting in ordered}
    return Axis(name=name, label=names.axis(name), values=list(values.values()))


def _quantities(
    study: Study, options: TableConfig, names: Names, asked: Mapping[str, Asked], pivoted: bool
) -> list[Quantity]:
    finished = [record for record in study.records.values() if record.finished]
    known = {name for record in finished for name in record.values}
    costs = options.costs if options.costs is not None else ([] if pivoted else DEFAULT_COSTS)
    wrong = [name for name in costs if name not in COSTS]
    if wrong:
        raise ConfigError(f"table.costs={wrong[0]}: not one of {', '.join(COSTS)}")
    if all(name in COSTS for name in options.metrics):
        listed = ", ".join(name for name in METRICS if name not in COSTS)
        raise ConfigError(f"table.metrics=[{','.join(options.metrics)}]: at least one result of {listed}")
    found = []
    for name in dict.fromkeys([*options.metrics, *costs]):
        better = options.better.get(name, "")
        if better not in ("", "up", "down"):
            raise ConfigError(f"table.better.{name}={better}: not one of up, down")
        metric = describe(name, known, asked, better)
        if name not in METRICS and not metric.better:
            study.warnings.append(
                f"{name}: its better direction isn't known, so nothing in it is bold; "
                f"table.better.{name}=up or down says it."
            )
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
    foreign = all(record.facts["rule"] == FOREIGN_RULE for record in finished)
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


def _cell(study: Study, setting: Setting, quantity: Quantity, options: TableConfig) -> Cell:
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
    return Cell(value=tidy(value), n=found.n, sd=tidy(found.sd), interval=tidy_pair(interval), run_keys=keys)


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
    groups: Groups,
) -> Contest:
    found = differences(results, base)
    for (name, index), difference in found.items():
        rows[index].cell(name).difference = difference
    tested = [difference for difference in found.values() if difference.p is not None]
    directed = {q.name: q.better for q in quantities if q.kind == "result" and q.better}
    planned = {
        (name, index, other) if difference.value > 0 else (name, other, index)
        for (name, index), difference in found.items()
        if difference.significant and (other := base[index]) is not None
    }
    open = not tested or bool(planned)
    contest = Contest({name: results[name] for name in directed}, groups, len(tested), open, planned)
    for name, better in directed.items():
        contest.crown(name, [row.cell(name) for row in rows], better)
    return contest
