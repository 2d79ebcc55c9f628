"""What a sweep declares: axes from the study and the command line, expanded to the assignments of its cells.

`params` is Hydra's grid. `grids` are several grids, each crossed with `params`, joined. The axes of a list in
`zip` advance together. With `around`, the axes it gives a baseline for vary one at a time, the others staying
at their baseline. `exclude` drops the combinations that match all of an entry.
"""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hydra.core.override_parser.types import Glob
from omegaconf import DictConfig, OmegaConf

from cbam_ablate.config.errors import ConfigError, UserError
from cbam_ablate.config.overrides import ALIASES, Word, parse, same, spell, verify

Assignment = dict[str, Word]
"""One word an axis, each with a single value."""


def axis_name(name: str) -> str:
    """The dotted name of an axis, whichever way it was spelled."""
    return ALIASES.get(name, name)


@dataclass
class Declaration:
    """Fixed words, and the axes in declared order as lists of one-valued words."""

    fixed: list[Word]
    grids: list[dict[str, list[Word]]]
    zipped: list[list[str]] = field(default_factory=list)
    around: dict[str, Any] = field(default_factory=dict)
    exclude: list[dict[str, list[Any]]] = field(default_factory=list)

    @property
    def axes(self) -> list[str]:
        """Names of all axes in declared order."""
        return list(dict.fromkeys(name for grid in self.grids for name in grid))


def declare(words: Sequence[Word], sweeper: DictConfig) -> Declaration:
    """Merges the command line's words over a study's sweeper node; axes of the same name are replaced."""
    node: Any = OmegaConf.to_container(sweeper, resolve=True)
    given = {axis_name(word.name): word for word in words}
    swept = {name: word for name, word in given.items() if word.override.is_sweep_override()}
    fixed = [word for word in words if not word.override.is_sweep_override()]
    params = _words(node.get("params"), "params")
    joined = [_words(grid, "grids") for grid in node.get("grids") or [{}]]
    grids = []
    for grid in joined:
        axes = {name: word for name, word in {**params, **grid}.items() if name not in given}
        own = {**dict.fromkeys([*params, *grid]), **swept}
        merged = {name: swept.get(name) or axes.get(name) for name in own}
        grids.append({name: _single(word) for name, word in merged.items() if word is not None})
    declaration = Declaration(
        fixed,
        grids,
        [[axis_name(name) for name in group] for group in node.get("zip") or []],
        {axis_name(name): value for name, value in (node.get("around") or {}).items()},
        [_matcher(entry) for entry in node.get("exclude") or []],
    )
    _check_names(declaration, given)
    return declaration


def _words(params: Any, where: str) -> dict[str, Word]:
    if params is not None and not isinstance(params, Mapping):
        raise ConfigError(f"hydra.sweeper.{where}: {params}: give axes and values, as in {{seed: '0,1'}}")
    spelled = [f"{name}={_spell(value)}" for name, value in (params or {}).items()]
    try:
        words = parse(spelled)
        verify(words, sweeping=True)
    except UserError as error:
        raise ConfigError(f"hydra.sweeper.{where}: {error}") from error
    return {axis_name(word.name): word for word in words}


def _spell(value: Any) -> str:
    """A YAML list is a list of values; its own lists are values."""
    if not isinstance(value, list):
        return "null" if value is None else str(value)
    return ",".join(
        f"[{','.join(map(str, item))}]" if isinstance(item, list) else _spell(item) for item in value
    )


def _single(word: Word) -> list[Word]:
    """One word for each value."""
    if not word.override.is_sweep_override():
        return [word]
    head = word.spelled.partition("=")[0]
    every = isinstance(word.override.value(), Glob)
    texts = [f"'{name}'" for name in word.values] if every else [*word.override.sweep_string_iterator()]
    if not texts:
        raise ConfigError(f"{word.said}: stands for no value")
    return [parse([f"{head}={text}"])[0] for text in texts]


def _matcher(entry: Any) -> dict[str, list[Any]]:
    if not isinstance(entry, Mapping):
        raise ConfigError(f"hydra.sweeper.exclude: {entry}: give axes and values, as in {{placement: none}}")
    return {axis_name(name): value if isinstance(value, list) else [value] for name, value in entry.items()}


def _check_names(declaration: Declaration, given: Mapping[str, Word]) -> None:
    axes = declaration.axes
    named = {"zip": itertools.chain(*declaration.zipped), "around": declaration.around}
    named["exclude"] = itertools.chain(*declaration.exclude)
    for where, names in named.items():
        for name in names:
            if name not in axes and name not in given:
                listed = ", ".join(axes) or "none"
                raise ConfigError(f"hydra.sweeper.{where}: {name} is not an axis of this sweep ({listed})")


def expand(declaration: Declaration) -> list[Assignment]:
    """The assignments of all cells, in declared order, each once."""
    found: dict[tuple[str, ...], Assignment] = {}
    for grid in declaration.grids:
        for combination in _combinations(declaration, grid):
            assignment = dict(combination)
            if not any(_matches(entry, assignment, declaration.fixed) for entry in declaration.exclude):
                said = tuple(f"{name}={value_text(word)}" for name, word in assignment.items())
                found.setdefault(said, assignment)
    return list(found.values())


def value_text(word: Word) -> str:
    return word.spelled.partition("=")[2].strip("'\"")


def _matches(entry: Mapping[str, list[Any]], assignment: Assignment, fixed: Iterable[Word]) -> bool:
    known = {**{axis_name(word.name): word for word in fixed}, **assignment}
    return all(
        name in known and any(same(known[name].values[0], value) for value in wanted)
        for name, wanted in entry.items()
    )


def _combinations(
    declaration: Declaration, grid: Mapping[str, list[Word]]
) -> Iterable[list[tuple[str, Word]]]:
    """Every combination of a grid as (axis, word) pairs in the axes' order."""
    units: list[list[list[tuple[str, Word]]]] = []
    taken: set[str] = set()
    factors = [name for name in grid if name in declaration.around]
    if factors:
        units.append(_one_at_a_time({name: grid[name] for name in factors}, declaration.around))
        taken.update(factors)
    for group in declaration.zipped:
        names = [name for name in group if name in grid]
        lengths = {len(grid[name]) for name in names}
        if len(lengths) > 1:
            sizes = ", ".join(f"{name} has {len(grid[name])}" for name in names)
            raise ConfigError(
                f"hydra.sweeper.zip: axes that advance together need equally many values; {sizes}"
            )
        rows = zip(*(grid[name] for name in names), strict=True)
        units.append([list(zip(names, row, strict=True)) for row in rows])
        taken.update(names)
    units += [[[(name, word)] for word in words] for name, words in grid.items() if name not in taken]
    order = {name: index for index, name in enumerate(grid)}
    units.sort(key=lambda unit: min(order[name] for name, _ in unit[0]) if unit else 0)
    for choice in itertools.product(*units):
        yield sorted(itertools.chain(*choice), key=lambda pair: order[pair[0]])


def _one_at_a_time(axes: Mapping[str, list[Word]], around: Mapping[str, Any]) -> list[list[tuple[str, Word]]]:
    base = {}
    for name, words in axes.items():
        at = [word for word in words if same(word.values[0], around[name])]
        head = words[0].spelled.partition("=")[0]
        base[name] = at[0] if at else parse([f"{head}={spell(around[name])}"])[0]
    rows = [list(base.items())]
    for name, words in axes.items():
        others = [word for word in words if not same(word.values[0], around[name])]
        rows += [list({**base, name: word}.items()) for word in others]
    return rows
