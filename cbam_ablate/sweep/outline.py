"""What a command line asks for: the cells and the runs that serve them, known before torch is imported."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra.core.config_loader import ConfigLoader
from omegaconf import DictConfig, OmegaConf

from cbam_ablate.aggregate.declared import Declared, table_problems
from cbam_ablate.aggregate.ignored import ignored
from cbam_ablate.config.canonical import canonical_json, flatten, resolved, run_key
from cbam_ablate.config.compose import compose, file_of, make_loader, study_of, typed
from cbam_ablate.config.hydra_node import refuse_sweeping, refuse_unused
from cbam_ablate.config.once import Memo
from cbam_ablate.config.overrides import Token, parse, verify
from cbam_ablate.config.own_rules import unread_options
from cbam_ablate.config.rules import check
from cbam_ablate.config.schema import RunConfig
from cbam_ablate.config.where import looking, searched
from cbam_ablate.errors import ConfigError
from cbam_ablate.runs import RunStore, State
from cbam_ablate.sweep.cells import Cell, make_cells
from cbam_ablate.sweep.declare import Declaration, declare, expand
from cbam_ablate.sweep.named import NAME, begun_without, keep_seeds, sweep_name
from cbam_ablate.sweep.of_study import Departure, departure
from cbam_ablate.sweep.other_code import whatever_code
from cbam_ablate.sweep.plugins import check_plugin


@dataclass
class Outline:
    """What a command asks for, its options checked.

    `study` and `axes` are empty for a single run. `composed` is Hydra's one composition for the command, by
    `loader`, of the tokens that stand for one value; `source` is the study's file. `named` is a sweep that
    the command gave a name, which grows; `notes` are what is worth a word of it, `ignored` what its table's
    options change nothing in, `departed` is how it differs from a study with published numbers.
    """

    study: str
    axes: list[str]
    cells: list[Cell]
    runs: dict[str, RunConfig]
    base: RunConfig
    tokens: list[Token]
    composed: DictConfig
    loader: ConfigLoader
    source: Path | None = None
    named: bool = False
    notes: list[str] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)
    departed: Departure = field(default_factory=Departure)

    @property
    def callbacks(self) -> dict[str, Any]:
        """The declarations of Hydra's callbacks, by name."""
        declared: Any = OmegaConf.to_container(self.composed.hydra.callbacks, resolve=True)
        return dict(declared or {})

    def unfinished(self) -> bool:
        """Whether there is anything to train."""
        sweep, store = self.base.sweep, RunStore(self.base.store)
        states = {key: store.run(key).state() for key in self.runs}
        return not sweep.dry_run and bool(called_for(sweep.mode, states))


def make_outline(texts: Iterable[str], sweep: bool = True) -> Outline:
    """Reads the tokens of a command line; without `sweep` they ask for a single run.

    Raises `ConfigError` listing every bad token, or every bad cell.
    """
    texts = list(texts)
    with looking(more=searched(texts)):
        return _outline(texts, sweep)


def _outline(texts: Sequence[str], sweep: bool) -> Outline:
    tokens = parse(texts)
    verify(tokens, sweeping=sweep)
    loader, once = make_loader(), Memo()
    name = sweep_name(tokens) if sweep else None
    fixed = [token for token in tokens if not token.sweeps and not (sweep and token.name == NAME)]
    composed = compose(fixed, loader)
    plain = typed(composed)
    base = resolved(plain)
    refuse_unused(composed.hydra)
    if not sweep:
        refuse_sweeping(composed.hydra)
        cell = Cell("", {}, check(base), run_key(base), [])
        return Outline("", [], [cell], {cell.key: base}, base, tokens, composed, loader)
    check_plugin(composed.hydra)
    ours = [token for token in tokens if not token.name.startswith("hydra") and token.name != NAME]
    declaration = declare(ours, composed.hydra.sweeper)
    notes = [] if name is None else keep_seeds(declaration, base, name)
    assignments = expand(declaration)
    if not assignments:
        raise ConfigError("hydra.sweeper.exclude: leaves no cell to run")
    cells = make_cells(composed, plain, fixed, assignments, declaration.axes, loader, once)
    refuse_broken(cells)
    unread = unread_options(cell.cfg for cell in cells)
    if unread:
        raise ConfigError("\n".join([*unread, "Nothing was started."]))
    declared = study_of(composed)
    given = any(token.name == "table.references" for token in tokens)
    compared = declared and base.table.references and not given
    departed = departure(cells, tokens, loader, once) if compared else Departure()
    unused = [*_check_table(base, declaration, cells, departed.networks), *departed.notes]
    runs: dict[str, RunConfig] = {}
    for cell in cells:
        runs.setdefault(cell.key, cell.cfg)
    study = declared or _name(declaration.axes, runs, once)
    if name is not None and not begun_without(base, study, name):
        study = name
    source = None if declared is None else file_of(loader, f"study/{declared}")
    return Outline(
        study,
        declaration.axes,
        cells,
        runs,
        base,
        tokens,
        composed,
        loader,
        source,
        study == name,
        notes,
        unused,
        departed,
    )


def called_for(mode: str, states: Mapping[str, State]) -> list[str]:
    """Keys of the runs that a sweep's mode calls for. That a run diverged is what came out, not undone."""
    if mode == "read_only":
        return []
    if mode == "force":
        return list(states)
    if mode == "retry":
        return [key for key, state in states.items() if state.name in ("failed", "unusable")]
    return [key for key, state in states.items() if state.name != "finished" and not state.diverged]


def refuse_broken(cells: Sequence[Cell]) -> None:
    """Raises `ConfigError` where a cell can't run, with the reasons and their cells."""
    broken = [cell for cell in cells if cell.broken]
    if not broken:
        return
    reasons: dict[str, list[str]] = {}
    for cell in broken:
        for line in cell.broken:
            reasons.setdefault(line, []).append(cell.label or "the only cell")
    listed = [
        f"{line}\n    in {len(labels)} cell{'s' * (len(labels) > 1)}: {'; '.join(labels[:4])}"
        + ("; ..." if len(labels) > 4 else "")
        for line, labels in reasons.items()
    ]
    raise ConfigError(
        f"{len(broken)} of {len(cells)} cells can't run, so nothing was started:\n" + "\n".join(listed)
    )


def _check_table(
    base: RunConfig, declaration: Declaration, cells: Sequence[Cell], others: Sequence[str]
) -> list[str]:
    """What of the study's table changes nothing. Raises `ConfigError` where none can be made of the cells."""
    values = {name: {repr(cell.axes[name]): cell.axes[name] for cell in cells} for name in declaration.axes}
    swept = {name: [value for value in one.values() if value is not None] for name, one in values.items()}
    keys = set(others)
    elsewhere = frozenset(index for index, cell in enumerate(cells) if cell.key in keys)
    every = [cell.axes for cell in cells]
    declared = Declared(swept, flatten(base), every, declaration.replaced, elsewhere)
    problems = table_problems(base.table, declared, base.metrics.own)
    if problems:
        raise ConfigError("\n".join([*problems, "Nothing was started."]))
    return ignored(base.table, declared, base.metrics.own)


def _name(axes: Sequence[str], runs: Mapping[str, RunConfig], once: Memo) -> str:
    """A study's name made from its axes and what they are crossed with."""
    parts = [json.dumps(list(axes)), *(canonical_json(whatever_code(cfg), once) for cfg in runs.values())]
    digest = hashlib.sha256(f"[{', '.join(parts)}]".encode()).hexdigest()[:8]
    last = [name.rpartition(".")[2] for name in axes] or ["single"]
    return "-".join([*last, digest])
