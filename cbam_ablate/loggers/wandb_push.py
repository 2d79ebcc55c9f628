"""Sends W&B what the store holds: runs, and a study's table.

python -m cbam_ablate.loggers.wandb_push MANIFEST is what a sweep runs at its end: it sends what the runs
could not, then the table, and says in one line how it went.
"""

import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from cbam_ablate.config.canonical import from_dict
from cbam_ablate.config.schema import WandbConfig
from cbam_ablate.loggers.beside import later, wandb_mode
from cbam_ablate.loggers.wandb_run import PATIENCE, NotSentError, WandbRun, read_state, tags_of
from cbam_ablate.loggers.wandb_study import send_study
from cbam_ablate.runs import Run, RunStore
from cbam_ablate.runs.files import read_json

GIVE_UP = 2
"""After so many failures in a row the others are not tried."""


def push_runs(
    runs: Iterable[Run], change: Callable[[WandbConfig], WandbConfig], patience: float
) -> Iterable[tuple[Run, dict[str, Any]]]:
    """Sends each run, its own W&B options passed through `change`, and yields what became of it.

    That is `sent`, and `why` where it was not: a config of another version, or what W&B said.
    """
    failed, why = 0, ""
    for run in runs:
        if failed < GIVE_UP:
            try:
                state = _push(run, change, patience)
            except ValueError as error:
                yield run, {"sent": False, "why": str(error)}
                continue
            why = state.get("why", "")
            failed = failed + 1 if why else 0
        else:
            state = {"sent": False, "why": why}
        yield run, state


def _push(run: Run, change: Callable[[WandbConfig], WandbConfig], patience: float) -> dict[str, Any]:
    problem = run.problem()
    if problem is not None:
        return {"sent": False, "why": problem.error}
    cfg = from_dict(run.config() or {})
    cfg.logger.wandb = change(cfg.logger.wandb)
    try:
        logger = WandbRun(run, cfg, patience)
        for record in run.history():
            logger.epoch(record)
        logger.end()
    except OSError as error:
        return {"sent": False, "why": str(error.strerror)}
    return logger.state


def options_of(manifest: dict[str, Any]) -> WandbConfig:
    """The W&B options a study was last run with."""
    start = "logger.wandb."
    found = manifest["constants"].items()
    return WandbConfig(**{name.removeprefix(start): value for name, value in found if name.startswith(start)})


def runs_of(manifest: dict[str, Any], store: RunStore) -> list[Run]:
    """The study's runs that have trained an epoch."""
    return [run for run in map(store.run, manifest["runs"]) if run.history()]


def _finish_sweep(path: Path, patience: float = PATIENCE) -> str:
    root, study = path.parents[2], path.parent.name
    manifest = read_json(path) or {}
    cfg, runs, hint = options_of(manifest), runs_of(manifest, RunStore(root)), later(f"study={study}", root)
    states = {run.key: read_state(run) for run in runs}
    if wandb_mode(cfg) == "online":
        missing = [
            run
            for run in runs
            if not states[run.key].get("offline") and not _up_to_date(run, states[run.key])
        ]
        states |= {run.key: state for run, state in push_runs(missing, lambda own: cfg, patience)}
    failed = [state["why"] for state in states.values() if state.get("why")]
    if failed:
        return (
            f"W&B: {len(failed)} of {len(runs)} runs were not sent ({failed[0]}); to send them later: {hint}"
        )
    try:
        url = send_study(root, study, cfg, patience)
    except NotSentError as error:
        return f"W&B: the study's table was not sent ({error}); to send it later: {hint}"
    if not url:
        many = "1 run is" if len(runs) == 1 else f"{len(runs)} runs are"
        return f"W&B: {many} written offline in {root / 'wandb'}; to send them: {hint}"
    return f"W&B: {len(runs)} runs and the study's table: {url}"


def _up_to_date(run: Run, state: dict[str, Any]) -> bool:
    return bool(state.get("sent")) and state.get("tags") == tags_of(run)


def main() -> None:
    stdout = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    print(_finish_sweep(Path(sys.argv[1])), file=stdout, flush=True)
    # Not sys.exit: W&B's client may try for long to send something at exit.
    os._exit(0)


if __name__ == "__main__":
    main()
