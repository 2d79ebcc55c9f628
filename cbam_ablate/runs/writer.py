"""The only writer of a run's folder."""

import contextlib
import json
import logging
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cbam_ablate.config.canonical import to_dict
from cbam_ablate.config.schema import RunConfig
from cbam_ablate.runs.claim import Claim, LostClaimError
from cbam_ablate.runs.files import make_own, write_bytes, write_json, write_text
from cbam_ablate.runs.provenance import same_origin
from cbam_ablate.runs.results import FORMAT
from cbam_ablate.runs.store import Run
from cbam_ablate.runs.views import write_views

HEARTBEAT = 2.0
"""Seconds between writes of status.json while a run is at work."""
ROOMS = ("training", "models", "data", "accel")
"""Whose messages a run's log takes too while the run is trained in this process."""


class RunWriter:
    """Writes the folder of a claimed run, and shows a pulse while it is at work.

    `study` is the one that asks for the run, which status.json names from the first on. `logger` is the run's
    own, whose messages go to train.log. Use as a context: leaving it releases the claim. Every write first
    asks whether the run is still this process's, and raises `LostClaimError` where it isn't.
    """

    def __init__(self, run: Run, claim: Claim, cfg: RunConfig, study: str | None = None) -> None:
        self.run, self.cfg = run, cfg
        self.logger = logging.getLogger(f"cbam_ablate.run.{run.key}")
        self.lost = False
        self._processes: list[dict[str, Any]] = []
        self._claim = claim
        self._history: list[dict[str, Any]] = []
        self._progress: dict[str, Any] = {"study": run.status().get("study") or study}
        self._done = threading.Event()
        (run.path / "checkpoints").mkdir(parents=True, exist_ok=True)
        for left_over in [*run.path.glob(".*.*"), *run.path.glob("checkpoints/.*")]:
            left_over.unlink(missing_ok=True)
        make_own(run.path / "train.log")
        write_json(run.path / "config.json", to_dict(cfg))
        self._started = _utc()
        self._beat()
        self._pulse = threading.Thread(target=self._keep_beating, daemon=True)
        self._handler = _TrainLog(self)

    def __enter__(self) -> "RunWriter":
        package = logging.getLogger("cbam_ablate")
        if package.level == logging.NOTSET:
            package.setLevel(logging.INFO)
        package.addHandler(self._handler)
        self._pulse.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()
        logging.getLogger("cbam_ablate").removeHandler(self._handler)

    def release(self) -> None:
        """Gives the claim back; nothing but the log may be written afterwards."""
        self._stop()
        if not self.lost:
            self._claim.release()

    def check(self) -> None:
        """Raises `LostClaimError` where the run is another process's by now."""
        try:
            self._claim.check()
        except LostClaimError:
            self.lost = True
            raise

    @property
    def last(self) -> Path:
        return self.run.last

    @property
    def best(self) -> Path:
        return self.run.best

    def trained_by(self, before: list[dict[str, Any]], here: dict[str, Any]) -> None:
        """Notes the provenance of the processes that trained the run before, and of this one."""
        self._processes = [*before, here]

    def stamp(self, **here: Any) -> dict[str, Any]:
        """What the run's checkpoints say of themselves: key, format, and which processes trained the run.

        `here` is what else is to be said of this process.
        """
        if self._processes:
            self._processes[-1] |= here
        processes = self._processes
        if len(processes) > 1 and same_origin(processes[-2], processes[-1]):
            processes = [*processes[:-2], processes[-1]]
        return {"key": self.run.key, "schema": FORMAT, "provenance": processes}

    def line(self, text: str) -> None:
        """One line of the run's log."""
        self.logger.info(text)

    def progress(self, **values: Any) -> None:
        """What status.json says at its next beat: epoch, epochs, step, steps and the like."""
        self._progress = {**self._progress, **values}

    def epoch(self, record: dict[str, Any]) -> None:
        """Appends one epoch to history.jsonl, and draws what is made from it."""
        line = json.dumps(record, allow_nan=False) + "\n"
        self.check()
        with (self.run.path / "history.jsonl").open("a", encoding="utf-8") as file:
            file.write(line)
        self._history.append(record)
        write_views(self.run, self.cfg, self._history, self.logger)

    def rewrite_history(self, records: list[dict[str, Any]]) -> None:
        """Makes history.jsonl hold just these epochs: those that the resumed checkpoint has seen."""
        text = "".join(json.dumps(record, allow_nan=False) + "\n" for record in records)
        self.check()
        write_text(self.run.path / "history.jsonl", text)
        self._history = list(records)
        if records:
            write_views(self.run, self.cfg, self._history, self.logger)

    def start_over(self) -> None:
        """Leaves no epochs and no best weights of an earlier try."""
        if (self.run.path / "history.jsonl").exists():
            self.rewrite_history([])
        for path in self.best.parent.glob(f"*{self.best.name}"):
            path.unlink()

    def predictions(self, content: bytes) -> None:
        """Writes predictions.npz."""
        self.check()
        write_bytes(self.run.predictions, content, sync=True)

    def finish(self, result: dict[str, Any]) -> None:
        """Ends the run with the one rename that makes it finished."""
        self._stop()
        self._status({"state": "finished"}, sync=True)
        self.check()
        write_json(self.run.path / "result.json", result, sync=True)

    def fail(self, failure: str, error: str, trace: str) -> None:
        """Records a failure by its class, with the whole traceback beside it."""
        self._stop()
        self.check()
        write_text(self.run.path / "traceback.txt", trace)
        self._status({"state": "failed", "class": failure, "error": error}, sync=True)

    def interrupt(self) -> None:
        """Records that the run was asked to stop and can be continued."""
        self._stop()
        self._status({"state": "interrupted", "class": None, "error": "stopped on request"}, sync=True)

    def put_back(self) -> None:
        """Records that the run is left to another try, with nothing done to it."""
        self._stop()
        self._status({"state": "new"})

    def _keep_beating(self) -> None:
        while not self._done.wait(HEARTBEAT):
            with contextlib.suppress(OSError):
                try:
                    self._beat()
                except LostClaimError:
                    return

    def _beat(self) -> None:
        self._status({"state": "running"})

    def _status(self, values: dict[str, Any], sync: bool = False) -> None:
        status = {**values, **self._progress, "started": self._started, "updated": time.time()}
        self.check()
        write_json(self.run.path / "status.json", status, sync)

    def _stop(self) -> None:
        self._done.set()
        if self._pulse.is_alive():
            self._pulse.join()


