"""The caption's sentences: what is shown, over how many seeds, how epochs were chosen, the constants."""

from collections.abc import Iterable
from typing import Any

from omegaconf import MISSING

from cbam_ablate.aggregate.layout import Setting, hashable
from cbam_ablate.aggregate.model import Quantity
from cbam_ablate.aggregate.names import Names
from cbam_ablate.aggregate.records import NUMBERS, SEED, Study
from cbam_ablate.config.canonical import inert, leaves
from cbam_ablate.config.flat import from_flat
from cbam_ablate.config.options import spell
from cbam_ablate.config.output import TableConfig
from cbam_ablate.config.schema import RunConfig
from cbam_ablate.runs.provenance import FOREIGN_RULE, is_foreign

INTERVALS = {
    "images": "Intervals over test images: of these trained networks, not of other seeds",
    "both": "Intervals, and tests of differences to the baseline, over seeds and test images (crossed)",
}
SPREADS = {
    "sd": "Mean ± standard deviation over seeds (ddof 1)",
    "se": "Mean ± standard error over seeds",
    "ci": "Mean over seeds [95 % interval]",
}
ALWAYS = (
    SEED, "model.backbone", "data.name", "train.epochs", "train.batch_size", "optimizer.name",
    "schedule.name",
)  # fmt: skip
"""Constants that a caption gives even at their defaults."""
MOST_THEIRS = 8
"""Constants that a caption gives of others' runs, whose configs may hold hundreds."""


def caption(
    study: Study, options: TableConfig, names: Names, quantities: list[Quantity], settings: list[Setting],
    shown: Iterable[str],
) -> list[str]:  # fmt: skip
    """The caption's sentences: what is shown, over how many seeds, how epochs were chosen, the constants."""
    results = [quantity for quantity in quantities if quantity.kind == "result"]
    if options.caption_only and options.caption:
        return [options.caption.rstrip(".")]
    listed = ", ".join(quantity.title for quantity in results)
    sentences = [options.caption.rstrip(".") if options.caption else f"Study {study.name}: {listed}"]
    finished = [record for setting in settings for record in setting.finished]
    counts = sorted({setting.n for setting in settings})
    n = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    if counts[-1] > 1:
        sentences.append(f"{SPREADS[options.spread]}, n = {n}")
    else:
        sentences.append(f"n = {n}, which gives no spread")
    if options.interval in INTERVALS:
        sentences.append(INTERVALS[options.interval])
    rules = {record.facts["rule"] for record in finished}
    if FOREIGN_RULE in rules:
        sentences.append("Values as in the runs' W&B summaries, which don't say how the epoch was chosen")
    if theirs := sorted(rule for rule in rules - {FOREIGN_RULE} if is_foreign(rule)):
        sentences.append(f"Values {' or '.join(theirs)}; whether test data chose them isn't known")
    if ours := sorted(rule for rule in rules if not is_foreign(rule)):
        sentences.append(f"Epoch chosen by {' or '.join(ours)}; the test set chooses nothing")
    fixed = constants(study, names, set(shown))
    if fixed:
        more = f" and {len(fixed) - MOST_THEIRS} more" if theirs and len(fixed) > MOST_THEIRS else ""
        sentences.append(f"Constant: {', '.join(fixed[:MOST_THEIRS] if more else fixed)}{more}")
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
        if name == "code":
            found += [f"code of {part} {digest[:10]}" for part, digest in value.items()]
        elif name.endswith(".options") and isinstance(value, dict):
            found += [f"{names.axis(f'{name}.{own}')} {spell(one)}" for own, one in value.items()]
        elif rule["identity"] and (name in ALWAYS or value not in (default, rule["off"])):
            found.append(f"{names.axis(name)} {names.value(name, value)}")
    return found


def _inert(study: Study) -> set[str]:
    """Options without effect in any run, judged from one run for each value of each axis.

    Of numbers it matters only whether they are 0.
    """
    if any(is_foreign(record.facts.get("rule", "")) for record in study.records.values()):
        return set()
    typical: dict[Any, str] = {}
    for place in study.places:
        for name, value in place.axes.items():
            if name != SEED:
                kind = bool(value) if isinstance(value, NUMBERS) else hashable(value)
                typical.setdefault((name, kind), place.key)
    keys = set(typical.values()) or {place.key for place in study.places[:1]}
    found: set[str] | None = None
    for key in sorted(keys):
        try:
            cfg = from_flat(study.config(key))
            if any(value == MISSING for _, _, value in leaves(cfg)):
                # An incomplete manifest doesn't say what is without effect.
                return set()
            without = inert(cfg)
        except ValueError as error:
            if study.config(key).get("code"):
                continue  # a part of somebody's own that isn't here: the other runs tell
            study.warnings.append(f"The config of run {key} can't be read here: {error}.")
            return set()
        except (KeyError, TypeError):
            return set()
        found = without if found is None else found & without
    return found or set()
