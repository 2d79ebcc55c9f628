"""What a sweep declares: axes from the study and the command line, expanded to the assignments of its cells.

`params` is Hydra's grid. `grids` are several grids, each crossed with `params`, joined. The axes of a list in
`zip` advance together. With `around`, the axes it gives a baseline for vary one at a time, the others staying
at their baseline. `exclude` drops the combinations that match all of an entry.
"""

import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from omegaconf import DictConfig, OmegaConf

from cbam_ablate.config.options import ALIASES, coerce, dotted_names, long_name, same, spell
from cbam_ablate.config.overrides import Token, parse, single_values, verify
from cbam_ablate.errors import ConfigError, UserError

KINDS: dict[str, type] = {"params": dict, "grids": list, "zip": list, "around": dict, "exclude": list}
"""The options of `hydra.sweeper`, as `conf/hydra/sweeper/cbam_ablate.yaml` has them."""
REFERENCE = re.compile(r"\$\{[\w.]+\}")
"""An interpolation of an option; `${name:...}` is one that the cells don't change."""
Assignment = dict[str, Token]
"""A token of one value for each axis."""


def axis_name(name: str) -> str:
    """The dotted name of an axis, whichever way it was spelled."""
    return ALIASES.get(name, long_name(name))


@dataclass
class Declaration:
    """Fixed tokens, and the axes in declared order as lists of tokens of one value.

    `replaced` are the values that a study declares of axes which the command gives others, and of grids of
    which the command leaves nothing.
    """

    fixed: list[Token]
    grids: list[dict[str, list[Token]]]
    zipped: list[list[str]] = field(default_factory=list)
    around: dict[str, Any] = field(default_factory=dict)
    exclude: list[dict[str, list[Any]]] = field(default_factory=list)
    replaced: dict[str, list[Any]] = field(default_factory=dict)

    @property
    def axes(self) -> list[str]:
        """Names of all axes in declared order."""
        return list(dict.fromkeys(name for grid in self.grids for name in grid))


def declare(tokens: Sequence[Token], sweeper: DictConfig) -> Declaration:
    """Merges the command line's tokens over a study's sweeper node; axes of the same name are replaced."""
    node: Any = OmegaConf.to_container(sweeper, resolve=True)
    plain: Any = OmegaConf.to_container(sweeper, resolve=False)
    for name in ("params", "grids"):
        if type(plain.get(name)) is type(node.get(name)):
            node[name] = _unresolved(plain[name], node[name])
    for name, value in node.items():
        if name not in KINDS:
            raise ConfigError(f"hydra.sweeper.{name}: no such option; there are {', '.join(KINDS)}")
        if value is not None and not isinstance(value, KINDS[name]):
            raise ConfigError(f"hydra.sweeper.{name}={value}: must be a {KINDS[name].__name__}")
    given = {axis_name(token.name): token for token in tokens}
    swept = {name: token for name, token in given.items() if token.sweeps}
    fixed = [token for token in tokens if not token.sweeps]
    params = _tokens(node.get("params"), "params")
    joined = [_tokens(grid, "grids") for grid in node.get("grids") or [{}]]
    somewhere = {name for grid in joined for name in grid} - {*params}
    narrowed = list(_narrowed(joined, given))
    grids = []
    for grid, kept in narrowed:
        axes = {name: token for name, token in {**params, **grid}.items() if name not in given}
        # One that replaces an axis of some of the grids isn't an axis of the others.
        added = {name: token for name, token in swept.items() if name not in somewhere}
        own = {**dict.fromkeys([*params, *grid]), **added}
        merged = {name: swept.get(name) or axes.get(name) for name in own}
        chosen = {name: single_values(token) for name, token in merged.items() if token is not None}
        grids.append(chosen | {name: tokens for name, tokens in kept.items() if name in chosen})
    declaration = Declaration(
        fixed,
        grids,
        [_together(group) for group in node.get("zip") or []],
        {axis_name(name): value for name, value in (node.get("around") or {}).items()},
        [_matcher(entry) for entry in node.get("exclude") or []],
    )
    left = [grid for grid, _ in narrowed]
    for grid in [params, *joined]:
        gone = grid is not params and not any(grid is other for other in left)
        for name, token in ((name, token) for name, token in grid.items() if gone or name in given):
            declaration.replaced.setdefault(name, []).extend(one.values[0] for one in single_values(token))
    _check_names(declaration, given)
    _check_exclusions(declaration, [*joined, params, given])
    return declaration


def _narrowed(
    joined: Sequence[Mapping[str, Token]], given: Mapping[str, Token]
) -> Iterator[tuple[Mapping[str, Token], dict[str, list[Token]]]]:
    """The joined grids that are asked for, each with what it keeps of given axes in which the grids differ.

    What all grids have alike is replaced. Where they differ, the command picks from what each of them has, or
    it would make cells that none of them declares. Raises `ConfigError` for what none has.
    """
    values = [{name: single_values(grid[name]) for name in grid if name in given} for grid in joined]
    texts: dict[str, list[list[str]]] = {}
    for name, tokens in ((name, tokens) for every in values for name, tokens in every.items()):
        texts.setdefault(name, []).append([token.value_text for token in tokens])
    differing = [name for name, lists in texts.items() if any(one != lists[0] for one in lists)]
    wanted = {name: single_values(given[name]) for name in differing}
    left = []
    for grid, own in zip(joined, values, strict=True):
        kept = {
            name: [one for one in wanted[name] if any(_is(one, token.values[0]) for token in own[name])]
            for name in differing
            if name in own
        }
        if all(kept.values()):
            left.append((grid, kept))
    for name, tokens in wanted.items():
        found = [one for _, kept in left for one in kept.get(name, [])]
        missing = [one.value_text for one in tokens if one not in found]
        if missing:
            listed = "; ".join(",".join(every) for every in texts[name])
            raise ConfigError(
                f"{given[name].name}={','.join(missing)}: in none of the grids that the study joins, "
                f"which have {listed}; add a grid with it"
            )
    yield from left


