"""What a command asks for: its cells and the runs that serve them, known without Hydra, which composes it."""

import os
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from cbam_ablate.config.options import spell
from cbam_ablate.config.schema import RunConfig
from cbam_ablate.errors import ConfigError
from cbam_ablate.runs import RunStore, State

if TYPE_CHECKING:
    from cbam_ablate.config.compose import Loader
    from cbam_ablate.config.overrides import Token


@dataclass
class Cell:
    """One combination of axis values, and the run that serves it.

    `axes` are the values that take effect, None where an axis has none in this cell; a null is the text null.
    """

    label: str
    axes: dict[str, Any]
    cfg: RunConfig
    key: str
    broken: list[str]


@dataclass
class Departure:
    """Keys of runs whose `networks` the study doesn't declare, and in what data and `training` are others."""

    networks: list[str] = field(default_factory=list)
    training: str = ""

    @property
    def notes(self) -> list[str]:
        """A sentence for the table."""
        told = (
            "The published numbers are of data and training as the study declares them, which these are not"
        )
        return [f"{told}: {self.training}."] if self.training else []


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
    tokens: "list[Token]"
    composed: DictConfig
    loader: "Loader"
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

    @property
    def environment(self) -> dict[str, str]:
        """What `hydra.job.env_set` and `env_copy` give the jobs' environment. Raises `ConfigError`."""
        job = self.composed.hydra.job
        given: Any = OmegaConf.to_container(job.env_set, resolve=True)
        copied = {str(name): os.environ[str(name)] for name in job.env_copy if str(name) in os.environ}
        return {**copied, **dict(_texts(given))}

    def unfinished(self) -> bool:
        """Whether there is anything to train."""
        sweep, store = self.base.sweep, RunStore(self.base.store)
        states = {key: store.run(key).state() for key in self.runs}
        return not sweep.dry_run and bool(called_for(sweep.mode, states))


def _texts(given: dict[Any, Any]) -> Iterator[tuple[str, str]]:
    for name, value in given.items():
        if isinstance(value, dict | list) or value is None or "=" in str(name):
            raise ConfigError(f"hydra.job.env_set.{name}={spell(value)}: must be text, or a number")
        yield str(name), value if isinstance(value, str) else spell(value)


def called_for(mode: str, states: Mapping[str, State]) -> list[str]:
    """Keys of the runs that a sweep's mode calls for. That a run diverged is what came out, not undone."""
    if mode == "read_only":
        return []
    if mode == "force":
        return list(states)
    if mode == "retry":
        return [key for key, state in states.items() if state.name in ("failed", "unusable")]
    return [key for key, state in states.items() if state.name != "finished" and not state.diverged]


def network_in(cfg: RunConfig) -> Hashable:
    """The same for configs of one sweep that share the sections of their network and data."""
    return id(cfg.model), id(cfg.data), repr(cfg.code)


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
