"""From assignments to configs: one composition by Hydra, and what each choice and value changes in it.

Configs share the sections in which they are equal, so that what is worked out of a section is worked out
once. Nobody may change them.
"""

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from omegaconf import DictConfig, OmegaConf

from cbam_ablate.config.canonical import (
    OFF_THE_SHELF,
    RESOLVED,
    effective,
    own_code,
    resolved,
    run_key,
    with_stem,
)
from cbam_ablate.config.compose import Loader, compose, to_run_config, typed
from cbam_ablate.config.layers import Layers, Unlayered
from cbam_ablate.config.once import Memo
from cbam_ablate.config.options import GROUP_OF, coerce, difference, dotted_names, holder_of, spell
from cbam_ablate.config.overrides import Token
from cbam_ablate.config.rules import violations
from cbam_ablate.config.schema import RunConfig
from cbam_ablate.config.where import groups
from cbam_ablate.errors import ConfigError, UserError
from cbam_ablate.sweep.asked import Cell
from cbam_ablate.sweep.declare import Assignment

Compose = Callable[[Assignment], RunConfig]
AUTOMATIC = "auto"
"""The choice of a group that leaves its option to the backbone, whose value the axis then has."""


def make_cells(
    composed: DictConfig,
    plain: RunConfig,
    fixed: Sequence[Token],
    assignments: Sequence[Assignment],
    axes: Sequence[str],
    loader: Loader,
    once: Memo,
) -> list[Cell]:
    """The cells of a sweep. Those that break a rule carry their violations instead of a key.

    `composed` is Hydra's composition of the `fixed` tokens, `plain` the same typed, automatic values as they
    are.
    """
    make = _composer(composed, plain, fixed, assignments, loader)
    cells = []
    for assignment in assignments:
        label = " ".join(f"{token.name}={token.value_text}" for token in assignment.values())
        try:
            cfg = make(assignment)
            broken = violations(cfg, once)
        except UserError as error:
            cells.append(Cell(label, {}, RunConfig(), "", [str(error)]))
            continue
        key = "" if broken else run_key(cfg, once)
        values = {} if broken else _axis_values(effective(cfg, once), assignment, axes)
        cells.append(Cell(label, values, cfg, key, broken))
    refuse_pooled(cells)
    return cells


def refuse_pooled(cells: Iterable[Cell]) -> None:
    """Raises `ConfigError` where the axes don't tell two runs apart: a table would take them for one."""
    first: dict[str, Cell] = {}
    for cell in cells:
        other = cell if cell.broken else first.setdefault(repr(cell.axes), cell)
        if other.key != cell.key and not cell.broken:
            raise ConfigError(
                f"{cell.label} is another run than {other.label}, and no axis of the sweep says in what: "
                f"{difference(effective(other.cfg), effective(cell.cfg))}"
            )


