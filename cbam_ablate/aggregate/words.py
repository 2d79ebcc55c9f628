"""What the table says in sentences: its caption, what it found, and what a reader must beware of."""

import shlex
from collections import Counter
from collections.abc import Iterable
from typing import Any

from cbam_ablate.aggregate.layout import Setting, hashable, said
from cbam_ablate.aggregate.model import Quantity, Row
from cbam_ablate.aggregate.names import Names
from cbam_ablate.aggregate.records import SEED, Record, Study
from cbam_ablate.config.canonical import from_dict, inert, leaves
from cbam_ablate.config.errors import ConfigError
from cbam_ablate.config.overrides import spell
from cbam_ablate.config.schema import RunConfig, TableConfig
from cbam_ablate.runs.provenance import FOREIGN_RULE

FACTS = {
    "code": "Code versions",
    "torch": "Versions of torch",
    "device": "Devices",
    "precision": "Precisions",
    "threads": "Numbers of CPU threads",
    "data": "Data hashes",
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
ALWAYS = (
    SEED, "model.backbone", "data.name", "train.epochs", "train.batch_size", "optimizer.name",
    "schedule.name",
)  # fmt: skip
"""Constants that a caption gives even at their defaults."""
MOST_LISTED = 6


def caption(
    study: Study, options: TableConfig, names: Names, quantities: list[Quantity], settings: list[Setting],
    shown: Iterable[str],
) -> list[str]:  # fmt: skip
    """The caption's sentences: what is shown, over how many seeds, how epochs were chosen, the constants."""
    results = [quantity for quantity in quantities if quantity.kind == "result"]
    listed = ", ".join(
        f"{quantity.label}{f' ({quantity.unit})' * bool(quantity.unit)}" for quantity in results
    )
    sentences = [options.caption.rstrip(".") if options.caption else f"Study {study.name}: {listed}"]
    finished = [record for setting in settings for record in setting.finished]
    counts = sorted({setting.n for setting in settings})
    n = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    if counts[-1] > 1:
        sentences.append(f"Mean ± standard deviation over seeds (ddof 1), n = {n}")
    else:
        sentences.append(f"n = {n}, which gives no spread")
    rules = {record.facts["rule"] for record in finished}
    if FOREIGN_RULE in rules:
        sentences.append("Values as in the runs' W&B summaries, which don't say how the epoch was chosen")
    if ours := sorted(rules - {FOREIGN_RULE}):
        sentences.append(f"Epoch chosen by {' or '.join(ours)}; the test set chooses nothing")
    fixed = constants(study, names, set(shown))
    if fixed:
        sentences.append(f"Constant: {', '.join(fixed)}")
    for name, wanted in options.filters.items():
        values = wanted if isinstance(wanted, list) else [wanted]
        sentences.append(f"Only {name} {', '.join(spell(value) for value in values)}")
    return sentences


def constants(study: Study, names: Names, shown: set[str]) -> list[str]:
    """`epochs 4`, ...: the options that all runs share, that matter, and aren't at the schema's default."""
    single = {name: values[0] for name, values in study.axes.items() if len(values) == 1}
    hidden = shown | _inert(study)
    known = {name: (field.metadata, value) for name, field, value in leaves(RunConfig())}
    found = []
    for name, value in {**study.constants, **single}.items():
        if name in hidden or value is None:
            continue
        rule, default = known.get(name, ({"identity": True, "off": None}, None))
        if rule["identity"] and (name in ALWAYS or value not in (default, rule["off"])):
            found.append(f"{names.axis(name)} {names.value(name, value)}")
    return found


def _inert(study: Study) -> set[str]:
    """Options without effect in any run, judged from one run for each value of each axis."""
    typical: dict[Any, str] = {}
    for place in study.places:
        for name, value in place.axes.items():
            if name != SEED:
                typical.setdefault((name, hashable(value)), place.key)
    keys = set(typical.values()) or {place.key for place in study.places[:1]}
    found: set[str] | None = None
    for key in sorted(keys):
        try:
            without = inert(from_dict(_nested(study.config(key))))
        except ValueError as error:
            study.warnings.append(f"The config of run {key} is not of this version: {error}.")
            return set()
        except (KeyError, TypeError):
            # An incomplete manifest doesn't say what is without effect.
            return set()
        found = without if found is None else found & without
    return found or set()


def _nested(flat: dict[str, Any]) -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for name, value in flat.items():
        *path, last = name.split(".")
        section = nested
        for part in path:
            section = section.setdefault(part, {})
        section[last] = value
    return nested


def mixtures(study: Study, settings: list[Setting], rows: list[Row]) -> list[str]:
    """Sentences about what differs between the table's runs though nobody swept it; marks the rows."""
    by_row = [setting.finished for setting in settings]
    finished = [record for runs in by_row for record in runs]
    sentences = []
    for fact, words in FACTS.items():
        counts = _count(fact, finished)
        swept = any(axis.startswith(SWEPT_BY.get(fact, "\0")) for axis in study.axes)
        for runs, row in zip(by_row, rows, strict=True) if len(counts) > 1 else ():
            if len(_count(fact, runs)) > 1:
                row.mixes.append(fact)
        mixed = [row for row in rows if fact in row.mixes]
        if len(counts) > 1 and (mixed or not swept):
            listed = ", ".join(
                f"{value} in {count} run{'s' * (count > 1)}"
                for value, count in counts.most_common(MOST_LISTED)
            )
            within = f"{len(mixed)} of {len(rows)} rows mix them (‡)" if mixed else "no row mixes them"
            sentences.append(f"{words} differ: {listed}; {within}.")
    return sentences


def _count(fact: str, records: Iterable[Record]) -> Counter[str]:
    return Counter(record.facts[fact] for record in records if fact in record.facts)


def failures(settings: list[Setting], names: Names) -> list[str]:
    """One sentence a row with missing runs: how many, why, and the first error."""
    sentences = []
    incomplete = [setting for setting in settings if setting.n < len(setting.by_seed)]
    for setting in incomplete[:MOST_LISTED]:
        why = ", ".join(f"{count} {word}" for word, count in setting.missing().items())
        errors = [record.error for record in setting.records if record.state == "failed" and record.error]
        first = f" (first error: {errors[0][:120]})" if errors else ""
        sentences.append(
            f"{said(setting.axes, names)}: {setting.n}/{len(setting.by_seed)} runs, {why}{first}."
        )
    if len(incomplete) > MOST_LISTED:
        sentences.append(f"{len(incomplete) - MOST_LISTED} more rows miss runs.")
    return sentences


def more_command(study: Study, extra: int) -> str | None:
    """The command that adds so many seeds to each row; None for runs that no `train` command of ours made.

    Raises `ConfigError` for fewer seeds than one.
    """
    if extra < 1:
        raise ConfigError(f"{extra} more seeds: at least one")
    if study.command[1:2] != ["train"]:
        return None
    have = study.axes.get(SEED) or [study.constants.get(SEED, 0)]
    seeds = list(have)
    candidate = 0
    while len(seeds) < len(have) + extra:
        if candidate not in have:
            seeds.append(candidate)
        candidate += 1
    words = ["cbam-ablate"]
    words += [word for word in study.command[1:] if not word.startswith(("seed=", "sweep."))]
    if SEED not in study.axes and not any(
        word.startswith("study=") or word in ("-m", "--multirun") for word in words
    ):
        words.insert(min(2, len(words)), "-m")
    return shlex.join([*words, f"seed={','.join(map(str, seeds))}", "sweep.extend=true"])
