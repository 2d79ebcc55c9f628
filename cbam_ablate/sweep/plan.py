"""The plan of a sweep: which cells there are, which runs serve them, what is done and what must run."""

import os
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from cbam_ablate.config.schema import RunConfig
from cbam_ablate.errors import UserError
from cbam_ablate.models import ModelCost, model_cost
from cbam_ablate.models.notes import notes_on, refuse_single_image
from cbam_ablate.runs import RunStore, State
from cbam_ablate.runs.provenance import by_other_code
from cbam_ablate.sweep.asked import Cell, Departure, Outline, called_for, network_in, refuse_broken
from cbam_ablate.sweep.estimate import Guess, guess_all
from cbam_ablate.sweep.other_code import done_with_other_code
from cbam_ablate.sweep.own_checks import refuse_own, refuse_same_places
from cbam_ablate.sweep.slots import Slot, make_slots
from cbam_ablate.sweep.start import check_parent
from cbam_ablate.training.device import pick_device


@dataclass
class Plan:
    """A checked sweep. `runs` are the distinct runs by key, in the order in which they are needed first.

    `by_other_code` counts those that finished with another version of this package, `with_other_parts` those
    that did so with other source of one's own parts, and so were other runs.
    `lanes` are the runs that the launcher trains at a time, `source` is the study's file, `notes` are what is
    worth a word of the networks.
    `callbacks` are Hydra's, as they were declared; `named` is a sweep that may grow under its name;
    `departed` is how it differs from a study that has published numbers.
    """

    study: str
    axes: list[str]
    cells: list[Cell]
    runs: dict[str, RunConfig]
    costs: dict[str, ModelCost]
    states: dict[str, State]
    base: RunConfig
    device: torch.device
    slots: list[Slot]
    lanes: int
    guesses: dict[str, Guess] = field(default_factory=dict)
    by_other_code: int = 0
    with_other_parts: int = 0
    source: Path | None = None
    notes: list[str] = field(default_factory=list)
    callbacks: dict[str, Any] = field(default_factory=dict)
    named: bool = False
    departed: Departure = field(default_factory=Departure)

    @property
    def store(self) -> RunStore:
        return RunStore(self.base.store)

    def refresh(self) -> None:
        """Reads again how every run stands."""
        self.states, self.by_other_code = {}, 0
        for key in self.runs:
            self.states[key], result = self.store.run(key).look()
            self.by_other_code += result is not None and by_other_code(result)
        done = {key for key, state in self.states.items() if state.name == "finished"}
        undone = {key: cfg for key, cfg in self.runs.items() if key not in done}
        self.with_other_parts = done_with_other_code(self.store, undone)

    def to_run(self) -> list[str]:
        """Keys of the runs that the sweep's mode calls for."""
        return called_for(self.base.sweep.mode, self.states)

    def set_aside(self) -> None:
        """Moves all the runs' folders out of the way, to be trained anew; nothing is deleted."""
        self.store.replace(self.study or next(iter(self.runs)), self.runs)

    def summary(self) -> str:
        """One line: `36 cells -> 30 distinct, 12 done, 18 to run`."""
        counts = Counter(state.name for state in self.states.values())
        other = f" ({self.by_other_code} by another version of this package)" if self.by_other_code else ""
        parts = [f"{len(self.runs)} distinct", f"{counts['finished']} done{other}"]
        if self.with_other_parts:
            parts.append(f"{self.with_other_parts} done with other code of your own parts")
        parts += [f"{counts[name]} {name}" for name in ("failed", "unusable", "running") if counts[name]]
        cells = f"{len(self.cells)} cell{'s' * (len(self.cells) != 1)}"
        return f"{cells} -> {', '.join(parts)}, {len(self.to_run())} to run{self._time()}"

    def hours(self) -> float | None:
        """How long what is to run will take, so many at a time; None where that isn't known."""
        keys = self.to_run()
        if not all(key in self.guesses for key in keys):
            return None
        seconds = [self.guesses[key].seconds for key in keys]
        return max(sum(seconds) / self.lanes, *seconds, 0.0) / 3600

    def _time(self) -> str:
        hours = self.hours()
        if hours is None:
            if self.base.sweep.probe:
                unknown = sum(key not in self.guesses for key in self.to_run())
                return f" on {self.device}; a step of {unknown} of them failed, so the time isn't known"
            return f" on {self.device}; sweep.probe=true estimates the time"
        if hours == 0:
            return ""
        sources = sorted({self.guesses[key].source for key in self.to_run()})
        return f", about {clock(3600 * hours)} on {self.device} (by {' and '.join(sources)})"