def _axis_values(known: Mapping[str, Any], assignment: Assignment, axes: Iterable[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in axes:
        token = assignment.get(name)
        chosen = "" if token is None or token.name != GROUP_OF.get(name) else token.value_text
        if name not in dotted_names() and holder_of(name) is None:
            found[name] = None if token is None else token.value_text
        elif name in known and chosen not in ("", AUTOMATIC, spell(known[name])):
            found[name] = chosen  # a file of one's own, called otherwise than what it chooses
        elif name in known and known[name] is None and name not in OFF_THE_SHELF:
            found[name] = "null"
        else:
            found[name] = known.get(name)
    return found


def _composer(
    composed: DictConfig,
    plain: RunConfig,
    fixed: Sequence[Token],
    assignments: Iterable[Assignment],
    loader: Loader,
) -> Compose:
    """Makes the config of an assignment, without Hydra where its layers allow it."""
    chosen: dict[str, dict[str, None]] = {}
    given: set[str] = set()
    ours = groups()
    tokens = {token: None for assignment in assignments for token in assignment.values()}
    for token in tokens:
        if token.name in ours:
            chosen.setdefault(token.name, {})[token.value_text] = None
        else:
            given.add(token.name)
    try:
        if _follows(composed, given, tokens):
            raise Unlayered
        layers = Layers(plain, fixed, loader, chosen, given) if chosen else None
    except Unlayered:
        return _by_hydra(fixed, loader, ours, given)
    return _by_layers(plain, layers, ours)


def _by_layers(base: RunConfig, layers: Layers | None, ours: set[str]) -> Compose:
    shared, changes = _Shared(base), dict[tuple[str, ...], dict[str, Any]]()
    values: dict[Token, Any] = {}

    def value_of(token: Token) -> Any:
        if token not in values:
            values[token] = coerce(token.name, token.values[0])
        return values[token]

    def make(assignment: Assignment) -> RunConfig:
        choice = {token.name: token.value_text for token in assignment.values() if token.name in ours}
        key = (*choice, *choice.values())
        if key not in changes:
            changes[key] = {} if layers is None else layers.values(choice)
        own = {token.name: value_of(token) for token in assignment.values() if token.name not in ours}
        return shared.changed({**changes[key], **own})

    return make


def _by_hydra(fixed: Sequence[Token], loader: Loader, ours: set[str], given: set[str]) -> Compose:
    """Hydra composes each combination of choices; values are set on what it gives."""
    templates: dict[tuple[str, ...], tuple[DictConfig, _Shared | None]] = {}

    def make(assignment: Assignment) -> RunConfig:
        choices = [token for token in assignment.values() if token.name in ours]
        values = {
            token.name: coerce(token.name, token.values[0])
            for token in assignment.values()
            if token.name not in ours
        }
        key = tuple(token.for_hydra for token in choices)
        if key not in templates:
            composed = compose([*fixed, *choices], loader)
            templates[key] = (
                composed,
                None if _follows(composed, given, assignment.values()) else _Shared(typed(composed)),
            )
        composed, shared = templates[key]
        if shared is not None:
            return shared.changed(values)
        composed = copy.deepcopy(composed)
        for name, value in values.items():
            OmegaConf.update(composed, name, value)
        return to_run_config(composed)

    return make


def _follows(composed: DictConfig, given: Iterable[str], tokens: Iterable[Token]) -> bool:
    """Whether OmegaConf has to set the `given` options: something refers to others, or is a free key."""
    own = OmegaConf.masked_copy(composed, [str(key) for key in composed if key != "hydra"])
    free = any(name not in dotted_names() and holder_of(name) is None for name in given)
    texts = [str(OmegaConf.to_container(own)), *(str(value) for token in tokens for value in token.values)]
    return free or any("${" in text for text in texts)


class _Shared:
    """Configs that differ from one in some options; sections with the same changes are one object."""

    def __init__(self, base: RunConfig) -> None:
        self._base = base
        self._resolved = resolved(base)
        self._model = RESOLVED["model"](base.model)
        self._stems: dict[tuple[int, int], tuple[Any, ...]] = {}
        self._made: dict[tuple[Any, ...], tuple[Any, dict[str, Any]]] = {}

    def changed(self, changes: Mapping[str, Any]) -> RunConfig:
        """A config with these options, by dotted name."""
        cfg = copy.copy(self._resolved)
        cfg.model = self._model
        sections: dict[str, dict[str, Any]] = {}
        for name, value in changes.items():
            section, dot, option = name.partition(".")
            if dot:
                sections.setdefault(section, {})[option] = value
            else:
                setattr(cfg, name, value)
        for section, options in sections.items():
            key = (section, *options, *map(id, options.values()))
            if key not in self._made:
                made = _with(getattr(self._base, section), options)
                if section in RESOLVED:
                    made = RESOLVED[section](made)
                self._made[key] = made, options  # kept, since their ids name them
            setattr(cfg, section, self._made[key][0])
        cfg.model = self._with_stem(cfg.model, cfg.data)
        cfg.code = own_code(cfg)
        return cfg

    def _with_stem(self, model: Any, data: Any) -> Any:
        key = id(model), id(data)
        if key not in self._stems:
            self._stems[key] = with_stem(model, data), model, data
        return self._stems[key][0]


def _with(section: Any, options: Mapping[str, Any]) -> Any:
    """A copy of a section with these options, by their names within it."""
    made = copy.copy(section)
    nested: dict[str, dict[str, Any]] = {}
    for name, value in options.items():
        head, dot, rest = name.partition(".")
        if dot:
            nested.setdefault(head, {})[rest] = value
        else:
            setattr(made, name, value)
    for head, inner in nested.items():
        held = getattr(section, head)
        setattr(made, head, {**held, **inner} if isinstance(held, dict) else _with(held, inner))
    return made
