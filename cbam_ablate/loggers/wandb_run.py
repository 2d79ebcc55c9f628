"""One run of the store as one W&B run, whose id is the run's key; sent again, it is written over."""

import contextlib
import hashlib
import io
import os
import re
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cbam_ablate.config.schema import RunConfig, WandbConfig
from cbam_ablate.loggers.beside import later, wandb_mode
from cbam_ablate.runs import Run, RunStore
from cbam_ablate.runs.files import read_json, write_json
from cbam_ablate.runs.naming import config_of, name_of

PATIENCE = 10.0
"""Seconds that W&B's start may take, and its last upload, while a run waits for its logger."""
AGAIN = 60.0
"""Seconds until a start that failed is tried again, as long as the run is trained."""
LOST = re.compile("ERROR|Fatal error|not be synced")
"""What W&B's client prints when it gives data up; it says so in no other way."""


DELETED = "W&B has deleted"
"""How the reason begins that trying again doesn't help."""
NOTED = re.compile(r'"status":(409|410).*deleted')
"""What W&B's client notes of a run's id that was deleted, which it goes on trying as long as it may."""
LOOK = 0.1
"""Seconds between looks at its notes while a run is started."""
LONGEST_TAG = 64


class NotSentError(Exception):
    """W&B's client could not send; its words, in one line."""


class WandbRun:
    """The W&B logger: see `loggers/follow.py`. `patience` is for W&B's start and its end, seconds each."""

    def __init__(self, run: Run, cfg: RunConfig, patience: float = PATIENCE) -> None:
        self.run, self.cfg, self.patience = run, cfg, patience
        self.tags = tags_of(run)
        self.rows: list[dict[str, Any]] = []
        self.live: Session | None = None
        self.state: dict[str, Any] = {}
        self.why, self.tried = "", 0.0
        _state_path(run).unlink(missing_ok=True)
        self._open()

    def epoch(self, record: dict[str, Any]) -> None:
        self.rows.append(record)
        if self.live is not None:
            self._log([record])
        elif time.monotonic() - self.tried > AGAIN:
            self._open()

    def end(self) -> str:
        """Writes down what became of it, for the sweep's end and for `wandb push`, and says it."""
        later_command = later(f"run={self.run.key}", self.run.path.parents[1])
        self.state = state = {"sent": False, "tags": self.tags}
        try:
            self.send()
        except NotSentError as error:
            state["why"] = str(error)
            message = f"W&B: run {self.run.key} was not sent ({error}); to send it later: {later_command}"
        else:
            live = self.live
            if live is not None and live.offline:
                state["offline"] = live.folder
                message = f"W&B: written offline to {live.folder}{live.no_key}; to send it: {later_command}"
            else:
                state |= {"sent": True, "url": live.url if live else ""}
                message = f"W&B: {state['url']}"
        with contextlib.suppress(OSError):
            write_state(self.run, state)
        return message

    def send(self) -> None:
        """Finishes the W&B run with what the run's folder holds. Raises `NotSentError`."""
        if self.live is None:
            raise NotSentError(self.why)
        result, problem = self.run.result(), self.run.problem()
        if problem is not None:
            raise NotSentError(problem.error)
        status = self.run.status()
        summary = {"study": status.get("study"), "started": status.get("started")}
        if result is not None:
            summary |= _summary(result)
        else:
            summary |= {"failure": status.get("class") or status.get("state"), "error": status.get("error")}
        self.live.finish(summary, failed=result is None)

    def _open(self) -> None:
        study = self.run.status().get("study") or next(iter(studies_of(self.run)), None)
        what = {
            "id": self.run.key,
            "name": name_of(self.cfg),
            "group": study and tag_of(study, 128),
            "tags": self.tags,
            "config": config_of(self.cfg),
            "job_type": "train",
        }
        try:
            self.live = Session(self.run.path.parents[1], self.cfg.logger.wandb, self.patience, **what)
        except NotSentError as error:
            self.why, self.tried = str(error), time.monotonic()
        self._log(self.rows)

    def _log(self, records: list[dict[str, Any]]) -> None:
        if self.live is None:
            return
        try:
            for record in records:
                self.live.log(record)
        except NotSentError as error:
            self.live, self.why, self.tried = None, str(error), time.monotonic()


def client() -> Any:
    """W&B's package; its import takes half a second."""
    # The reporting of its own errors would wait for the network too.
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    import wandb.errors

    return wandb


