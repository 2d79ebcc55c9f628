"""Running a plan: through any launcher, with retries, and an end that says what failed and what to do."""

import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cbam_ablate.data import prepare
from cbam_ablate.errors import ConfigError, StoreError, UserError
from cbam_ablate.loggers import close_sweep
from cbam_ablate.runs import State
from cbam_ablate.runs.claim import free_if_dead
from cbam_ablate.runs.files import owner_of, unwritable
from cbam_ablate.runs.results import DENIED
from cbam_ablate.sweep.manifest import freeze
from cbam_ablate.sweep.plan import Plan
from cbam_ablate.sweep.watch import watching

log = logging.getLogger(__name__)
Launch = Callable[[Path, list[str]], None]
"""Runs the jobs of a manifest with these keys, and returns when they have ended."""
WORTH_RETRYING = ("killed", "out_of_memory")
DIVERGED = 3
"""Exit code where all that is missing has diverged."""
UNDONE = ("interrupted", "new", "unusable")


@dataclass
class Outcome:
    """How a sweep ended. `unwritten` is why nothing was written, of a store that may only be read."""

    plan: Plan
    interrupted: bool = False
    left: bool = False
    unwritten: str = ""

    @property
    def missing(self) -> dict[str, State]:
        """The runs that are not finished."""
        return {key: state for key, state in self.plan.states.items() if state.name != "finished"}

    @property
    def exit_code(self) -> int:
        """0 only when all that was asked is done: every run, or their hand-over; 130 after Ctrl-C.

        3 where the same command can't do more: what is missing has diverged.
        """
        if self.interrupted:
            return 130
        if self.missing and all(state.diverged for state in self.missing.values()):
            return DIVERGED
        return int(bool(self.missing) and not self.left)


def run_plan(plan: Plan, launch: Launch, command: list[str], alone: bool = True) -> Outcome:
    """Runs what the plan's mode calls for. How each run ended is in the store and in the outcome.

    With `sweep.detach` it returns when `launch` has handed the runs over. `alone` retries what was killed or
    starved one at a time, for launchers whose jobs share a machine.
    """
    _refuse_too_long(plan)
    refuse_denied(plan)
    why = unwritable(plan.store.study(plan.study)) if plan.base.sweep.mode == "read_only" else None
    if why is not None:
        return Outcome(plan, unwritten=why)
    path = freeze(plan, command)
    path.with_name("stop").unlink(missing_ok=True)
    keys = plan.to_run()
    outcome = Outcome(plan)
    if not keys:
        return outcome
    wanted = [plan.runs[key] for key in keys]
    try:
        for cfg in {(cfg.data.name, cfg.data.root, cfg.data.cache): cfg for cfg in wanted}.values():
            prepare(cfg)
        if plan.base.sweep.mode == "force":
            plan.set_aside()
        log.info("study %s: %s", plan.study, plan.summary())
        if plan.base.sweep.detach:
            launch(path, keys)
            outcome.left = True
            plan.refresh()
            return outcome
        with watching(plan):
            _launch(launch, path, keys)
            _launch_again(plan, launch, path, keys, alone)
        close_sweep(plan.base.logger, path)
    except KeyboardInterrupt:
        outcome.interrupted = True
    plan.refresh()
    return outcome


def _refuse_too_long(plan: Plan) -> None:
    limit, hours = plan.base.sweep.max_hours, plan.hours()
    if limit is None:
        return
    if hours is None:
        raise ConfigError(
            f"sweep.max_hours={limit:g}: the store holds no run to estimate the time from; "
            "add sweep.probe=true to time a few steps of each network"
        )
    if hours > limit:
        raise ConfigError(
            f"sweep.max_hours={limit:g}: the {len(plan.to_run())} runs will take about {hours:.2g} hours; "
            "sweep fewer values, train fewer epochs or allow more"
        )


def refuse_denied(plan: Plan) -> None:
    """Raises `StoreError` where runs that are to be trained have files of others' that can't be read."""
    denied = [key for key in plan.to_run() if DENIED in plan.states[key].error]
    if denied:
        path = plan.store.run(denied[0]).path
        raise StoreError(
            f"{len(denied)} runs of the plan can't be read, so it isn't known whether they are done: {path} "
            f"for one is {owner_of(path)}'s (chmod -R g+rX lets the group read it); or take another store="
        )


def _launch(launch: Launch, path: Path, keys: list[str]) -> None:
    """A launcher that breaks down leaves runs undone as a job does; the store says which."""
    try:
        launch(path, keys)
    except (UserError, OSError):
        raise
    except Exception as error:
        if os.environ.get("HYDRA_FULL_ERROR") == "1":
            raise
        first = (str(error).strip().splitlines() or [""])[0]
        log.error("the launcher broke down: %s: %s", type(error).__name__, first)


def _launch_again(plan: Plan, launch: Launch, path: Path, keys: list[str], alone: bool) -> None:
    """Retries what was killed or starved; takes over what another sweep held and did not finish."""
    tries = dict.fromkeys(keys, plan.base.sweep.retries)
    seen_held: set[str] = set()
    while not path.with_name("stop").exists():
        states = {key: plan.store.run(key).state() for key in keys}
        held = {key for key, state in states.items() if state.name == "running"}
        tries.update({key: tries[key] + 1 for key in held - seen_held})
        seen_held |= held
        again = [
            key
            for key, state in states.items()
            if tries[key] > 0 and (state.failure in WORTH_RETRYING or state.name in UNDONE)
        ]
        for key in again:
            tries[key] -= 1
        for key in again:
            if states[key].failure == "killed":
                free_if_dead(plan.store.run(key).path)
        single = [key for key in again if alone and states[key].failure is not None]
        for group in [[key for key in again if key not in single], *([key] for key in single)]:
            if group:
                _launch(launch, path, group)
        if not again and not held:
            return
        if not again:
            time.sleep(max(1.0, 0.002 * len(keys)))
