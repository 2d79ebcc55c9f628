"""Runs of a W&B project, ours or anybody's, as a store of their own that tables are made from."""

import http.client
import math
import ssl
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

from cbam_ablate.config.canonical import is_run_key
from cbam_ablate.config.options import ALIASES
from cbam_ablate.errors import ConfigError, ServiceError
from cbam_ablate.loggers.wandb_run import clean, client, tag_of
from cbam_ablate.loggers.wandb_study import JOB
from cbam_ablate.runs.provenance import FOREIGN_RULE
from cbam_ablate.sources.found import Found, flat, plain, run_key

PAGE = 50
"""Runs a request."""
PATIENCE = 10.0
"""Seconds in which a server says anything at all."""
WAITS = (1, 2, 4, 8, 16, 32)
"""Seconds before each further try of a request that failed."""
FINAL = (400, 401, 403, 404)
"""HTTP statuses that trying again doesn't help."""

T = TypeVar("T")


def pull(path: str, tag: str | None, progress: Callable[[int, int], None]) -> list[Found]:
    """Every run of `entity/project`, those with a tag only where one is given, with its full history.

    `progress` is told (runs read, runs there are). Raises `ConfigError` with W&B's words where it can't.
    """
    wandb = client()
    reach(str(wandb.setup().settings.base_url))

    def tried(what: Callable[[], T], pauses: Sequence[int] = WAITS) -> T:
        waits = list(pauses)
        while True:
            try:
                return what()
            except Exception as error:  # W&B's client raises errors of many libraries
                status = getattr(getattr(error, "response", None), "http_status", None)
                hopeless = isinstance(error, ValueError | wandb.errors.UsageError) or status in FINAL
                if hopeless or not waits:
                    raise ConfigError(f"wandb pull {path}: {clean(str(error))}") from None
                time.sleep(waits.pop(0))

    api = tried(lambda: wandb.Api(timeout=30), WAITS[:2])
    filters = {"tags": tag_of(tag)} if tag else {}
    runs = tried(lambda: api.runs(path, filters=filters, per_page=PAGE, lazy=False))
    total = tried(lambda: len(runs))
    found = []
    for number in range(total):
        run = tried(partial(_at, runs, number))
        if run is None:
            break
        if run.job_type != JOB:
            rows = tried(partial(_history, run))
            found.append(_found(run, path, rows))
        progress(number + 1, total)
    return found


def reach(url: str) -> None:
    """Raises `ServiceError` where no server answers; W&B's client would ask for minutes."""
    problems: list[str] = []

    def ask() -> None:
        try:
            with urllib.request.urlopen(url, timeout=PATIENCE):
                pass
        except (urllib.error.HTTPError, ssl.SSLError):
            pass  # whoever refuses is there
        except (OSError, ValueError, http.client.HTTPException) as error:
            why = getattr(error, "reason", error)
            if not isinstance(why, ssl.SSLError):
                problems.append(str(why))

    asking = threading.Thread(target=ask, daemon=True)  # names may take longer to find than any time given
    asking.start()
    asking.join(1.2 * PATIENCE)
    if asking.is_alive() or problems:
        why = clean(problems[0]) if problems else "no answer"
        raise ServiceError(
            f"wandb pull: {clean(url)} can't be reached ({why}); is the network up, and WANDB_BASE_URL right?"
        )


def _at(runs: Any, number: int) -> Any:
    """By index, which loads pages as needed and, unlike iterating, can be tried again."""
    try:
        return runs[number]
    except IndexError:
        return None


def _history(run: Any) -> list[dict[str, Any]]:
    """All of it: `history()` would sample 500 rows."""
    return list(run.scan_history(use_cache=False))


def _found(run: Any, path: str, rows: list[dict[str, Any]]) -> Found:
    config = {name: plain(value) for name, value in sorted(flat(run.config))}
    ours = is_run_key(run.id) and "model.backbone" in config
    if ours:
        config = {name: value for name, value in config.items() if name not in ALIASES}
    summary = _numbers(dict(run.summary_metrics))
    own = {name: dict(summary.pop(name, None) or {}) for name in ("selection", "provenance")}
    found = Found(
        run.id if ours else run_key(path, run.id),
        f"{path}/{run.id}",
        config,
        values={
            name: math.nan if value == "NaN" else value  # as W&B writes it in JSON
            for name, value in flat(summary)
            if value == "NaN" or not isinstance(value, str)
        },
        history=[{"epoch": row.get("epoch", row.get("_step")), **_public(row)} for row in rows],
        rule=FOREIGN_RULE,
        sparse=ours,
        selection=own["selection"] if ours else {},
        provenance=own["provenance"] if ours else {},
    )
    if run.state != "finished":
        ended = run.state in ("crashed", "failed", "killed")
        found.state, found.failure = ("failed", "killed") if ended else ("interrupted", "")
        found.error = f"W&B has it as {run.state}"
    return found


def _public(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in _numbers(row).items() if not name.startswith("_")}


def _numbers(values: dict[str, Any]) -> dict[str, Any]:
    """Nested values without W&B's tables, images and other objects, of which it keeps type, size and path."""
    found = {n: _numbers(v) if isinstance(v, dict) else v for n, v in values.items() if not _is_object(v)}
    return {name: value for name, value in found.items() if value != {}}


def _is_object(value: Any) -> bool:
    return isinstance(value, dict) and "_type" in value
