"""What a command line asks for: the cells and the runs that serve them, known before torch is imported."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence

from cbam_ablate.aggregate.declared import Declared, table_problems
from cbam_ablate.aggregate.ignored import ignored
from cbam_ablate.config.canonical import canonical_json, flatten, resolved, run_key
from cbam_ablate.config.compose import compose, file_of, make_loader, study_of, typed
from cbam_ablate.config.hydra_node import refuse_sweeping, refuse_unused
from cbam_ablate.config.once import Memo
from cbam_ablate.config.overrides import parse, verify
from cbam_ablate.config.own_rules import unread_options
from cbam_ablate.config.rules import check
from cbam_ablate.config.schema import RunConfig
from cbam_ablate.config.where import looking, searched
from cbam_ablate.errors import ConfigError
from cbam_ablate.sweep.asked import Cell, Departure, Outline, refuse_broken
from cbam_ablate.sweep.cells import make_cells
from cbam_ablate.sweep.declare import Declaration, declare, expand
from cbam_ablate.sweep.named import NAME, begun_without, keep_seeds, sweep_name
from cbam_ablate.sweep.of_study import departure
from cbam_ablate.sweep.other_code import whatever_code
from cbam_ablate.sweep.plugins import check_plugin


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
        return Outline(
            study="",
            axes=[],
            cells=[cell],
            runs={cell.key: base},
            base=base,
            tokens=tokens,
            composed=composed,
            loader=loader,
        )
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
        study=study,
        axes=declaration.axes,
        cells=cells,
        runs=runs,
        base=base,
        tokens=tokens,
        composed=composed,
        loader=loader,
        source=source,
        named=study == name,
        notes=notes,
        ignored=unused,
        departed=departed,
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
