"""Which options tell the runs of a source apart, which of them is the seed, and what is odd about both."""

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

from cbam_ablate.config.canonical import OFF_THE_SHELF
from cbam_ablate.errors import ConfigError
from cbam_ablate.sources.found import Found, count, listed

SEED = "seed"
SEEDS = ("seed", "random_seed", "rng_seed", "random_state", "manual_seed", "global_seed", "rng")
REPEATS = ("trial", "fold", "repeat", "replicate", "rep", "run")
"""Names that number repeats of a setting, where they don't number all runs through."""
NO_SEED = "null"
"""An absent seed, spelled."""


class Axes(NamedTuple):
    """The axes in order, the seed's name ("" for none) and sentences about what was found."""

    axes: list[str]
    seed: str
    notes: list[str]


def level(run: Found, name: str) -> Any:
    """An axis value as manifests have it: None where the axis has no effect, and a null as text.

    In sparse configs an option that isn't there has no effect; in others, having none is a value too.
    """
    value = run.config.get(name)
    if value is None:
        return None if run.sparse and (name not in run.config or name in OFF_THE_SHELF) else "null"
    return value


def find_axes(runs: Sequence[Found], named: Sequence[str] = (), seed: str = "") -> Axes:
    """The options that differ between runs, or those `named`, in order of appearance.

    An option that is different in every run, and without which runs are still told apart, numbers or names
    them: it is no axis unless named. Raises `ConfigError` for a name that no run has.
    """
    names = list(dict.fromkeys(name for run in runs for name in run.config))
    for option, name in [("axes", name) for name in named] + [("seed", seed)] * bool(seed):
        if name not in names:
            raise ConfigError(f"{option}={name}: no run has it; there are {listed(sorted(names), 40)}")
    taken = {name: [_spelled(level(run, name)) for run in runs] for name in names}
    seed = seed or _find_seed(names, taken, len(runs))
    varying = [name for name in names if name != seed and len(set(taken[name])) > 1]
    varying = [name for name in varying if not _only_absent(runs, name, taken, varying)]
    if named:
        axes = [name for name in dict.fromkeys(named) if name != seed]
        return Axes(axes, seed, _left_out(runs, varying, axes, seed, taken))
    axes = [name for name in varying if _candidate(runs, name)]
    unique = [name for name in axes if len(set(taken[name])) == len(runs) > 2]
    kept = [name for name in axes if name not in unique]
    rest = [*kept, seed] if seed else kept
    told_apart = bool(rest) and len(set(zip(*(taken[name] for name in rest), strict=True))) >= 0.8 * len(runs)
    numbering = [name for name in unique if kept and (told_apart or all(map(_is_text, taken[name])))]
    notes = []
    if numbering:
        axes = [name for name in axes if name not in numbering]
        several = len(numbering) > 1
        notes.append(
            f"{listed(numbering)} {'differ' if several else 'differs'} in every run and "
            f"{'are' if several else 'is'} taken for no axis; axes= names those that are."
        )
    return Axes(axes, seed, notes)


def _only_absent(runs: Sequence[Found], name: str, taken: dict[str, list[str]], varying: list[str]) -> bool:
    """Whether an option has one value and otherwise no effect, and goes with another axis in that."""
    there = [level(run, name) is not None for run in runs]
    if all(there) or len({text for text, has in zip(taken[name], there, strict=True) if has}) > 1:
        return False
    others = (other for other in varying if other != name)
    return any(len(set(zip(taken[other], there, strict=True))) == len(set(taken[other])) for other in others)


def _candidate(runs: Sequence[Found], name: str) -> bool:
    return any(run.candidates is None or name in run.candidates for run in runs)


def _spelled(value: Any) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if type(value) is int:
        return str(value)  # most of a large table's cells, ten times as fast
    return json.dumps(value, sort_keys=True, default=str)


def _find_seed(names: list[str], taken: dict[str, list[str]], total: int) -> str:
    """The option called like a seed: the shortest name first. Numbers of repeats must come again."""
    for known in SEEDS:
        found = sorted((name for name in names if _last(name) == known), key=len)
        if found:
            return found[0]
    for known in REPEATS:
        for name in names:
            if _last(name) == known and 1 < len(set(taken[name])) <= total / 2:
                return name
    return ""


def _last(name: str) -> str:
    return name.rpartition(".")[2].lower().replace("-", "_").replace(" ", "_")


def _is_text(spelled: str) -> bool:
    return spelled.startswith('"')


