"""The run store: one folder a run, named by its key; the truth that every table and log is derived from."""

import contextlib
import dataclasses
import difflib
import itertools
import logging
import os
import shlex
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from filelock import FileLock, Timeout

from cbam_ablate.errors import ConfigError, StoreError
from cbam_ablate.runs.claim import Claim, acquire, describe, holder, identify, lives, why_no_links
from cbam_ablate.runs.files import parse_lines, read_json, read_lines, write_json
from cbam_ablate.runs.naming import names_of
from cbam_ablate.runs.results import DENIED, Problem, read_result
from cbam_ablate.runs.together import HISTORIES, RESULTS, keys_of_many, lines_of

log = logging.getLogger(__name__)


class State(NamedTuple):
    """Where a run stands: new, running, finished, failed, interrupted, or unusable by its result.json.

    `failure` is bug, out_of_memory, diverged, timeout, service, data or killed; `error` says more in one
    line.
    """

    name: str
    failure: str | None = None
    error: str = ""

    @property
    def diverged(self) -> bool:
        """Whether training ended in a loss that is no number: an outcome, which the same again gives."""
        return self.name == "failed" and self.failure == "diverged"


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
        """What the run found; None where it hasn't finished, or where its result can't be used."""
        return read_result(self.path, self.key)[0]

    def problem(self) -> Problem | None:
        """What is wrong with the run's result; None where there is none or it is right."""
        return read_result(self.path, self.key)[1]

    def history(self) -> list[dict[str, Any]]:
        own = self.path / HISTORIES
        if own.exists():
            return read_lines(own)
        return parse_lines(lines_of(self.path, HISTORIES).decode(errors="replace"))

    def status(self) -> dict[str, Any]:
        return read_json(self.path / "status.json") or {}

    def state(self) -> State:
        """What the files and the processes say together: a run whose process is gone was killed.

        One whose files are another user's and may not be read is unusable.
        """
        return self.look()[0]

    def look(self) -> tuple[State, dict[str, Any] | None]:
        """The run's state, and its result where it has finished."""
        try:
            result, problem = read_result(self.path, self.key)
            return (self._unfinished(problem), None) if result is None else (State("finished"), result)
        except PermissionError:
            return State("unusable", None, f"its folder {DENIED}"), None

    def _unfinished(self, problem: Problem | None) -> State:
        if problem is None and not self.path.is_dir():
            return State("new")
        if problem is not None and DENIED in problem.error:
            return State("unusable", None, problem.error)
        if holder(self.path) is not None:
            return State("running")
        if problem is not None:
            return State("unusable", None, problem.error)
        status = self.status()
        name = status.get("state")
        if name == "running":
            return State("failed", "killed", "its process ended without a word")
        if name in ("failed", "interrupted"):
            return State(name, status.get("class"), str(status.get("error") or ""))
        return State("new")


def _near(word: str, names: Iterable[str]) -> str:
    """The names or keys that may be meant by a word that is none of them."""
    known = list(dict.fromkeys(names))
    inside = [name for name in known if word and word.lower() in name.lower()]
    near = inside[:3] or difflib.get_close_matches(word, known, n=3)
    if near:
        return f"; did you mean {' or '.join(shlex.quote(name) for name in near)}?"
    return "; `cbam-ablate runs` lists them" if known else ""


NAMED = 2.0
"""Seconds in which a process that took a lock has written who it is."""
_locks: list[FileLock] = []
"""What this process holds until it ends."""


