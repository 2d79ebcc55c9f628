"""The run store: one folder a run, named by its key; the truth that every table and log is derived from."""

import dataclasses
import itertools
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

from cbam_ablate.config.errors import ConfigError
from cbam_ablate.runs.claim import holder
from cbam_ablate.runs.files import read_json, read_lines


class State(NamedTuple):
    """Where a run stands: new, running, finished, failed or interrupted.

    `failure` is bug, out_of_memory, diverged, timeout or killed; `error` says more in one line.
    """

    name: str
    failure: str | None = None
    error: str = ""


@dataclasses.dataclass(frozen=True)
class Run:
    """One run's folder."""

    path: Path

    @property
    def key(self) -> str:
        return self.path.name

    @property
    def last(self) -> Path:
        return self.path / "checkpoints" / "last.pt"

    @property
    def best(self) -> Path:
        return self.path / "checkpoints" / "best.pt"

    @property
    def predictions(self) -> Path:
        return self.path / "predictions.npz"

    def config(self) -> dict[str, Any] | None:
        return read_json(self.path / "config.json")

    def result(self) -> dict[str, Any] | None:
        return read_json(self.path / "result.json")

    def history(self) -> list[dict[str, Any]]:
        return read_lines(self.path / "history.jsonl")

    def status(self) -> dict[str, Any]:
        return read_json(self.path / "status.json") or {}

    def state(self) -> State:
        """What the files and the processes say together: a run whose process is gone was killed."""
        if self.result() is not None:
            return State("finished")
        if not self.path.is_dir():
            return State("new")
        if holder(self.path) is not None:
            return State("running")
        status = self.status()
        name = status.get("state")
        if name == "running":
            return State("failed", "killed", "its process ended without a word")
        if name in ("failed", "interrupted"):
            return State(name, status.get("class"), str(status.get("error") or ""))
        return State("new")


class RunStore:
    """All runs below one root."""

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)

    def make_writable(self) -> None:
        """Makes the store's folder. Raises `ConfigError` where it can't be written to."""
        try:
            (self.root / "runs").mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.root / "runs"):
                pass
        except OSError as error:
            raise ConfigError(f"store={self.root}: can't be written to ({error.strerror})") from error

    def run(self, key: str) -> Run:
        return Run(self.root / "runs" / key)

    def runs(self) -> list[Run]:
        """Every run folder, by key."""
        folder = self.root / "runs"
        return [Run(path) for path in sorted(folder.iterdir()) if path.is_dir()] if folder.is_dir() else []

    def find(self, prefix: str) -> Run:
        """The run whose key starts so. Raises `ConfigError` where none or several do."""
        found = [run for run in self.runs() if run.key.startswith(prefix)]
        if len(found) == 1:
            return found[0]
        if not found:
            raise ConfigError(f"run={prefix}: no such run in {self.root / 'runs'}")
        keys = ", ".join(run.key for run in found[:5])
        raise ConfigError(f"run={prefix}: {len(found)} runs start so ({keys}...); give more digits")

    def study(self, name: str) -> Path:
        """The folder of a study's manifest and table."""
        return self.root / "studies" / name

    def set_aside(self, run: Run) -> Path | None:
        """Moves a run's folder out of the way, to be trained anew; nothing is deleted."""
        if not run.path.exists():
            return None
        folder = self.root / "replaced"
        folder.mkdir(parents=True, exist_ok=True)
        for number in itertools.count(1):
            target = folder / f"{run.key}.{number}"
            if not target.exists():
                run.path.rename(target)
                return target
        return None