def _left_out(
    runs: Sequence[Found], varying: list[str], axes: list[str], seed: str, taken: dict[str, list[str]]
) -> list[str]:
    """A sentence where runs of one row differ in what isn't among the named axes."""
    groups: dict[tuple[str, ...], set[int]] = {}
    keys = list(zip(*(taken[name] for name in axes), strict=True)) or [()] * len(runs)
    for index, key in enumerate(keys):
        groups.setdefault(key, set()).add(index)
    inside = [
        name
        for name in varying
        if name not in axes
        and _candidate(runs, name)
        and len(set(taken[name])) < len(runs)
        and any(len({taken[name][index] for index in group}) > 1 for group in groups.values())
    ]
    if not inside:
        return []
    return [
        f"Runs of one row differ in {listed(inside)} too, which axes= leaves out: a row is over all of them."
    ]


def number_repeats(runs: Sequence[Found], layout: Axes) -> Axes:
    """Gives runs without a seed one: their number in their setting, where one has several."""
    if layout.seed:
        return layout
    seen: Counter[tuple[str, ...]] = Counter()
    numbers = []
    for run in runs:
        point = tuple(_spelled(level(run, name)) for name in layout.axes)
        numbers.append(seen[point])
        seen[point] += 1
    if max(seen.values(), default=0) < 2:
        return layout
    for run, repeat in zip(runs, numbers, strict=True):
        run.config = {**run.config, SEED: repeat}
    note = (
        "The runs have no seed: those of a setting are numbered as they stand, and differences are paired by "
        "that number; seed= names an option that pairs them."
    )
    return Axes(layout.axes, SEED, [*layout.notes, note])


def places(runs: Sequence[Found], layout: Axes) -> list[str]:
    """Sentences about seeds that a setting has twice or not at all."""
    if not layout.seed:
        return []
    settings: dict[tuple[str, ...], dict[str, list[Found]]] = {}
    for run in runs:
        point = tuple(_spelled(level(run, name)) for name in layout.axes)
        settings.setdefault(point, {}).setdefault(_spelled(level(run, layout.seed)), []).append(run)
    without = [run.address for run in runs if run.config.get(layout.seed) is None]
    notes = (
        [f"{layout.seed} is missing in {count(len(without), 'run')} ({listed(without, 3)})."]
        if without
        else []
    )
    return [*notes, *_twice(settings, layout), *_missing(settings, layout)]


def _twice(settings: dict[tuple[str, ...], dict[str, list[Found]]], layout: Axes) -> list[str]:
    twice = [
        (point, seed, same)
        for point, seeds in settings.items()
        for seed, same in seeds.items()
        if len(same) > 1
    ]
    if not twice:
        return []
    point, seed, same = twice[0]
    where = listed([run.address for run in same], 3)
    text = f"{_described(point, layout)} has {len(same)} runs of seed {seed} ({where})"
    more = f", and so do {count(len(twice) - 1, 'other place')}" if len(twice) > 1 else ""
    differing = sorted(
        {name for _, _, runs in twice for name in _differences(runs)} - {layout.seed, *layout.axes}
    )
    why = f"; they differ in {listed(differing)}" if differing else ", alike in all options"
    return [f"{text}{more}{why}: the mean of a seed's runs counts as one."]


def _differences(runs: list[Found]) -> list[str]:
    names = {name for run in runs for name in run.config}
    return [name for name in names if len({_spelled(run.config.get(name)) for run in runs}) > 1]


def _missing(settings: dict[tuple[str, ...], dict[str, list[Found]]], layout: Axes) -> list[str]:
    every = dict.fromkeys(seed for seeds in settings.values() for seed in seeds if seed != NO_SEED)
    gaps = [(point, [seed for seed in every if seed not in seeds]) for point, seeds in settings.items()]
    gaps = [(point, seeds) for point, seeds in gaps if seeds]
    shared = any(sum(seed in seeds for seeds in settings.values()) > 1 for seed in every)
    if not gaps or not shared or len(every) > 2 * max(len(seeds) for seeds in settings.values()):
        return []  # seeds that settings don't share are no gaps
    total = sum(len(seeds) for _, seeds in gaps)
    first = f"{_described(gaps[0][0], layout)} has no seed {listed(gaps[0][1], 3)}"
    return [f"{count(total, 'place')} of {len(settings) * len(every)} (setting by seed) "
            f"{'are' if total > 1 else 'is'} empty: {first}{' and so on' * (len(gaps) > 1)}."]  # fmt: skip


def _described(point: tuple[str, ...], layout: Axes) -> str:
    return (
        ", ".join(f"{name} {value.strip(chr(34))}" for name, value in zip(layout.axes, point, strict=True))
        or "The only setting"
    )
