"""What the commands about sweeps print: a plan, and how a sweep ended."""

import shlex
import sys
from collections.abc import Iterator

from rich.console import Console
from rich.table import Table

from cbam_ablate.cli import fail
from cbam_ablate.report import render_terminal, write_table
from cbam_ablate.sweep.plan import Plan, clock
from cbam_ablate.sweep.run import Outcome
from cbam_ablate.sweep.watch import label

HEADINGS = ("run", "status", "cell", "parameters", "MACs", "time", "memory")


def show(plan: Plan) -> int:
    """Prints every run of a plan, and its sum."""
    rows = [HEADINGS, *_rows(plan)]
    table = Table(box=None, pad_edge=False, header_style="bold")
    for index, name in enumerate(HEADINGS):
        width = None if name == "cell" else max(len(row[index]) for row in rows)
        justify = "left" if index < 3 else "right"
        table.add_column(name, justify=justify, no_wrap=True, min_width=width)  # type: ignore[arg-type]
    for row in rows[1:]:
        table.add_row(*row)
    console = Console(width=None if sys.stdout.isatty() else 200)
    console.print(table)
    print(plan.summary())
    return 0


def _rows(plan: Plan) -> Iterator[tuple[str, ...]]:
    labels: dict[str, str] = {}
    for cell in plan.cells:
        labels.setdefault(cell.key, label(cell.axes))
    for key, said in labels.items():
        cost, guess, state = plan.costs[key], plan.guesses.get(key), plan.states[key]
        memory = guess.memory_mib if guess else None
        yield (
            key,
            state.failure or state.name,
            said,
            f"{cost.params:,}",
            f"{cost.macs / 1e6:,.1f} M",
            clock(guess.seconds) if guess else "?",
            f"{memory / 1024:.1f} GiB" if memory else "?",
        )


def close(outcome: Outcome, words: list[str]) -> int:
    """Prints and writes the table of what is done, then what is missing and how to get it."""
    plan = outcome.plan
    table = write_table(plan.store.root, plan.study)
    print(render_terminal(table))
    print(f"\n{plan.summary()}. Written: {plan.store.study(plan.study)}/table.md, .tex, .csv, .html, .json")
    if not outcome.missing:
        return 0
    failed = {key: state for key, state in outcome.missing.items() if state.name == "failed"}
    labels = {cell.key: label(cell.axes) for cell in plan.cells}
    lines = [f"{len(outcome.missing)} of {len(plan.runs)} runs are not finished"]
    lines += [f"  {key} {labels[key]}: {state.failure}: {state.error}" for key, state in failed.items()]
    others = len(outcome.missing) - len(failed)
    lines += [f"  {others} not run or stopped"] if others else []
    again = shlex.join(["cbam-ablate", "train", *(w for w in words if not w.startswith("sweep.mode="))])
    lines.append(f"The same command goes on: {again}")
    if failed:
        lines.append(f"Only the failed ones: {again} sweep.mode=retry")
        lines.append(f"Tracebacks: {plan.store.root / 'runs'}/<run>/traceback.txt")
    return fail("\n".join(lines), outcome.exit_code)
