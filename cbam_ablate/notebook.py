"""For scripts and notebooks: a table of any DataFrame, of a stored study, or of a sweep that is run now."""

import os
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cbam_ablate.aggregate import Table, build_table, load_study
from cbam_ablate.aggregate.findings import label
from cbam_ablate.aggregate.model import Difference, Effect
from cbam_ablate.errors import ConfigError, UserError
from cbam_ablate.report import latex, markdown, render_terminal, table_html, to_frame
from cbam_ablate.report.lay_out import lay_out
from cbam_ablate.report.markup import Sentences

if TYPE_CHECKING:
    import pandas as pd

LAST_LINES = 30
"""Of a sweep's output, what an error shows."""


@dataclass(frozen=True)
class Comparison:
    """A row's metric less that of its baseline row, paired by seed: `difference` has n, interval and p."""

    row: str
    metric: str
    difference: Difference


@dataclass(frozen=True)
class ShownTable:
    """A table with its statistics; a notebook shows it, `print` too. `model` is the table itself."""

    model: Table

    def to_latex(self) -> str:
        """A table environment with booktabs and siunitx."""
        return latex.render(self.model)

    def to_markdown(self) -> str:
        """A pipe table with caption, findings and notes."""
        return markdown.render(self.model)

    def to_frame(self) -> "pd.DataFrame":
        """One row for each setting, indexed by the axes; every statistic in a column of its own."""
        return to_frame(self.model)

    @property
    def caption(self) -> str:
        return self._written([". ".join(self.model.caption) + "."])[0]

    @property
    def comparisons(self) -> list[Comparison]:
        """Every difference to a baseline, in the order of the rows."""
        return [
            Comparison(label(row), name, cell.difference)
            for row in self.model.rows
            for name, cell in row.cells.items()
            if cell.difference is not None
        ]

    @property
    def effects(self) -> list[Effect]:
        """Main effects and interactions of the axes."""
        return self.model.effects

    @property
    def findings(self) -> list[str]:
        """What the table shows, in sentences, and how many seeds would show more."""
        return self._written([*self.model.findings, *self.model.advice])

    @property
    def notes(self) -> list[str]:
        """What a reader must beware of: seeds twice or missing, runs that failed, mixed scales."""
        return self._written(self.model.notes)

    def _written(self, sentences: Sequence[str]) -> list[str]:
        """The sentences with the table's decimal sign."""
        words = Sentences(self.model)
        return [words.numbers(one) for one in sentences]

    def __str__(self) -> str:
        return render_terminal(self.model)

    def _repr_html_(self) -> str:
        grid = lay_out(self.model).localised(self.model)
        return str(table_html.fragment(self.model, grid, lambda row: "", whole=True))


def tabulate(
    frame: "pd.DataFrame",
    rows: Sequence[str] = (),
    columns: Sequence[str] = (),
    metric: str | Sequence[str] = (),
    seed: str | Sequence[str] = (),
    *,
    better: str | Mapping[str, str] = "",
    axes: Sequence[str] = (),
    study: str = "table",
    **options: Any,
) -> ShownTable:
    """The table of a DataFrame of results, long or wide: a row a run, a setting, or a measured value.

    `rows` and `columns` are columns of options, down the side and across; other options that differ between
    rows go down too, unless `axes` says which count. `metric` names what was measured, `seed` the column of
    seeds, or the columns that hold a seed each. `better` is up or down, for all metrics or by name. Other
    arguments are options of tables by name (`baseline={"method": "none"}`, `labels`, `filters`). What isn't
    said is found, and what was found is in `notes`. Raises `UserError`.
    """
    from cbam_ablate.aggregate.records import study_of
    from cbam_ablate.sources import Wanted, load
    from cbam_ablate.sources import frame as frames
    from cbam_ablate.sources.write import outcome

    metrics = _names(metric)
    ways = better if isinstance(better, Mapping) else dict.fromkeys(metrics if better else (), better)
    if better and not ways:
        raise ConfigError(
            f"better={better}: of which metric? metric= names it, or better={{NAME: {better!r}}}"
        )
    wanted = Wanted(_names(axes), _names(seed), metrics, (*_names(rows), *_names(columns)), ways)
    runs, notes = frames.from_frame(frame, wanted)
    load.name_runs(runs, study)
    found = load.study_of(runs, notes, study, wanted, ["cbam-ablate", "import", "a DataFrame"])
    loaded = study_of(found.manifest, {run.key: outcome(run) for run in found.runs})
    shape = {name: list(_names(value)) for name, value in (("rows", rows), ("columns", columns)) if value}
    return ShownTable(build_table(loaded, {**shape, **options}))


def load_table(store: str | Path, study: str, **options: Any) -> ShownTable:
    """The table of a stored study, of whatever is done; nothing is written.

    `options` are options of tables by name, over those that the study declares. Raises `UserError`.
    """
    return ShownTable(build_table(load_study(store, study), options))


def run_study(words: Sequence[str], *, quiet: bool = False, **options: Any) -> ShownTable:
    """Runs what `cbam-ablate train -m` does with these words, or what of it is missing; gives its table.

    `run_study(["study=placement", "seed=0,1,2"])`. The sweep has a process of its own, so it needs no
    `if __name__ == "__main__":` around it, and whatever becomes of it this process goes on. Its output is
    printed unless `quiet`. Runs that failed are in the table's notes. Raises `UserError` for bad words, and
    where no run finished.
    """
    from cbam_ablate.runs import RunStore
    from cbam_ablate.sweep.outline import make_outline

    if isinstance(words, str) or not all(isinstance(word, str) for word in words):
        raise ConfigError(f"run_study({words!r}): a list of words, as in ['study=quick', 'seed=0,1,2']")
    words = [word for word in words if word not in ("-m", "--multirun")]
    asked = make_outline(words)
    code, lines = _train(words, quiet)
    store = RunStore(asked.base.store)
    if code != 0 and not any(store.run(key).result() for key in asked.runs):
        raise UserError(
            "\n".join(lines).partition("cbam-ablate: ")[2] or f"the sweep ended with exit code {code}"
        )
    return load_table(store.root, asked.study, **options)


def _train(words: Sequence[str], quiet: bool) -> tuple[int, list[str]]:
    """The exit code of the command in a process of its own, and the last lines that it printed."""
    lines: deque[str] = deque(maxlen=LAST_LINES)
    command = [sys.executable, "-m", "cbam_ablate", "train", "-m", *words]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=environment,
    ) as process:
        try:
            for line in process.stdout or ():
                lines.append(line.rstrip("\n"))
                if not quiet:
                    print(line, end="", flush=True)
        except KeyboardInterrupt:
            # A notebook's interrupt reaches this process only; the sweep saves what it is at, and ends.
            process.send_signal(signal.SIGINT)
            process.communicate()
            raise
    return process.returncode, list(lines)


def _names(names: str | Sequence[str]) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) and names else tuple(map(str, names))
