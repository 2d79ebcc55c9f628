"""A source, whatever it is, as a study: runs, axes and seed, what its table shows, and what is odd."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from cbam_ablate.errors import ConfigError, DataError
from cbam_ablate.sources.axes import find_axes, number_repeats, places
from cbam_ablate.sources.found import Found, Wanted, count, listed, run_key
from cbam_ablate.sources.measures import COSTS, choose_metrics, directions, oddities
from cbam_ablate.sources.series import check_step
from cbam_ablate.sources.write import manifest_of

Read = Callable[[Any, Wanted], tuple[list[Found], list[str]]]

READERS = {
    "csv": "csv_file",
    "tsv": "csv_file",
    "jsonl": "json_lines",
    "parquet": "frame",
    "hydra": "hydra_jobs",
    "lightning": "lightning",
    "tensorboard": "event_files",
    "mlflow": "mlflow_runs",
    "wandb": "wandb_offline",
}
"""By format the module that reads it."""
ENDINGS = {
    ".csv": "csv", ".tsv": "tsv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl",
    ".parquet": "parquet",
    ".pq": "parquet", ".db": "mlflow", ".sqlite": "mlflow", ".sqlite3": "mlflow", ".wandb": "wandb",
}  # fmt: skip
WITH_STEPS = ("hydra", "lightning", "tensorboard", "mlflow", "wandb")


@dataclass
class Imported:
    """What was found: runs and the manifest of the study they make, whose notes say what is odd."""

    runs: list[Found]
    manifest: dict[str, Any]

    @property
    def notes(self) -> list[str]:
        return list(self.manifest["notes"])


def format_of(source: str) -> str:
    """csv, hydra, ... by a file's ending or by what a folder holds. Raises `ConfigError`."""
    if "://" in source:
        return "mlflow"
    path = Path(source)
    if not path.exists():
        raise ConfigError(f"{source}: no such file, folder or address")
    if path.is_file():
        if "tfevents" in path.name:
            raise ConfigError(f"{source}: one event file; give the folder of the runs")
        found = ENDINGS.get(path.suffix.lower())
        if found is None:
            raise ConfigError(f"{source}: ends in none of {', '.join(ENDINGS)}; format= says what it is")
        return found
    return _format_of_folder(path)


def _format_of_folder(folder: Path) -> str:
    found: dict[str, None] = {}
    for parent, folders, files in os.walk(folder):
        names = set(files)
        if ".hydra" in folders:
            return "hydra"  # whatever else its jobs hold
        if "metrics.csv" in names and "hparams.yaml" in names:
            found["lightning"] = None
        if any("tfevents" in name for name in names):
            found["tensorboard"] = None
        if any(name.endswith(".wandb") for name in names):
            found["wandb"] = None
        if parent == str(folder):
            found |= dict.fromkeys(["mlflow"] if names & {"mlflow.db", "mlruns.db"} else [])
    if len(found) == 1:
        return next(iter(found))
    if found:
        raise ConfigError(f"{folder}: holds runs of {' and '.join(found)}; format= says which to read")
    if any(folder.glob("*/meta.yaml")):
        raise ConfigError(f"{folder}: an MLflow file store; file://{folder.resolve()} is its address")
    raise ConfigError(
        f"{folder}: holds no Hydra jobs (.hydra), Lightning CSV logs (metrics.csv), TensorBoard event files, "
        "mlflow.db or W&B runs (.wandb)"
    )


def load(
    source: str, study: str, wanted: Wanted, kind: str = "", command: list[str] | None = None
) -> Imported:
    """The study that a file, folder or address makes. Raises `UserError` for what isn't readable or clear."""
    if kind and kind not in READERS:
        raise ConfigError(f"format={kind}: not one of {', '.join(READERS)}")
    kind = kind or format_of(source)
    check_step(wanted.step)
    if wanted.step != "last" and kind not in WITH_STEPS:
        raise ConfigError(
            f"step={wanted.step}: {kind} has one value a run; {', '.join(WITH_STEPS)} have steps"
        )
    if wanted.file and kind != "hydra":
        raise ConfigError(f"file={wanted.file}: names the metrics file of Hydra jobs, and this is {kind}")
    if wanted.experiment and kind != "mlflow":
        raise ConfigError(f"experiment={wanted.experiment}: MLflow has experiments, and this is {kind}")
    read: Read = import_module(f"cbam_ablate.sources.{READERS[kind]}").read
    try:
        runs, notes = read(source if kind == "mlflow" else Path(source), wanted)
    except OSError as error:
        raise DataError(f"{source}: can't be read ({error.strerror or error})") from None
    except ConfigError as error:
        message = str(error)
        raise ConfigError(message if message.startswith(source) else f"{source}: {message}") from None
    if not runs:
        raise ConfigError(f"{source}: holds no runs as {kind} leaves them")
    name_runs(runs, study)
    return study_of(runs, notes, study, wanted, command or ["cbam-ablate", "import", source])


def study_of(runs: list[Found], notes: list[str], study: str, wanted: Wanted, command: list[str]) -> Imported:
    """The study of runs that were read. Raises `ConfigError` where nothing was measured."""
    if not runs:
        raise ConfigError("holds no runs")
    seed = wanted.seed[0] if len(wanted.seed) == 1 else ""
    layout = find_axes(runs, wanted.axes, seed)
    missing = [name for name in wanted.shown if name not in (*layout.axes, layout.seed)]
    if missing:
        layout = find_axes(runs, [*layout.axes, *missing], layout.seed)
    layout = number_repeats(runs, layout)
    shown, more = choose_metrics(runs, wanted.metrics)
    if not shown:
        errors = next((f"; {run.address}: {run.error}" for run in runs if run.error), "")
        raise ConfigError(f"no run of {len(runs)} measured anything{errors}")
    better, guessed = directions(shown, wanted.better)
    notes = [
        *notes,
        *layout.notes,
        *places(runs, layout),
        *_states(runs),
        *oddities(runs, shown),
        *(_ends(runs, shown) if wanted.step == "last" else ()),
        *more,
        *guessed,
    ]
    table = {
        "metrics": shown,
        "better": better,
        "costs": [name for name in COSTS if any(name in run.values for run in runs)],
    }
    manifest = manifest_of(runs, study, layout.axes, layout.seed, command, table, notes)
    return Imported(runs, manifest)


def _ends(runs: list[Found], shown: list[str]) -> list[str]:
    """A sentence for each metric whose last values are of different steps."""
    found = []
    for name in shown:
        last = [max((row["epoch"] for row in run.history if name in row), default=None) for run in runs]
        steps = sorted({step for step in last if isinstance(step, int | float)})
        if len(steps) > 1:
            found.append(
                f"{name}: the last values are of steps {steps[0]:g} to {steps[-1]:g}; step= takes one of all."
            )
    return found


def _states(runs: list[Found]) -> list[str]:
    unfinished = [run for run in runs if run.state != "finished"]
    if not unfinished:
        return []
    several, error = len(unfinished) > 1, unfinished[0].error
    why = f"{', the first' if several else ''}: {error}" if error else ""
    many = f"{count(len(unfinished), 'run')} of {len(runs)} {'have' if several else 'has'} no result"
    return [f"{many} ({listed([run.address for run in unfinished], 3)}{why})."]


def name_runs(runs: list[Found], study: str) -> None:
    """Gives runs their keys, by the study and the name in their source that a reader put there."""
    for run in runs:
        run.key = run_key(study, run.key)
