"""How a sweep ends: its table, what is missing and how to get it, and last of all where everything is."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cbam_ablate.cli import fail
from cbam_ablate.lazy_docs import leave_out_docs
from cbam_ablate.runs.provenance import command
from cbam_ablate.sweep.plan import Plan
from cbam_ablate.sweep.run import Outcome
from cbam_ablate.sweep.watch import label

FAILED = ("failed", "unusable")
TOLD_BY = ("traceback.txt", "output.log")
"""Files of a run that say how it failed; one that was killed has the second at most."""


def close(outcome: Outcome, arguments: Sequence[str]) -> int:
    """Prints and writes the table of what is done, then what is missing and how to get it.

    The last three lines are always where the table, the report and the failures are.
    """
    plan = outcome.plan
    if outcome.left:
        planned = shlex.join(["cbam-ablate", "plan", *_without(arguments, "detach")])
        print(
            f"{plan.summary()}\nHanded over. {planned} shows how the runs stand; "
            "the same command without detach=true waits for the rest."
        )
    else:
        print(f"{_table(outcome)}\n\n{plan.summary()}.")
    places = "\n".join(f"{name:<8}  {where}" for name, where in _places(outcome).items())
    if outcome.left or not outcome.missing:
        print(places)
        return 0
    return fail("\n".join([*_missing(outcome, arguments), places]), outcome.exit_code)


def _table(outcome: Outcome) -> str:
    leave_out_docs()
    from cbam_ablate.report import render_terminal, write_table

    plan = outcome.plan
    table = _table_of(plan) if outcome.unwritten else write_table(plan.store.root, plan.study)
    return render_terminal(table)


def _missing(outcome: Outcome, arguments: Sequence[str]) -> list[str]:
    """What isn't finished, and the commands that go on with it."""
    plan, missing = outcome.plan, outcome.missing
    failed = {key: state for key, state in missing.items() if state.name in FAILED}
    diverged = [key for key, state in failed.items() if state.diverged]
    labels = {cell.key: label(cell.axes) for cell in plan.cells}
    lines = [f"{len(missing)} of {len(plan.runs)} runs are not finished"]
    lines += [
        f"  {key} {labels[key]}: {state.failure or state.name}: {state.error}"
        for key, state in failed.items()
    ]
    others = len(missing) - len(failed)
    lines += [f"  {others} not run or stopped"] if others else []
    again = shlex.join(["cbam-ablate", "train", *_without(arguments, "sweep.mode")])
    if diverged:
        lines.append(
            f"{len(diverged)} diverged, which is what came out: they stay so until sweep.mode=retry trains "
            "them again. A lower optimizer.lr or optimizer.clip_norm makes other runs"
        )
    if len(diverged) < len(missing):
        lines.append(f"The same command goes on: {again}")
    if failed:
        lines.append(f"Only the failed ones: {again} sweep.mode=retry")
    return lines


def _places(outcome: Outcome) -> dict[str, str]:
    """Where the table, the report and the failures are, or the command that makes what isn't there."""
    plan = outcome.plan
    study, folder = plan.study, plan.store.study(plan.study)
    of_study = shlex.join([f"study={study}", f"store={plan.store.root}"])
    if outcome.unwritten:
        table = f"above; nothing was written: {plan.store.root} may only be read ({outcome.unwritten})"
    elif outcome.left:
        table = f"cbam-ablate table {of_study}, of what is done"
    else:
        table = f"{folder}/table.md, .tex, .csv, .html, .json"
    makes = f"cbam-ablate report {of_study}{' out=FOLDER' if outcome.unwritten else ''}"
    return {"table": table, "report": _report(plan, folder, makes), "failures": _failures(plan)}


def _report(plan: Plan, folder: Path, makes: str) -> str:
    page = folder / "report.html"
    try:
        made = page.stat().st_mtime
    except OSError:
        return (
            f"not made yet: {makes}"
            if (folder / "manifest.json").exists()
            else "none: the store doesn't hold this sweep"
        )
    newer = any(_changed(plan.store.run(key).path) > made for key in plan.runs)
    return f"{page}, older than its runs: {makes}" if newer else str(page)


def _changed(run: Path) -> float:
    try:
        return (run / "status.json").stat().st_mtime
    except OSError:
        return 0.0


def _failures(plan: Plan) -> str:
    runs = plan.store.root / "runs"
    failed = [key for key, state in plan.states.items() if state.name in FAILED]
    if not failed:
        return "none"
    files = [name for name in TOLD_BY if any((runs / key / name).is_file() for key in failed)]
    folder = runs / (failed[0] if len(failed) == 1 else "<run>")
    return f"{len(failed)}: {folder}/{', '.join(files)}"


def _table_of(plan: Plan) -> Any:
    """The table of a plan whose manifest was not written."""
    from cbam_ablate.aggregate.records import unwritten_study
    from cbam_ablate.report.write import table_of
    from cbam_ablate.sweep.manifest import content_of

    return table_of(unwritten_study(plan.store.root, content_of(plan, command())))


def _without(arguments: Sequence[str], name: str) -> list[str]:
    return [text for text in arguments if not text.startswith(f"{name}=")]
