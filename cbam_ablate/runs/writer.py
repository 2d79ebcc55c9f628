"""The only writer of a run's folder."""

import contextlib
import json
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cbam_ablate.runs.claim import Claim
from cbam_ablate.runs.files import write_bytes, write_json, write_text
from cbam_ablate.runs.store import Run

HEARTBEAT = 2.0
"""Seconds between writes of status.json while a run is at work."""


class RunWriter:
    """Writes the folder of a claimed run, and shows a pulse while it is at work.

    `echo` takes each line of train.log as well; `study` is the one that asks for the run, which status.json
    names from the first on. Use as a context: leaving it releases the claim.
    """

    def __init__(
        self,
        run: Run,
        claim: Claim,
        config: dict[str, Any],
        echo: Callable[[str], None],
        study: str | None = None,
    ) -> None:
        self.run = run
        self._claim = claim
        self._echo = echo
        self._progress: dict[str, Any] = {"study": run.status().get("study") or study}
        self._done = threading.Event()
        (run.path / "checkpoints").mkdir(parents=True, exist_ok=True)
        for left_over in [*run.path.glob(".*.json.*"), *run.path.glob("checkpoints/.*")]:
            left_over.unlink(missing_ok=True)
        write_json(run.path / "config.json", config)
        self._started = _utc()
        self._beat()
        self._pulse = threading.Thread(target=self._keep_beating, daemon=True)

    def __enter__(self) -> "RunWriter":
        self._pulse.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def release(self) -> None:
        """Gives the claim back; nothing but views and a `note` on them may be written afterwards."""
        self._stop()
        self._claim.release()

    @property
    def last(self) -> Path:
        return self.run.last

    @property
    def best(self) -> Path:
        return self.run.best

    def line(self, text: str) -> None:
        """One line of train.log and of the terminal, which may be gone."""
        note(self.run, text)
        with contextlib.suppress(OSError):
            self._echo(text)

    def progress(self, **values: Any) -> None:
        """What status.json says at its next beat: epoch, epochs, step, steps and the like."""
        self._progress = {**self._progress, **values}

    def epoch(self, record: dict[str, Any]) -> None:
        """Appends one epoch to history.jsonl."""
        with (self.run.path / "history.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(record, allow_nan=False) + "\n")

    def rewrite_history(self, records: list[dict[str, Any]]) -> None:
        """Makes history.jsonl hold just these epochs: those that the resumed checkpoint has seen."""
        text = "".join(json.dumps(record, allow_nan=False) + "\n" for record in records)
        write_text(self.run.path / "history.jsonl", text)

    def start_over(self) -> None:
        """Leaves no epochs and no best weights of an earlier try."""
        if (self.run.path / "history.jsonl").exists():
            self.rewrite_history([])
        for path in self.best.parent.glob(f"*{self.best.name}"):
            path.unlink()

    def predictions(self, content: bytes) -> None:
        """Writes predictions.npz."""
        write_bytes(self.run.predictions, content)

    def finish(self, result: dict[str, Any]) -> None:
        """Ends the run with the one rename that makes it finished."""
        self._stop()
        self._status({"state": "finished"})
        write_json(self.run.path / "result.json", result)

    def fail(self, failure: str, error: str, trace: str) -> None:
        """Records a failure by its class, with the whole traceback beside it."""
        self._stop()
        write_text(self.run.path / "traceback.txt", trace)
        self._status({"state": "failed", "class": failure, "error": error})

    def interrupt(self) -> None:
        """Records that the run was asked to stop and can be continued."""
        self._stop()
        self._status({"state": "interrupted", "class": None, "error": "stopped on request"})

    def put_back(self) -> None:
        """Records that the run is left to another try, with nothing done to it."""
        self._stop()
        self._status({"state": "new"})

    def _keep_beating(self) -> None:
        while not self._done.wait(HEARTBEAT):
            with contextlib.suppress(OSError):
                self._beat()

    def _beat(self) -> None:
        self._status({"state": "running"})

    def _status(self, values: dict[str, Any]) -> None:
        status = {**values, **self._progress, "started": self._started, "updated": time.time()}
        write_json(self.run.path / "status.json", status)

    def _stop(self) -> None:
        self._done.set()
        if self._pulse.is_alive():
            self._pulse.join()


def note(run: Run, text: str) -> None:
    """One line of train.log."""
    with (run.path / "train.log").open("a", encoding="utf-8") as file:
        file.write(f"{datetime.now():%H:%M:%S} {text}\n")


def mark_ended(run: Run, failure: str, error: str) -> None:
    """Records, from outside, why a run's process ended that could not say so itself."""
    status = {**run.status(), "state": "failed", "class": failure, "error": error, "updated": time.time()}
    write_json(run.path / "status.json", status)


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