class Session:
    """An open run of W&B's client. Raises `NotSentError` with W&B's own words where something goes wrong."""

    def __init__(self, store: Path, cfg: WandbConfig, patience: float, **what: Any) -> None:
        wandb = client()
        folder = Path(os.environ.get("WANDB_DIR") or store)
        for old in folder.glob(f"wandb/*run-????????_??????-{what['id']}"):
            shutil.rmtree(old, ignore_errors=True)
        settings = wandb.Settings(
            console="off", silent=True, disable_git=True, disable_code=True, x_disable_stats=True,
            x_disable_meta=True, x_disable_machine_info=True, x_save_requirements=False,
            init_timeout=patience, finish_timeout=patience, finish_timeout_raises=True,
        )  # fmt: skip
        what |= {"dir": str(folder), "entity": cfg.entity, "settings": settings, "reinit": "finish_previous",
                 "project": project_of(cfg)}  # fmt: skip
        self.no_key = ""
        self._stderr = io.StringIO()
        # Until the end: the client prints from a thread of its own, at any time.
        self._hearing = contextlib.ExitStack()
        self._hearing.enter_context(contextlib.redirect_stderr(self._stderr))
        with self.failing():
            folder.mkdir(parents=True, exist_ok=True)
            try:
                self._run = _started(wandb, folder, {"mode": wandb_mode(cfg), **what})
            except wandb.errors.UsageError as error:
                if cfg.mode != "auto" or "API key" not in str(error):
                    raise
                self.no_key = " (W&B knows no API key)"
                self._run = wandb.init(mode="offline", **what)
            self.offline = bool(self._run.offline)
            self.folder = str(Path(self._run.dir).parent)
            self.url = "" if self.offline else str(self._run.url)
            self._run.define_metric("epoch", hidden=True)
            self._run.define_metric("*", step_metric="epoch")

    def log(self, record: dict[str, Any], step: int | None = None) -> None:
        """One row; an epoch's step is the epoch."""
        with self.failing():
            self._run.log(record, step=record.get("epoch", step), commit=True)

    def finish(self, summary: dict[str, Any], failed: bool = False) -> None:
        """Waits until all is sent. Where the server refuses data, W&B's client only prints it."""
        with self.failing():
            self._run.summary.update({name: value for name, value in summary.items() if value is not None})
            self._run.finish(exit_code=int(failed))
            self._check_disk()
        self._hearing.close()
        problems = [line for line in self._stderr.getvalue().splitlines() if LOST.search(line)]
        if problems:
            raise NotSentError(clean(problems[0]))

    def _check_disk(self) -> None:
        """W&B's client loses what it can't write to its files, without a word."""
        with tempfile.TemporaryFile(dir=self.folder) as probe:
            probe.write(bytes(1 << 16))
        log = Path(self.folder) / "logs" / "debug-internal.log"
        if "failed to save record" in log.read_text(encoding="utf-8", errors="replace"):
            raise OSError(f"W&B's files could not be written to {self.folder}")

    @contextmanager
    def failing(self) -> Iterator[None]:
        try:
            yield
        except BaseException as error:  # W&B's client raises errors of many libraries
            self._hearing.close()
            if not isinstance(error, Exception) or isinstance(error, NotSentError):
                raise
            raise NotSentError(clean(str(error) or type(error).__name__)) from None


def _started(wandb: Any, folder: Path, what: dict[str, Any]) -> Any:
    """W&B's run. Raises `NotSentError` as soon as its client notes that the id was deleted.

    Of the main thread alone can a start be broken off.
    """
    main = threading.main_thread()
    if threading.current_thread() is not main:
        return wandb.init(**what)
    over, deleted = threading.Event(), threading.Event()
    notes = f"wandb/run-*-{what['id']}/logs/debug-internal.log"

    def watch() -> None:
        while not over.wait(LOOK):
            if any(NOTED.search(path.read_text(errors="replace")) for path in folder.glob(notes)):
                deleted.set()
                signal.pthread_kill(main.ident or 0, signal.SIGINT)
                return

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        return wandb.init(**what)
    except BaseException:
        if not deleted.is_set():
            raise
        raise NotSentError(
            f"{DELETED} {what['id']} in the project {what['project']}, and takes no id twice: undelete it "
            "there, or send to another project by logger.wandb.project=NAME"
        ) from None
    finally:
        over.set()
        watcher.join()
        signal.signal(signal.SIGINT, before)


def _summary(result: dict[str, Any]) -> dict[str, Any]:
    provenance = {n: v for n, v in result["provenance"].items() if n not in ("command", "host")}
    return {
        **result["metrics"],
        **result["cost"],
        "selection": result["selection"],
        "provenance": provenance,
    }


def project_of(cfg: WandbConfig) -> str:
    return cfg.project or os.environ.get("WANDB_PROJECT") or "cbam-ablate"


def clean(text: str) -> str:
    """The first line of an error, without credentials."""
    line = text.strip().partition("\n")[0]
    key = os.environ.get("WANDB_API_KEY")
    if key:
        line = line.replace(key, "***")
    return re.sub(r"://[^/@\s]+@", "://***@", line).removeprefix("wandb: ")


def tags_of(run: Run) -> list[str]:
    """The studies that a run serves, its backbone and its placement."""
    model = (run.config() or {})["model"]
    tags = (*studies_of(run), model["backbone"], model["attention"]["placement"])
    return list(dict.fromkeys(tag_of(tag) for tag in tags))


def tag_of(name: str, longest: int = LONGEST_TAG) -> str:
    """A name as W&B takes it for a tag: a long one cut, with its own hash at the end or one of the whole."""
    if len(name) <= longest:
        return name
    own = re.search(r"-[0-9a-f]{8}$", name)
    end = own[0] if own else f"-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
    return name[: longest - len(end)] + end


def studies_of(run: Run) -> list[str]:
    """Every study of the store whose plan holds the run."""
    studies = RunStore(run.path.parents[1]).root / "studies"
    manifests = {path.parent.name: read_json(path) or {} for path in sorted(studies.glob("*/manifest.json"))}
    return [name for name, manifest in manifests.items() if run.key in manifest.get("runs", {})]


def _state_path(run: Run) -> Path:
    return run.path.parents[1] / "wandb" / f"{run.key}.json"


def read_state(run: Run) -> dict[str, Any]:
    """What became of a run's sending: sent, tags, url or why not; empty where nothing is known."""
    return read_json(_state_path(run)) or {}


def write_state(run: Run, state: dict[str, Any]) -> None:
    _state_path(run).parent.mkdir(parents=True, exist_ok=True)
    write_json(_state_path(run), state)