class RunStore:
    """All runs below one root."""

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)

    def make_writable(self) -> None:
        """Makes the store's folder. Raises `StoreError` where it can't be written to.

        A word says where runs will have to be claimed without hard links.
        """
        try:
            (self.root / "runs").mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=self.root / "runs", prefix=".") as file:
                why = why_no_links(file.name)
        except OSError as error:
            raise StoreError(f"store={self.root}: can't be written to ({error.strerror})") from error
        if why is not None:
            log.warning(
                "store=%s: has no hard links (%s); runs are claimed by files that nobody else has made",
                self.root,
                why,
            )

    def run(self, key: str) -> Run:
        return Run(self.root / "runs" / key)

    def runs(self) -> list[Run]:
        """Every run, by key: its folder, or where an export has it as a line the folder it would have."""
        folder = self.root / "runs"
        own = {path for path in folder.iterdir() if path.is_dir()} if folder.is_dir() else set()
        return [Run(path) for path in sorted(own | {folder / key for key in keys_of_many(folder)})]

    def find(self, word: str) -> Run:
        """The run whose key starts so, or that is called so. Raises `ConfigError` where that isn't one."""
        runs = self.runs()
        found = [run for run in runs if run.key.startswith(word)]
        if len(found) == 1:
            return found[0]
        if found:
            keys = ", ".join(run.key for run in found[:5])
            raise ConfigError(f"run={word}: {len(found)} runs start so ({keys}...); give more digits")
        names = {run: names_of(run.config()) for run in runs}
        named = {run.key: run for run in runs if word in names[run]}
        if len(named) > 1:
            raise ConfigError(f"run={word}: {len(named)} runs are called so: {', '.join([*named][:5])}")
        if named:
            return next(iter(named.values()))
        hint = f"; study={word} is a study, whose runs `cbam-ablate runs study={word}` lists"
        there = word and (self.study(word) / "manifest.json").is_file()
        known = [name for own in names.values() for name in own] + [run.key for run in runs]
        hint = hint if there else _near(word, known)
        raise ConfigError(f"run={word}: no run's key starts so and none is called so in {self.root}{hint}")

    def study(self, name: str) -> Path:
        """The folder of a study's manifest and table."""
        return self.root / "studies" / name

    def claim(self, run: Run, anew: bool = False, watch: bool = False) -> Claim | None:
        """The right to train a run, as `acquire` gives it; None where a live process holds it.

        What is there is moved to `replaced` first where its result can't be used, and with `anew` always;
        nothing is deleted.
        """
        self.make_room(run)
        claim = acquire(run.path, watch)
        if claim is None or not (anew or run.problem()):
            return claim
        self._move_away(run)
        return acquire(run.path)

    def make_room(self, run: Run) -> None:
        """Moves to `replaced` a file, or a link to nothing, that has the place of a run's folder."""
        if run.path.is_dir() or not os.path.lexists(run.path):
            return
        target = self._aside(run)
        target.touch()  # onto a file no folder can be moved that another process has made by now
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            os.replace(run.path, target)
            log.warning("run %s: what had its folder's place, and is none, is %s now", run.key, target)

    def set_aside(self, run: Run) -> None:
        """Moves a run's folder to `replaced`, to be trained anew. Raises `StoreError` where it is trained."""
        if not run.path.exists():
            if lines_of(run.path, RESULTS):
                (run.path / "claims").mkdir(parents=True)  # from here on its folder counts, not its line
            return
        if acquire(run.path) is None:
            who = describe(holder(run.path) or {})
            raise StoreError(f"run {run.key} is being trained by {who}; wait for its end")
        self._move_away(run)

    def replace(self, name: str, keys: Iterable[str]) -> None:
        """Sets these runs aside for this process, which alone may do so for `name` until it ends.

        Raises `StoreError` where another has, or trains one of them; nothing is moved then.
        """
        folder = self.root / "replaced"
        folder.mkdir(parents=True, exist_ok=True)
        lock, who = FileLock(folder / f".{name}.lock"), folder / f".{name}.json"
        try:
            lock.acquire(timeout=0)
        except Timeout:
            other = describe(_locked_by(who))
            raise StoreError(
                f"sweep.mode=force: {name} is being trained anew by {other}; wait for its end"
            ) from None
        except OSError as error:
            raise StoreError(
                f"store={self.root}: {error.filename} can't be written ({error.strerror})"
            ) from error
        _locks.append(lock)
        write_json(who, identify(os.getpid()))
        runs = [self.run(key) for key in keys]
        for run in runs:
            if held := holder(run.path):
                raise StoreError(
                    f"sweep.mode=force: run {run.key} is being trained by {describe(held)}; wait for its end"
                )
        for run in runs:
            self.set_aside(run)

    def _move_away(self, run: Run) -> None:
        run.path.rename(self._aside(run))

    def _aside(self, run: Run) -> Path:
        """A path in `replaced` that nothing has."""
        folder = self.root / "replaced"
        folder.mkdir(parents=True, exist_ok=True)
        return next(
            path
            for number in itertools.count(1)
            if not os.path.lexists(path := folder / f"{run.key}.{number}")
        )


def _locked_by(who: Path) -> dict[str, Any]:
    """The process that took a lock, which it writes here once it has it; waited for briefly."""
    deadline = time.monotonic() + NAMED
    while not lives(found := read_json(who) or {}) and time.monotonic() < deadline:
        time.sleep(0.02)
    return found