class _TrainLog(logging.Handler):
    """A run's train.log: what its own logger says, and the rooms that train it."""

    def __init__(self, writer: RunWriter) -> None:
        super().__init__(logging.INFO)
        self._writer = writer
        self._names = {writer.logger.name, *(f"cbam_ablate.{room}" for room in ROOMS)}

    def emit(self, record: logging.LogRecord) -> None:
        name = record.name
        ours = name in self._names or ".".join(name.split(".")[:2]) in self._names
        if not ours or self._writer.lost:
            return
        with (
            contextlib.suppress(OSError),
            (self._writer.run.path / "train.log").open("a", encoding="utf-8") as file,
        ):
            file.write(f"{datetime.now():%H:%M:%S} {record.getMessage()}\n")


def mark_ended(run: Run, failure: str, error: str) -> None:
    """Records, from outside, why a run's process ended that could not say so itself."""
    status = {**run.status(), "state": "failed", "class": failure, "error": error, "updated": time.time()}
    write_json(run.path / "status.json", status, sync=True)


def _utc() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def keep_metric(run: Run, name: str, value: dict[str, Any]) -> None:
    """Writes metrics/NAME.json of a finished run; where the store can't be written to, nothing is kept."""
    with contextlib.suppress(OSError):
        (run.path / "metrics").mkdir(exist_ok=True)
        write_json(run.path / "metrics" / f"{name}.json", value)


def fill_in_predictions(run: Run, content: bytes) -> None:
    """Writes predictions.npz of a run that has finished."""
    write_bytes(run.predictions, content)
