"""What a person sees while a sweep runs: a live table on a terminal, plain lines elsewhere."""

import logging
import os
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from rich.console import Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from cbam_ablate.config.options import as_typed
from cbam_ablate.console import console
from cbam_ablate.runs import State
from cbam_ablate.sweep.plan import Plan, clock

log = logging.getLogger(__name__)


class Glance(NamedTuple):
    """One run at one moment.

    `share` is the part that is done, `top1` its latest accuracy in percent, `at` its epoch and step in words.
    """

    state: State
    share: float
    top1: float | None
    seconds: float | None = None
    at: str = ""


NEW = Glance(State("new"), 0.0, None)


@contextmanager
def watching(plan: Plan) -> Iterator[None]:
    """Follows the store on the terminal until the block is left; only this sweep's runs."""
    watch = Watch(plan)
    thread = threading.Thread(target=watch.live if console().is_terminal else watch.plain, daemon=True)
    thread.start()
    try:
        yield
    finally:
        watch.over.set()
        thread.join()


class Watch:
    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.over = threading.Event()
        self.started = time.monotonic()
        self._finished: dict[str, Glance] = {}
        self.groups: dict[str, list[str]] = {}
        for cell in plan.cells:
            keys = self.groups.setdefault(label(cell.axes, without_seed=True), [])
            if cell.key not in keys:
                keys.append(cell.key)
        # Looking at a run reads a few small files, which a shared file system should not do all the time.
        self.pause = 0.002 * len(plan.runs)
        self.labels = {cell.key: label(cell.axes) for cell in plan.cells}
        self.before = sum(glance.share for glance in self.look().values())

    def look(self) -> dict[str, Glance]:
        """Every run of the sweep; the finished ones are read once."""
        seen = {}
        folder = self.plan.store.root / "runs"
        begun = set(os.listdir(folder)) if folder.is_dir() else set()
        for key in self.plan.runs:
            seen[key] = self._finished.get(key) or (self._look_at(key) if key in begun else NEW)
            if seen[key].state.name == "finished":
                self._finished[key] = seen[key]
        return seen

    def _look_at(self, key: str) -> Glance:
        run = self.plan.store.run(key)
        result, state = run.result(), run.state()
        if result is not None:
            return Glance(state, 1.0, _number(result["metrics"].get("test_top1")),
                          _number(result["cost"].get("train_seconds")))  # fmt: skip
        if state.name == "new":
            return Glance(state, 0.0, None)
        status = run.status()
        epochs, steps, epoch, step = (
            _number(status.get(n)) or 0 for n in ("epochs", "steps", "epoch", "step")
        )
        done = epoch if step == 0 else epoch - 1 + step / max(1, steps)
        at = f"epoch {epoch} of {epochs}" + (f", step {step} of {steps}" if step else "") if epochs else ""
        return Glance(state, done / epochs if epochs else 0.0, _number(status.get("val_top1")), at=at)

    def live(self) -> None:
        with Live(console=console(), refresh_per_second=4, transient=True) as view:
            while not self.over.wait(max(0.5, self.pause)):
                view.update(self.picture())

    def picture(self) -> Group:
        seen = self.look()
        table = Table(box=None, pad_edge=False, header_style="bold")
        for name in ("cell", "done", "test top-1, %", "running"):
            table.add_column(name)
        for name, keys in self.groups.items():
            glances = [seen[key] for key in keys]
            done = [g.top1 for g in glances if g.state.name == "finished" and g.top1 is not None]
            table.add_row(name, f"{len(done)}/{len(keys)}", mean_sd(done), self._running(keys, seen))
        share = sum(glance.share for glance in seen.values())
        bar = ProgressBar(total=len(seen), completed=share, width=40)
        if not self.plan.study:
            (only,) = seen.values()
            val = "" if only.top1 is None else f"; val {only.top1:.1f} %"
            return Group(bar, Text(f" {only.at}{val}{self._left(share, 1)}"))
        return Group(table, bar, Text(f" {self._rest(share, len(seen))}"))

    def _running(self, keys: list[str], seen: dict[str, Glance]) -> str:
        parts = []
        for key in keys:
            glance = seen[key]
            if glance.state.name == "running":
                val = "" if glance.top1 is None else f" val {glance.top1:.1f} %"
                parts.append(f"{100 * glance.share:.0f} %{val}")
            elif glance.state.name == "failed":
                parts.append(str(glance.state.failure))
        return ", ".join(parts)

    def _rest(self, share: float, total: int) -> str:
        spent = time.monotonic() - self.started
        return f"{share:.1f} of {total} runs in {clock(spent)}{self._left(share, total)}"

    def _left(self, share: float, total: int) -> str:
        spent, gained = time.monotonic() - self.started, share - self.before
        return f", about {clock(spent / gained * (total - share))} to go" if gained > 0.05 * total else ""

    def plain(self) -> None:
        known = {key: glance.state.name for key, glance in self.look().items()}
        over = False
        while not over:
            over = self.over.wait(max(1.0, self.pause))
            seen = self.look()
            done = sum(glance.state.name == "finished" for glance in seen.values())
            for key, glance in seen.items():
                name = glance.state.name
                if name != known[key] and name in ("running", "finished", "failed"):
                    log.info("[%d/%d] %s: %s", done, len(seen), self.labels[key], _news(glance))
                known[key] = name


def _news(glance: Glance) -> str:
    if glance.state.name == "finished":
        top1 = "unknown" if glance.top1 is None else f"{glance.top1:.2f} %"
        return f"test top-1 {top1}, trained in {clock(glance.seconds or 0)}"
    if glance.state.name == "failed":
        return f"failed ({glance.state.failure}): {glance.state.error}"
    return "started"


def _number(value: Any) -> float | None:
    """What a file says, where it is a number: it may be anybody's."""
    return value if isinstance(value, int | float) else None


def label(axes: dict[str, Any], without_seed: bool = False) -> str:
    """A cell's values in short: `placement=block kernel=7`."""
    shown = {name: value for name, value in axes.items() if not (without_seed and name == "seed")}
    return as_typed(shown) or "the only cell"


def mean_sd(values: list[float]) -> str:
    """`43.1 ± 0.4`, without a spread where there is one value."""
    if not values:
        return ""
    mean = f"{statistics.mean(values):.2f}"
    return f"{mean} ± {statistics.stdev(values):.2f}" if len(values) > 1 else mean
