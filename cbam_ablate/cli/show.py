"""What the commands about sweeps print of a plan."""

import shutil
import sys
import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence

from cbam_ablate.sweep.ledger import Ledger, Waiting
from cbam_ablate.sweep.plan import Plan, clock
from cbam_ablate.sweep.watch import label

HEADINGS = ("run", "status", "cell", "params", "MACs", "time", "memory")
UNKNOWN = "?"


def show(plan: Plan) -> int:
    """Prints every run of a plan, those that wait with an engine too, and its sum."""
    waiting, silent = _waiting(plan)
    rows = [HEADINGS, *_rows(plan, waiting)]
    shown = [index for index in range(len(HEADINGS)) if any(row[index] != UNKNOWN for row in rows[1:])]
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 200
    print("\n".join(_lines([[row[index] for index in shown] for row in rows], width)))
    if plan.source is not None:
        print(f"study {plan.study} as {plan.source} declares it")
    print("\n".join([*plan.notes, plan.summary()]))
    for (engine, state), count in Counter((had.engine, had.state) for had in waiting.values()).items():
        print(f"{engine}: {count} in {state.lower()} jobs")
    for engine in silent:
        print(f"{engine} doesn't answer: which runs wait in its queue isn't known")
    return 0


def _lines(rows: Sequence[Sequence[str]], width: int) -> Iterator[str]:
    """Columns side by side; the cell's text is wrapped where a line would be wider than `width`."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    cell = HEADINGS.index("cell")
    room = width - sum(widths) + widths[cell] - 2 * (len(widths) - 1)
    widths[cell] = max(len("cell"), min(widths[cell], room))
    for row in rows:
        first, *more = (
            textwrap.wrap(row[cell], widths[cell]) if len(row[cell]) > widths[cell] else [row[cell]]
        )
        yield "  ".join(
            text.ljust(there) if index <= cell else text.rjust(there)
            for index, (text, there) in enumerate(
                zip([*row[:cell], first, *row[cell + 1 :]], widths, strict=True)
            )
        ).rstrip()
        for text in more:
            yield " " * (sum(widths[:cell]) + 2 * cell) + text


def _waiting(plan: Plan) -> tuple[dict[str, Waiting], list[str]]:
    """The unfinished runs that are with an engine and not at work; and the engines that don't answer."""
    idle = {key for key, state in plan.states.items() if state.name in ("new", "interrupted")}
    if not idle:
        return {}, []
    there, silent = Ledger(plan.store.study(plan.study) / "manifest.json").waiting()
    return {key: had for key, had in there.items() if key in idle}, silent


def _rows(plan: Plan, waiting: dict[str, Waiting]) -> Iterator[tuple[str, ...]]:
    labels: dict[str, str] = {}
    for cell in plan.cells:
        labels.setdefault(cell.key, label(cell.axes))
    for key, text in labels.items():
        cost, guess, state = plan.costs[key], plan.guesses.get(key), plan.states[key]
        memory = guess.memory_mib if guess else None
        yield (
            key,
            f"queued {waiting[key].job}" if key in waiting else state.failure or state.name,
            text,
            f"{cost.params:,}",
            f"{cost.macs / 1e6:,.1f} M",
            clock(guess.seconds) if guess else UNKNOWN,
            f"{memory / 1024:.1f} GiB" if memory else UNKNOWN,
        )
