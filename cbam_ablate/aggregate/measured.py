"""Metrics that a table asks for and runs have no number of yet: from the predictions that they kept."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cbam_ablate.aggregate.layout import Setting
from cbam_ablate.aggregate.metrics import METRICS
from cbam_ablate.aggregate.records import Study
from cbam_ablate.errors import ConfigError
from cbam_ablate.metrics.inference import COLUMNS, read_inference, shared_condition
from cbam_ablate.metrics.kept import Asked, RunMetrics, asked
from cbam_ablate.metrics.predictions import Refused
from cbam_ablate.runs import RunStore

OWN = "metrics.own"


def own_metrics(study: Study, values: Mapping[str, Any] | None) -> tuple[dict[str, str], dict[str, Any]]:
    """One's own metrics by name, of the study and of `values`, and the `values` that are left."""
    rest = dict(values or {})
    given = rest.pop(OWN, {})
    declared = study.constants.get(OWN) or {}
    for own in (declared, given):
        if not isinstance(own, Mapping):
            raise ConfigError(f"{OWN}={own}: must be a mapping of names, each to module:function")
    return {**declared, **given}, rest


def add_metrics(study: Study, names: Iterable[str], own: Mapping[str, str]) -> dict[str, Asked]:
    """Gives the finished records the values of those `names` that predictions have; returns these.

    What has no value becomes a warning: the run's other numbers stand.
    """
    metrics = {
        name: metric for name in names if name not in METRICS and (metric := asked(name, own)) is not None
    }
    if study.root is None:
        return metrics
    store, odd = RunStore(study.root), Counter[tuple[str, str]]()
    first: dict[tuple[str, str], str] = {}
    for record in study.records.values():
        missing = [metric for name, metric in metrics.items() if name not in record.values]
        if not record.finished or not missing:
            continue
        run = RunMetrics(store.run(record.key), study.keep)
        for metric in missing:
            notes: tuple[str, ...]
            try:
                value, notes = run.value(metric)
            except Refused as error:
                value, notes = None, (str(error),)
            if value is not None:
                record.values[metric.name] = value
            for note in notes:
                odd[metric.name, note] += 1
                first.setdefault((metric.name, note), record.key)
    study.warnings += [_warning(name, note, count, first[name, note]) for (name, note), count in odd.items()]
    return metrics


def add_inference(study: Study, settings: Sequence[Setting], names: Iterable[str]) -> None:
    """Gives finished records what `cbam-ablate measure` found, under the one condition most rows share.

    Which that is becomes a note, and so do the rows that were measured otherwise: they are left out, for
    times of different devices are never compared.
    """
    wanted = [name for name in dict.fromkeys(names) if name in COLUMNS]
    if not wanted or study.root is None:
        return
    store = RunStore(study.root)
    rows = [
        {record.key: read_inference(store.run(record.key)) for record in setting.finished}
        for setting in settings
    ]
    chosen = shared_condition([c for found in row.values() for c in found] for row in rows)
    if chosen is None:
        study.warnings.append(
            f"{', '.join(wanted)}: not measured yet; cbam-ablate measure study={study.name} measures it."
        )
        return
    lacking = sum(not any(chosen in found for found in row.values()) for row in rows)
    for row in rows:
        for key, found in row.items():
            values = study.records[key].values
            for name in wanted:
                values.pop(name, None)
                if name in found.get(chosen, {}):
                    values[name] = found[chosen][name]
    left = f" {lacking} of {len(rows)} rows weren't measured so, and are left out." if lacking else ""
    study.warnings.append(f"Inference, median of calls: {chosen}.{left}")


def _warning(name: str, note: str, count: int, key: str) -> str:
    runs = f"run {key}" if count == 1 else f"{count} runs, {key} the first"
    hint = "; cbam-ablate evaluate study=NAME fills them in" if note == "no predictions were kept" else ""
    return f"{name}: {note} ({runs}){hint}."