def _unresolved(plain: Any, resolved: Any) -> Any:
    """Values as they are written where they refer to other options, which differ between cells."""
    if isinstance(plain, dict):
        return {name: _unresolved(value, resolved[name]) for name, value in plain.items()}
    if isinstance(plain, list):
        return [_unresolved(*pair) for pair in zip(plain, resolved, strict=True)]
    return plain if isinstance(plain, str) and REFERENCE.search(plain) else resolved


def _tokens(params: Any, where: str) -> dict[str, Token]:
    if params is not None and not isinstance(params, Mapping):
        raise ConfigError(f"hydra.sweeper.{where}: {params}: give axes and values, as in {{seed: '0,1'}}")
    texts = [f"{name}={_spell(value)}" for name, value in (params or {}).items()]
    try:
        tokens = parse(texts)
        verify(tokens, sweeping=True)
    except UserError as error:
        raise ConfigError(f"hydra.sweeper.{where}: {error}") from error
    return {axis_name(token.name): token for token in tokens}


def _spell(value: Any) -> str:
    """A YAML list is a list of values; its own lists are values."""
    if not isinstance(value, list):
        return "null" if value is None else str(value)
    return ",".join(
        f"[{','.join(map(str, item))}]" if isinstance(item, list) else _spell(item) for item in value
    )


def _together(group: Any) -> list[str]:
    if not isinstance(group, list) or not all(isinstance(name, str) for name in group):
        raise ConfigError(f"hydra.sweeper.zip: {group}: give lists of axes, as in [[depth, seed]]")
    return [axis_name(name) for name in group]


def _matcher(entry: Any) -> dict[str, list[Any]]:
    if not isinstance(entry, Mapping):
        raise ConfigError(f"hydra.sweeper.exclude: {entry}: give axes and values, as in {{placement: none}}")
    return {axis_name(name): value if isinstance(value, list) else [value] for name, value in entry.items()}


def _check_names(declaration: Declaration, given: Mapping[str, Token]) -> None:
    axes = declaration.axes
    named = {"zip": itertools.chain(*declaration.zipped), "around": declaration.around}
    named["exclude"] = itertools.chain(*declaration.exclude)
    for where, names in named.items():
        for name in names:
            if name not in axes and name not in given:
                listed = ", ".join(axes) or "none"
                raise ConfigError(f"hydra.sweeper.{where}: {name} is not an axis of this sweep ({listed})")


def _check_exclusions(declaration: Declaration, declared: Sequence[Mapping[str, Token]]) -> None:
    """Raises `ConfigError` for values that were never declared; those of a replaced axis may be gone."""
    for name, value in ((n, v) for entry in declaration.exclude for n, every in entry.items() for v in every):
        tokens = [one for grid in declared if name in grid for one in single_values(grid[name])]
        if not any(_is(token, value) for token in tokens):
            known = ", ".join(dict.fromkeys(token.value_text for token in tokens))
            raise ConfigError(
                f"hydra.sweeper.exclude: {name}={spell(value)} is in no cell, so it excludes none; "
                f"{name} takes {known}"
            )


def _is(token: Token, value: Any) -> bool:
    """Whether a token's value is this one, both as the schema types them: `off` is false."""
    found = token.values[0]
    if token.name in dotted_names() and "${" not in f"{value}{found}":
        try:
            found, value = coerce(token.name, found), coerce(token.name, value)
        except UserError:
            return False
    return same(found, value)


def expand(declaration: Declaration) -> list[Assignment]:
    """The assignments of all cells, in declared order, each once."""
    found: dict[tuple[tuple[str, str], ...], Assignment] = {}
    for grid in declaration.grids:
        for combination in _combinations(declaration, grid):
            assignment = dict(combination)
            if not any(_matches(entry, assignment, declaration.fixed) for entry in declaration.exclude):
                values = tuple((name, token.value_text) for name, token in assignment.items())
                found.setdefault(values, assignment)
    return list(found.values())


def _matches(entry: Mapping[str, list[Any]], assignment: Assignment, fixed: Iterable[Token]) -> bool:
    known = {**{axis_name(token.name): token for token in fixed}, **assignment}
    return all(
        name in known and any(_is(known[name], value) for value in wanted) for name, wanted in entry.items()
    )


def _combinations(
    declaration: Declaration, grid: Mapping[str, list[Token]]
) -> Iterable[list[tuple[str, Token]]]:
    """Every combination of a grid as (axis, token) pairs in the axes' order."""
    units: list[list[list[tuple[str, Token]]]] = []
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
    units += [[[(name, token)] for token in tokens] for name, tokens in grid.items() if name not in taken]
    order = {name: index for index, name in enumerate(grid)}
    units.sort(key=lambda unit: min(order[name] for name, _ in unit[0]) if unit else 0)
    for choice in itertools.product(*units):
        yield sorted(itertools.chain(*choice), key=lambda pair: order[pair[0]])


def _one_at_a_time(
    axes: Mapping[str, list[Token]], around: Mapping[str, Any]
) -> list[list[tuple[str, Token]]]:
    base = {}
    for name, tokens in axes.items():
        at = [token for token in tokens if same(token.values[0], around[name])]
        head = tokens[0].for_hydra.partition("=")[0]
        base[name] = at[0] if at else parse([f"{head}={spell(around[name])}"])[0]
    rows = [list(base.items())]
    for name, tokens in axes.items():
        others = [token for token in tokens if not same(token.values[0], around[name])]
        rows += [list({**base, name: token}.items()) for token in others]
    return rows
