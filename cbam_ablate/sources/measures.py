"""What a source measured: which of it a table shows, which direction is better, and what is odd about it."""

import math
import re
from collections.abc import Mapping, Sequence

from cbam_ablate.errors import ConfigError
from cbam_ablate.sources.found import Found, count, finite, listed, number

UP = (
    "acc", "accuracy", "top1", "top5", "top", "f1", "auc", "auroc", "map", "ap", "iou", "miou", "dice",
    "bleu", "rouge", "score", "psnr", "ssim", "recall", "precision", "r2", "reward", "return",
    "kappa", "mcc", "specificity", "sensitivity", "auprc", "ndcg", "mrr", "hit", "hits",
)  # fmt: skip
DOWN = (
    "loss", "error", "err", "ppl", "perplexity", "mse", "mae", "rmse", "nll", "fid", "wer", "cer", "ece",
    "brier", "bpc", "bpd", "distance", "regret", "nmse", "mape", "lpips", "kl",
)  # fmt: skip
SHARES = (
    "acc",
    "accuracy",
    "top1",
    "top5",
    "f1",
    "auc",
    "auroc",
    "error",
    "err",
    "iou",
    "miou",
    "dice",
    "recall",
)
"""Words of measures that people give both from 0 to 1 and in percent."""
COSTS = ("params", "macs", "train_seconds", "images_per_second", "peak_memory_mib")
PARTS = (("test",), ("val", "valid", "validation", "dev", "eval"), ())
"""Whose results a table shows, first those of test data."""


def words_of(name: str) -> list[str]:
    """The words of a metric's name: `valTop1Acc/epoch` is val, top1, acc, epoch."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name).lower()
    return [
        word for word in re.split(r"[^a-z0-9]+", spaced.replace("top-", "top").replace("top_", "top")) if word
    ]


def direction(name: str) -> str:
    """up or down by the words of a metric's name; empty where they don't say."""
    words = words_of(name)
    if any(word in DOWN for word in words):
        return "down"
    return "up" if any(word in UP for word in words) else ""


def choose_metrics(runs: Sequence[Found], named: Sequence[str]) -> tuple[list[str], list[str]]:
    """The metrics a table shows, and sentences. Raises `ConfigError` where a named one isn't there."""
    known: dict[str, int] = {}
    for run in runs:
        for name, value in run.values.items() if run.state == "finished" else ():
            if number(value) is not None and name not in COSTS:
                known[name] = known.get(name, 0) + 1
    if not known:
        return [], []
    for name in named:
        if name not in known:
            raise ConfigError(f"metric={name}: no run measured it; there are {listed(known, 40)}")
    if named:
        return list(dict.fromkeys(named)), []
    shown = _best_guess([name for name in known if known[name] >= 0.5 * max(known.values())])
    others = [name for name in known if name not in shown]
    if not others:
        return shown, []
    return shown, [f"Measured too: {listed(others, 12)}; metric= says which are shown."]


def _best_guess(names: list[str]) -> list[str]:
    """One of the test set where there is such, an accuracy before a loss."""
    if "test_top1" in names:
        return ["test_top1"]
    for part in PARTS:
        mine = [name for name in names if not part or any(word in part for word in words_of(name))]
        for way in ("up", "down", ""):
            found = [name for name in mine if direction(name) == way]
            if found:
                return found[:1]
    return names[:1]


def directions(shown: Sequence[str], given: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """Which direction is better, as given or by name, and a sentence on what was taken from names."""
    for name, way in given.items():
        if way not in ("up", "down"):
            raise ConfigError(f"better={name}:{way}: not one of up, down")
    guessed = {name: direction(name) for name in shown if name not in given and direction(name)}
    found = {**guessed, **{name: way for name, way in given.items() if name in shown}}
    unused = [name for name in given if name not in shown]
    if unused:
        raise ConfigError(f"better={unused[0]}: not a metric of this table; it shows {listed(shown)}")
    if not guessed:
        return found, []
    ways = ", ".join(f"{name} {'higher' if way == 'up' else 'lower'}" for name, way in guessed.items())
    return found, [f"Better, by name: {ways}; better= says otherwise."]


def oddities(runs: Sequence[Found], shown: Sequence[str]) -> list[str]:
    """Sentences about values that are no numbers, missing, or on different scales."""
    found = []
    for name in dict.fromkeys([*shown, *(name for run in runs for name in run.values)]):
        found += _not_finite(runs, name)
    for name in shown:
        found += [*_absent(runs, name), *_scales(runs, name)]
    return found + _texts(runs)


def _not_finite(runs: Sequence[Found], name: str) -> list[str]:
    bad = [run for run in runs if number(run.values.get(name)) is not None and not finite(run.values[name])]
    if not bad:
        return []
    kinds = sorted({"NaN" if math.isnan(run.values[name]) else "infinite" for run in bad})
    return [f"{name} is {' or '.join(kinds)} in {_of(bad)}: in no mean, counted as missing."]


def _absent(runs: Sequence[Found], name: str) -> list[str]:
    absent = [run for run in runs if run.state == "finished" and run.values.get(name) is None]
    return [f"{name} is missing in {_of(absent)}."] if absent else []


def _scales(runs: Sequence[Found], name: str) -> list[str]:
    """A sentence where some runs have fractions and others percent."""
    if not any(word in SHARES for word in words_of(name)):
        return []
    low = [run for run in runs if finite(run.values.get(name)) and 0 < run.values[name] <= 1]
    high = [run for run in runs if finite(run.values.get(name)) and 1.5 < run.values[name] <= 100]
    if not low or not high:
        return []
    few, what = (low, "a fraction") if len(low) <= len(high) else (high, "a percentage")
    return [
        f"{name} looks like {what} in {_of(few)} and not in the other {len(low) + len(high) - len(few)}: "
        "the scales are mixed, and nothing is converted."
    ]


def _texts(runs: Sequence[Found]) -> list[str]:
    """A sentence a name where measured values are text."""
    texts: dict[str, list[Found]] = {}
    for run in runs:
        for name, value in run.values.items():
            if value is not None and number(value) is None:
                texts.setdefault(name, []).append(run)
    return [
        f"{name} is no number in {_of(those)} ({str(those[0].values[name])[:40]!r}): left out there."
        for name, those in texts.items()
    ]


def _of(runs: Sequence[Found]) -> str:
    return f"{count(len(runs), 'run')} ({listed([run.address for run in runs], 3)})"
