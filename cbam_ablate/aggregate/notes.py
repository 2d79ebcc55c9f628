"""What a reader of the table must beware of: runs made in different ways, and runs that are missing."""

from collections import Counter
from collections.abc import Iterable, Mapping

from cbam_ablate.aggregate.layout import Setting, setting_text
from cbam_ablate.aggregate.metrics import METRICS
from cbam_ablate.aggregate.model import Quantity, Row
from cbam_ablate.aggregate.names import Names
from cbam_ablate.aggregate.records import THEN, Record, Study
from cbam_ablate.config.output import TableConfig
from cbam_ablate.metrics.kept import asked

FACTS = {
    "code": "Code versions",
    "torch": "Versions of torch",
    "device": "Devices",
    "precision": "Precisions",
    "threads": "Numbers of CPU threads",
    "data": "Data hashes",
    "accelerators": "Accelerators",
    "training": "Ways of training (fused runs share a step and its seconds)",
    "epochs": "Numbers of epochs",
    "rule": "Rules by which the epoch is chosen",
}
"""What the runs of a table should share, unless it was swept."""
SWEPT_BY = {
    "device": "train.device",
    "precision": "train.precision",
    "threads": "train.threads",
    "data": "data.",
    "epochs": "train.epochs",
}
MOST_LISTED = 6


def mixtures(study: Study, settings: list[Setting], rows: list[Row]) -> list[str]:
    """Sentences about what differs between the table's runs though nobody swept it; marks the rows."""
    by_row = [setting.finished for setting in settings]
    finished = [record for runs in by_row for record in runs]
    sentences = []
    for fact, name in FACTS.items():
        counts = _count(fact, finished)
        swept = any(axis.startswith(SWEPT_BY.get(fact, "\0")) for axis in study.axes)
        within = len(counts) > 1 or any(THEN in value for value in counts)
        for runs, row in zip(by_row, rows, strict=True) if within else ():
            if len(_count(fact, runs)) > 1 or any(THEN in run.facts.get(fact, "") for run in runs):
                row.mixes.append(fact)
        mixed = [row for row in rows if fact in row.mixes]
        if mixed or (len(counts) > 1 and not swept):
            listed = ", ".join(
                f"{value} in {count} run{'s' * (count > 1)}"
                for value, count in counts.most_common(MOST_LISTED)
            )
            marked = f"{len(mixed)} of {len(rows)} rows mix them (‡)" if mixed else "no row mixes them"
            sentences.append(f"{name} differ: {listed}; {marked}.")
    return sentences


def _count(fact: str, records: Iterable[Record]) -> Counter[str]:
    return Counter([record.facts[fact] for record in records if fact in record.facts])


def left_out(settings: list[Setting], quantities: list[Quantity]) -> list[str]:
    """One sentence for each result that some finished runs don't hold."""
    sentences = []
    for quantity in quantities:
        if quantity.kind != "result":
            continue
        runs = [record for setting in settings for record in setting.finished]
        keys = [record.key for record in runs if quantity.name not in record.values]
        if keys and len(keys) < len(runs):
            listed = ", ".join(keys[:MOST_LISTED]) + ", ..." * (len(keys) > MOST_LISTED)
            sentences.append(
                f"{len(keys)} finished run{'s' * (len(keys) > 1)} hold{'s' * (len(keys) == 1)} no number for "
                f"{quantity.name} and count{'s' * (len(keys) == 1)} in no mean of it: {listed}."
            )
    return sentences


def of_no_metric(options: TableConfig, measured: Iterable[str], own: Mapping[str, str]) -> list[str]:
    """One sentence for each name in `digits` and `better` that is no metric, and so changes nothing."""
    known = {*METRICS, *measured}
    digits = options.digits if isinstance(options.digits, dict) else {}
    return [
        f"table.{option}.{name}: there is no metric of that name."
        for option, names in (("digits", digits), ("better", options.better))
        for name in names
        if name not in known and asked(name, own) is None
    ]


def failures(settings: list[Setting], names: Names) -> list[str]:
    """One sentence a row with missing runs: how many, why, and the first error."""
    sentences = []
    incomplete = [setting for setting in settings if setting.n < len(setting.by_seed)]
    for setting in incomplete[:MOST_LISTED]:
        why = ", ".join(f"{count} {word}" for word, count in setting.missing().items())
        errors = [record.error for record in setting.records if record.state == "failed" and record.error]
        first = f" (first error: {errors[0][:120]})" if errors else ""
        sentences.append(
            f"{setting_text(setting.axes, names)}: {setting.n}/{len(setting.by_seed)} runs, {why}{first}."
        )
    if len(incomplete) > MOST_LISTED:
        sentences.append(f"{len(incomplete) - MOST_LISTED} more rows miss runs.")
    return sentences
