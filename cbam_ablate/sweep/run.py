"""Running a plan: through any launcher, with retries, and an end that says what failed and what to do."""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cbam_ablate.config.errors import ConfigError
from cbam_ablate.data import prepare
from cbam_ablate.loggers import close_sweep
from cbam_ablate.runs import State
from cbam_ablate.sweep.manifest import freeze
from cbam_ablate.sweep.plan import Plan
from cbam_ablate.sweep.watch import watching

Launch = Callable[[Path, list[str]], None]
"""Runs the jobs of a manifest with these keys, and returns when they have ended."""
WORTH_RETRYING = ("killed", "out_of_memory")


@dataclass
class Outcome:
    """How a sweep ended."""

    plan: Plan
    interrupted: bool = False

    @property
    def missing(self) -> dict[str, State]:
        """The runs that are not finished."""
        return {key: state for key, state in self.plan.states.items() if state.name != "finished"}

    @property
    def exit_code(self) -> int:
        """0 only when every run is finished; 130 after Ctrl-C."""
        return 130 if self.interrupted else int(bool(self.missing))


def run_plan(plan: Plan, launch: Launch, command: list[str]) -> Outcome:
    """Runs what the plan's mode calls for. How each run ended is in the store and in the outcome."""
    _refuse_too_long(plan)
    path = freeze(plan, command)
    path.with_name("stop").unlink(missing_ok=True)
    keys = plan.to_run()
    if plan.base.sweep.mode == "force":
        plan.set_aside()
    outcome = Outcome(plan)
    if not keys:
        return outcome
    for cfg in {cfg.data.name: cfg for key, cfg in plan.runs.items() if key in keys}.values():
        prepare(cfg)
    print(f"study {plan.study}: {plan.summary()}", file=sys.stderr, flush=True)
    try:
        with watching(plan):
            launch(path, keys)
            _launch_again(plan, launch, path, keys)
        said = close_sweep(plan.base.logger, path)
        if said:
            print(said, file=sys.stderr)
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


def _launch_again(plan: Plan, launch: Launch, path: Path, keys: list[str]) -> None:
    """Retries what was killed or starved, alone; takes over what another sweep held and did not finish."""
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
            if tries[key] > 0 and (state.failure in WORTH_RETRYING or state.name in ("interrupted", "new"))
        ]
        for key in again:
            tries[key] -= 1
            launch(path, [key])
        if not again and not held:
            return
        if not again:
            time.sleep(1)
