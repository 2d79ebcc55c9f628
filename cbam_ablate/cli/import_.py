"""cbam-ablate import SOURCE [study=NAME] [axes=A,B,...] [seed=NAME] [metric=A,B,...] [better=up|down]

Makes a store of anybody's runs at <store>/imported/STUDY and prints its table. SOURCE is
  a CSV, TSV, JSON-lines or Parquet file: a row a run, a row a setting with a column a seed, or a row a value
  a folder of Hydra jobs (.hydra in each); file=PATTERN names each job's metrics file (JSON, YAML or CSV)
  a folder of Lightning CSV logs, of TensorBoard event files, or of offline W&B runs
  an MLflow database (mlflow.db) or tracking address; experiment=NAME takes one of several
Axes are the options that differ between runs, or those named. The seed is the option called so, or the one
named; seed=A,B,C names columns of a CSV that hold a seed each. better=up or down is for all metrics named,
better=acc:up,loss:down for each. Of what was logged by steps step=last is taken, step=NUMBER, or
step=max:METRIC (min:METRIC) of validation. format= names the kind of SOURCE where it can't be told. Also
taken: store=, and table.NAME=VALUE, which is kept. Whatever is odd (a seed twice or missing, NaN, text among
numbers, fractions among percentages) is in the notes below the table.
"""

import re
import shlex
from pathlib import Path
from typing import Any

from cbam_ablate.cli.arguments import read_arguments
from cbam_ablate.errors import ConfigError

OPTIONS = ("study", "axes", "seed", "metric", "better", "step", "file", "experiment", "format")


def main(arguments: list[str]) -> int:
    if not arguments or (re.match(r"[a-z]+=", arguments[0]) and not Path(arguments[0]).exists()):
        raise ConfigError("import: which source? a file, a folder or an MLflow address comes first")
    source, arguments = arguments[0], arguments[1:]
    others = [text for text in arguments if "=" not in text]
    if others:
        raise ConfigError(f"{others[0]}: after the one source ({source}) come options, name=value")
    values = read_arguments(arguments, OPTIONS, ("table",))
    from cbam_ablate.report import render_terminal, write_table
    from cbam_ablate.sources.found import count
    from cbam_ablate.sources.load import load
    from cbam_ablate.sources.store import put

    study = values.get("study") or name_of(source)
    options = {
        name.removeprefix("table."): value for name, value in values.items() if name.startswith("table")
    }
    shape = [*options.get("rows", []), *options.get("columns", [])]
    command = [
        "cbam-ablate",
        "import",
        source,
        *(text for text in arguments if not text.startswith("store=")),
    ]
    found = load(source, study, wanted_of(values, tuple(shape)), values.get("format", ""), command)
    root = Path(values["store"]) / "imported" / study
    print(render_terminal(put(root, found, options, lambda store: write_table(store, study))))
    done = sum(run.state == "finished" for run in found.runs)
    print(f"\n{count(len(found.runs), 'run')}, {done} finished, to {root}")
    print(f"Its table again: {shlex.join(['cbam-ablate', 'table', f'study={study}', f'store={root}'])}")
    return 0


def name_of(source: str) -> str:
    """A study's name from where its runs are: the file's or folder's own."""
    last = (
        re.split(r"[/\\]", source.split("://")[-1].rstrip("/\\"))[-1]
        if "://" in source
        else Path(source).resolve().stem
    )
    return re.sub(r"[^\w.-]+", "-", last).strip("-.") or "imported"


def wanted_of(values: dict[str, Any], shown: tuple[str, ...] = ()) -> Any:
    """What the arguments ask of a source."""
    from cbam_ablate.sources.found import Wanted

    metrics = _names(values.get("metric", ""))
    better: dict[str, str] = {}
    given = values.get("better", "")
    if isinstance(given, dict):  # better.NAME=up
        given = ",".join(f"{name}:{way}" for name, way in given.items())
    for part in _names(given):
        name, colon, way = part.rpartition(":")
        if not colon and not metrics:
            raise ConfigError(f"better={part}: of which metric? metric=NAME, or better=NAME:{part}")
        better |= {name: way} if colon else dict.fromkeys(metrics, part)
    return Wanted(
        axes=_names(values.get("axes", "")),
        seed=_names(values.get("seed", "")),
        metrics=metrics,
        shown=shown,
        better=better,
        step=values.get("step", "last"),
        file=values.get("file", ""),
        experiment=values.get("experiment", ""),
    )


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.strip("[]").split(",") if name.strip())