def clock(seconds: float) -> str:
    """Seconds as people say them."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def make_plan(texts: Sequence[str], sweep: bool = True) -> Plan:
    """Plans what a command line asks for, a single run without `sweep`; nothing is written or trained.

    Raises `ConfigError` listing every bad token, or every bad cell.
    """
    from cbam_ablate.sweep.outline import make_outline

    return plan_outline(make_outline(texts, sweep))


def plan_outline(asked: Outline) -> Plan:
    """The plan of what was asked for, a single run's too. Raises `ConfigError` for what can't be built."""
    refuse_own(asked)
    costs, notes = _size(asked.cells)
    device, launcher = asked.base.train.device, asked.composed.hydra.launcher
    slots = make_slots(device, launcher.get("jobs") or None) if asked.study else make_slots(device, 1)
    plan = Plan(
        study=asked.study,
        axes=asked.axes,
        cells=asked.cells,
        runs=asked.runs,
        costs=costs,
        states={},
        base=asked.base,
        device=pick_device(device),
        slots=slots,
        lanes=(_lanes(launcher) if asked.study else 1) or len(slots),
        source=asked.source,
        notes=[*asked.notes, *asked.ignored, *notes, *_absent_roots(asked.runs.values())],
        callbacks=asked.callbacks,
        named=asked.named,
        departed=asked.departed,
    )
    return _look(plan)


def _absent_roots(cfgs: Iterable[RunConfig]) -> list[str]:
    """A sentence for each `data.root` that isn't here: nothing of a plan looks for images in it."""
    roots = dict.fromkeys(cfg.data.root for cfg in cfgs if cfg.data.root is not None)
    return [
        f"data.root={root}: there is no such folder or file here"
        for root in roots
        if not os.path.exists(os.path.expanduser(root))
    ]


def _lanes(launcher: Mapping[str, Any]) -> int | None:
    """How many runs the launcher's parameters let it train at a time; None where they don't say."""
    jobs = launcher.get("n_jobs")
    if isinstance(jobs, int):
        return jobs if jobs > 0 else os.cpu_count()
    together = launcher.get("array_parallelism")
    return together if isinstance(together, int) and together > 0 else None


def _look(plan: Plan) -> Plan:
    """Adds what the store says: how the runs stand, and what they will cost."""
    for cfg in plan.runs.values():
        check_parent(cfg)
    plan.refresh()
    threads = plan.slots[0].threads if plan.base.sweep.probe else None
    plan.guesses = guess_all(plan.runs, plan.costs, plan.store, plan.device, threads)
    return plan


def _size(cells: Sequence[Cell]) -> tuple[dict[str, ModelCost], list[str]]:
    """Parameters and MACs of every run, each distinct network built once on the meta device, and what of it
    is worth a word: the weights that it starts from.
    """
    costs: dict[str, ModelCost] = {}
    notes: dict[str, None] = {}
    sized: dict[Hashable, ModelCost | str] = {}
    for cell in cells:
        network = network_in(cell.cfg), cell.cfg.train.batch_size == 1
        if network not in sized:
            try:
                sized[network] = model_cost(cell.cfg)
                refuse_single_image(cell.cfg)
                notes |= dict.fromkeys(notes_on(cell.cfg))
            except (RuntimeError, ValueError, UserError) as error:
                sized[network] = str(error).splitlines()[0]
        found = sized[network]
        if isinstance(found, str):
            cell.broken.append(f"this network can't be built: {found}")
        else:
            costs[cell.key] = found
    refuse_broken(cells)
    refuse_same_places(cells)
    return costs, list(notes)
