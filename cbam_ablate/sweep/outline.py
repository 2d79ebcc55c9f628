"""What a command line asks for: the cells and the runs that serve them, known before torch is imported."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cbam_ablate.aggregate.declared import Declared, table_problems
from cbam_ablate.config.canonical import canonical, flatten
from cbam_ablate.config.compose import compose_words, study_of, to_run_config
from cbam_ablate.config.overrides import parse, verify
from cbam_ablate.config.schema import RunConfig
from cbam_ablate.errors import ConfigError
from cbam_ablate.runs import RunStore, State
from cbam_ablate.sweep.cells import Cell, make_cells
from cbam_ablate.sweep.declare import declare, expand


@dataclass
class Outline:
    """A sweep whose options are checked. `launcher` are the launcher's parameters."""

    study: str
    axes: list[str]
    cells: list[Cell]
    runs: dict[str, RunConfig]
    base: RunConfig
    launcher: Mapping[str, Any]

    def unfinished(self) -> bool:
        """Whether there is anything to train."""
        sweep, store = self.base.sweep, RunStore(self.base.store)
        states = {key: store.run(key).state() for key in self.runs}
        return not sweep.dry_run and bool(called_for(sweep.mode, states))


def make_outline(words: Sequence[str]) -> Outline:
    """Raises `ConfigError` listing every bad word, or every bad cell."""
    parsed = parse(words)
    verify(parsed, sweeping=True)
    fixed = [word for word in parsed if not word.override.is_sweep_override()]
    composed = compose_words([word.spelled for word in fixed])
    ours = [word for word in parsed if not word.name.startswith("hydra")]
    declaration = declare(ours, composed.hydra.sweeper)
    assignments = expand(declaration)
    if not assignments:
        raise ConfigError("hydra.sweeper.exclude: leaves no cell to run")
    cells = make_cells([word.spelled for word in fixed], assignments, declaration.axes)
    refuse_broken(cells)
    base = to_run_config(composed)
    _refuse_table(base, declaration.axes, cells)
    runs = {cell.key: cell.cfg for cell in reversed(cells)}
    runs = {cell.key: runs[cell.key] for cell in cells}
    study = study_of(composed) or _name(declaration.axes, runs)
    return Outline(study, declaration.axes, cells, runs, base, composed.hydra.launcher)


def called_for(mode: str, states: Mapping[str, State]) -> list[str]:
    """Keys of the runs that a sweep's mode calls for."""
    if mode == "read_only":
        return []
    if mode == "force":
        return list(states)
    if mode == "retry":
        return [key for key, state in states.items() if state.name in ("failed", "unusable")]
    return [key for key, state in states.items() if state.name != "finished"]


def refuse_broken(cells: Sequence[Cell]) -> None:
    """Raises `ConfigError` where a cell can't run, with the reasons and their cells."""
    broken = [cell for cell in cells if cell.broken]
    if not broken:
        return
    reasons: dict[str, list[str]] = {}
    for cell in broken:
        for line in cell.broken:
            reasons.setdefault(line, []).append(cell.said or "the only cell")
    listed = [
        f"{line}\n    in {len(said)} cell{'s' * (len(said) > 1)}: {'; '.join(said[:4])}"
        + ("; ..." if len(said) > 4 else "")
        for line, said in reasons.items()
    ]
    raise ConfigError(
        f"{len(broken)} of {len(cells)} cells can't run, so nothing was started:\n" + "\n".join(listed)
    )


def _refuse_table(base: RunConfig, axes: Sequence[str], cells: Sequence[Cell]) -> None:
    """Raises `ConfigError` where the table that the study declares could not be made of these cells."""
    values = {name: {repr(cell.axes[name]): cell.axes[name] for cell in cells} for name in axes}
    swept = {name: [value for value in one.values() if value is not None] for name, one in values.items()}
    problems = table_problems(base.table, Declared(swept, flatten(base)), base.metrics.own)
    if problems:
        raise ConfigError("\n".join([*problems, "Nothing was started."]))


def _name(axes: Sequence[str], runs: dict[str, RunConfig]) -> str:
    """A study's name made from its axes and what they are crossed with."""
    what = json.dumps([list(axes), *(canonical(cfg) for cfg in runs.values())], sort_keys=True)
    last = [name.rpartition(".")[2] for name in axes] or ["single"]
    return "-".join([*last, hashlib.sha256(what.encode()).hexdigest()[:8]])
