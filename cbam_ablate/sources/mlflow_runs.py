"""Runs of MLflow: a SQLite file, read as it is, or a tracking address, by MLflow's own client."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from cbam_ablate.errors import ConfigError, DataError, ServiceError
from cbam_ablate.sources.found import Found, Wanted, count, listed
from cbam_ablate.sources.lightning import take
from cbam_ablate.sources.series import Series, once, rule_of
from cbam_ablate.sources.text import read_cell

STATES = {
    "FINISHED": ("finished", ""), "FAILED": ("failed", "bug"), "KILLED": ("failed", "killed"),
    "RUNNING": ("interrupted", ""), "SCHEDULED": ("interrupted", ""),
}  # fmt: skip
PAGE = 1000
"""Runs a request."""
INFINITE = 1.7976931348623157e308
"""What MLflow keeps for infinity."""


def read(source: str, wanted: Wanted) -> tuple[list[Found], list[str]]:
    """The runs of an MLflow database or address, and sentences about them. Raises `UserError`."""
    if "://" in source and not source.startswith("sqlite:///"):
        return _ask(source, wanted)
    path = Path(source.removeprefix("sqlite:///"))
    if path.is_dir():
        path = next((path / name for name in ("mlflow.db", "mlruns.db") if (path / name).exists()), path)
    if not path.is_file():
        raise ConfigError(f"{path}: no such MLflow database")
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as base:
            return _from_base(base, wanted)
    except sqlite3.Error as error:
        raise DataError(f"{path}: is no MLflow database that can be read ({error})") from None


def _from_base(base: sqlite3.Connection, wanted: Wanted) -> tuple[list[Found], list[str]]:
    chosen = _experiment(
        dict(base.execute("SELECT name, experiment_id FROM experiments")), wanted, _counts(base)
    )
    rows = base.execute(
        "SELECT run_uuid, name, status, lifecycle_stage FROM runs WHERE experiment_id = ? "
        "ORDER BY start_time, run_uuid",
        (chosen,),
    ).fetchall()
    own = "run_uuid IN (SELECT run_uuid FROM runs WHERE experiment_id = ?)"
    params: dict[str, dict[str, Any]] = {}
    for run, name, text in base.execute(f"SELECT run_uuid, key, value FROM params WHERE {own}", (chosen,)):
        params.setdefault(run, {})[name] = read_cell(text)
    series: dict[str, Series] = {}
    points = f"SELECT run_uuid, key, step, value, is_nan FROM metrics WHERE {own} ORDER BY step, timestamp"
    for run, name, step, value, is_nan in base.execute(points, (chosen,)):
        series.setdefault(run, {}).setdefault(name, []).append(
            (step, float("nan") if is_nan else _number(value))
        )
    parents = {run for (run,) in base.execute("SELECT value FROM tags WHERE key = 'mlflow.parentRunId'")}
    there = [(run, name or run, status) for run, name, status, stage in rows if stage == "active"]
    deleted = len(rows) - len(there)
    runs = [
        _run(run, name, status, params.get(run, {}), series.get(run, {}), wanted.step)
        for run, name, status in there
    ]
    kept, notes = _without_parents(runs, parents)
    if deleted:
        notes.append(
            f"{count(deleted, 'run')} {'are' if deleted > 1 else 'is'} deleted in MLflow and left out."
        )
    return kept, notes


def _counts(base: sqlite3.Connection) -> dict[Any, int]:
    return dict(
        base.execute("SELECT experiment_id, count(*) FROM runs WHERE lifecycle_stage = 'active' GROUP BY 1")
    )


def _experiment(known: dict[str, Any], wanted: Wanted, runs: dict[Any, int]) -> Any:
    """The id of the experiment asked for, or of the only one with runs. Raises `ConfigError`."""
    if wanted.experiment:
        found = [n for name, n in known.items() if wanted.experiment in (name, str(n))]
        if not found:
            raise ConfigError(f"experiment={wanted.experiment}: not there; there are {listed(known, 20)}")
        return found[0]
    filled = [name for name, number in known.items() if runs.get(number)]
    if len(filled) != 1:
        raise ConfigError(f"which experiment? experiment=NAME of {listed(filled, 20) or 'none with runs'}")
    return known[filled[0]]


def _number(value: float) -> float:
    return float("inf") if value >= INFINITE else float("-inf") if value <= -INFINITE else value


def _run(run: str, name: str, status: str, params: dict[str, Any], series: Series, step: str) -> Found:
    found = Found(run, name, params, rule=rule_of(step))
    once(series)
    take(found, series, step)
    state, failure = STATES.get(status, ("interrupted", ""))
    if state != "finished":
        found.state, found.failure, found.error = state, failure, f"MLflow has it as {status}"
    return found


def _without_parents(runs: list[Found], parents: set[str]) -> tuple[list[Found], list[str]]:
    """Parent runs that measured nothing only hold their children together."""
    empty = [run for run in runs if run.key in parents and not run.values]
    kept = [run for run in runs if run not in empty]
    if not empty:
        return kept, []
    many = len(empty) > 1
    return kept, [
        f"{count(len(empty), 'parent run')} ({listed([run.address for run in empty], 3)}) "
        f"{'have' if many else 'has'} no metrics of {'their' if many else 'its'} own and "
        f"{'are' if many else 'is'} left out."
    ]


def _ask(address: str, wanted: Wanted) -> tuple[list[Found], list[str]]:
    """The runs of a tracking server; histories are asked for only where a step is."""
    try:
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")  # its own 7 take minutes
        from mlflow.exceptions import MlflowException
        from mlflow.tracking import MlflowClient
    except ImportError:
        raise ConfigError(f"{address}: needs MLflow's client: pip install 'cbam_ablate[mlflow]'") from None
    client = MlflowClient(tracking_uri=address)
    try:
        known = {one.name: one.experiment_id for one in _pages(client.search_experiments)}
        filled = {n: 1 for n in known.values() if client.search_runs([n], max_results=1)}
        chosen = _experiment(known, wanted, filled)
        runs, parents = [], set()
        for run in _pages(
            client.search_runs, experiment_ids=[chosen], order_by=["attributes.start_time ASC"]
        ):
            info, data = run.info, run.data
            series = {
                name: _history(client, info.run_id, name, value, wanted.step)
                for name, value in data.metrics.items()
            }
            params = {name: read_cell(text) for name, text in data.params.items()}
            runs.append(
                _run(info.run_id, info.run_name or info.run_id, info.status, params, series, wanted.step)
            )
            parents.add(data.tags.get("mlflow.parentRunId"))
    except MlflowException as error:
        raise ServiceError(f"{address}: {' '.join(str(error).split())[:300]}") from None
    return _without_parents(runs, parents)


def _pages(search: Any, **words: Any) -> Iterator[Any]:
    token = None
    while True:
        page = search(max_results=PAGE, page_token=token, **words)
        yield from page
        token = page.token
        if not token:
            return


def _history(client: Any, run: str, name: str, last: float, step: str) -> list[tuple[int, float]]:
    if step == "last":
        return [(0, _number(last))]
    points = client.get_metric_history(run, name)
    return [
        (one.step, _number(one.value)) for one in sorted(points, key=lambda one: (one.step, one.timestamp))
    ]
