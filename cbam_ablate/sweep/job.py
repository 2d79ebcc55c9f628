"""One run from config to result, wherever it is launched: claim, resume, train, and say how it ended."""

import dataclasses
import logging
import traceback
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import torch

from cbam_ablate.accel import accelerate_run
from cbam_ablate.config.canonical import run_key
from cbam_ablate.config.own_rules import refuse_changed_code
from cbam_ablate.config.schema import RunConfig
from cbam_ablate.config.seeds import derive_seed
from cbam_ablate.data import make_feed
from cbam_ablate.errors import ConfigError, DataError, ServiceError
from cbam_ablate.loggers import following
from cbam_ablate.models import ModelCost, build_model, model_cost
from cbam_ablate.models.build import loaded_into
from cbam_ablate.own import reason_of
from cbam_ablate.runs import RunStore, State
from cbam_ablate.runs.claim import LostClaimError
from cbam_ablate.runs.provenance import UNKNOWN, provenance
from cbam_ablate.runs.results import FORMAT
from cbam_ablate.runs.writer import RunWriter
from cbam_ablate.sweep.accelerators import accelerators
from cbam_ablate.sweep.callbacks import told_of
from cbam_ablate.sweep.keep import keep_predictions
from cbam_ablate.sweep.manifest import read, run_config
from cbam_ablate.sweep.start import OWN, starting_point
from cbam_ablate.sweep.stop import Stop, TimedOut
from cbam_ablate.training import Diverged, Interrupted, Result, Trainer, checkpoint
from cbam_ablate.training.device import (
    device_name,
    forget_peak,
    pick_device,
    pick_precision,
    use,
)

log = logging.getLogger(__name__)
NOBODY: AbstractContextManager[None] = nullcontext()


def run_job(
    manifest_path: Path, keys: Sequence[str], device: str | None = None, threads: int | None = None
) -> list[State]:
    """One job of a sweep: a run, or several that are trained together. Returns how they stand."""
    if len(keys) == 1:
        return [run_cell(manifest_path, keys[0], device, threads)]
    from cbam_ablate.sweep.fused import run_group

    return run_group(manifest_path, keys, device, threads)


def run_cell(
    manifest_path: Path,
    key: str,
    device: str | None = None,
    threads: int | None = None,
    tell: bool = True,
) -> State:
    """One job of a sweep: the run of the frozen plan with this key, unless its study was told to stop.

    Without `tell`, the launcher tells Hydra's callbacks itself.
    """
    manifest = read(manifest_path)
    cfg = run_config(manifest, key)
    if manifest_path.with_name("stop").exists():
        return RunStore(cfg.store).run(key).state()
    telling = told_of(manifest, [cfg] if tell else [])
    state = run_one(cfg, device, threads, manifest["study"], planned_cost(manifest, key), telling)
    if state.name == "failed":
        mind_failures(manifest_path, manifest, cfg)
    return state


def planned_cost(manifest: dict[str, Any], key: str) -> ModelCost:
    """What the plan counted for a run's network."""
    return ModelCost(**manifest["costs"][key])


def mind_failures(manifest_path: Path, manifest: dict[str, Any], cfg: RunConfig) -> None:
    """Tells the study to stop where as many of its runs have failed as its sweep bears."""
    limit = 1 if cfg.sweep.fail_fast else cfg.sweep.max_failures
    if limit is not None:
        states = [RunStore(cfg.store).run(other).state() for other in manifest["runs"]]
        if sum(other.name == "failed" for other in states) >= limit:
            why = f"{limit} failed, as sweep.fail_fast or sweep.max_failures asks\n"
            manifest_path.with_name("stop").write_text(why)


def run_one(
    cfg: RunConfig,
    device: str | None = None,
    threads: int | None = None,
    study: str | None = None,
    cost: ModelCost | None = None,
    telling: AbstractContextManager[None] = NOBODY,
) -> State:
    """Trains the run of `cfg`, or finds it done, and returns how it stands. Failures are recorded.

    `device` and `threads` are this launch's, over the config's own; `cost` is the network's, where it was
    counted; `telling` is entered where there is something to train. State `running` means that another live
    process holds the run.
    """
    if cfg.sweep.detach:
        raise ConfigError("detach=true: a single run is trained here; -m makes a sweep, which can be left")
    store = RunStore(cfg.store)
    run = store.run(run_key(cfg))
    if run.result() is not None:
        return run.state()
    claim = store.claim(run, watch=study is None)
    if claim is None:
        return run.state()
    stop = Stop(cfg.sweep.timeout_minutes)
    try:
        with telling, RunWriter(run, claim, cfg, study) as writer, following(writer), stop:
            if run.result() is None:
                _run(cfg, writer, stop, device or cfg.train.device, cfg.train.threads or threads, cost)
    except LostClaimError as error:
        log.error("%s; it ends here, without touching the run's folder", error)
    return run.state()


def _run(
    cfg: RunConfig, writer: RunWriter, stop: Stop, device: str, threads: int | None, cost: ModelCost | None
) -> None:
    """Trains a claimed run and records how it ended."""
    try:
        writer.finish(_train(cfg, writer, stop, device, threads, cost))
    except LostClaimError:
        raise
    except (Interrupted, KeyboardInterrupt):
        writer.interrupt()
    except (Exception, TimedOut) as error:  # whatever a job raises is an outcome, with its traceback
        record_failure(writer, error)


def record_failure(writer: RunWriter, error: BaseException) -> None:
    """Ends a run by its failure: class and first line in log and status, the traceback beside them.

    Of the user's own code the line says which.
    """
    failure = classify(error)
    first = reason_of(error)
    writer.fail(failure, first, "".join(traceback.format_exception(error)))
    writer.logger.warning("failed (%s): %s", failure, first)


def classify(error: BaseException) -> str:
    """The class of a failure: diverged, timeout, out_of_memory, service, data or bug."""
    if isinstance(error, Diverged):
        return "diverged"
    if isinstance(error, TimedOut):
        return "timeout"
    if isinstance(error, ServiceError):
        return "service"
    if isinstance(error, DataError):
        return "data"
    starved = "not enough memory" in str(error) or "can't allocate memory" in str(error)
    if isinstance(error, MemoryError | torch.OutOfMemoryError) or starved:
        return "out_of_memory"
    return "bug"


def _train(
    cfg: RunConfig,
    writer: RunWriter,
    stop: Stop,
    device_word: str,
    threads: int | None,
    cost: ModelCost | None,
) -> dict[str, Any]:
    device = pick_device(device_word)
    state, source = starting_point(cfg, writer)
    precision = set_up(cfg, state if state is not None and source == OWN else {}, device, threads)
    feed = make_feed(cfg, device, precision)
    forget_peak(device)
    torch.manual_seed(derive_seed(cfg.seed, "weights"))
    model = build_model(cfg, pretrained=state is None)

    def asked() -> bool:
        if writer.lost:
            writer.check()
        return stop()

    make_steps = accelerate_run(cfg, model, device)
    trainer = Trainer(cfg, model, feed, writer, device, precision, asked, make_steps)
    begin(trainer, writer, state, source, feed.sha256)
    stop.armed = True
    try:
        result = trainer.run()
    finally:
        checkpoint.wait(writer.last.parent)
    stop.armed = False
    keep_predictions(writer, feed, trainer.outputs, result.selection)
    return record(cfg, writer, result, trainer, cost)


def begin(trainer: Trainer, writer: RunWriter, state: dict[str, Any] | None, source: str, data: str) -> None:
    """Goes on from the checkpoint `state` where there is one, and notes which process trains from here on."""
    before: list[dict[str, Any]] = []
    if state is not None:
        trainer.resume(state, source)
        writer.line(f"goes on from {source}, epoch {trainer.done.epoch}, step {trainer.done.step}")
        before = state.get("provenance") or [dict(UNKNOWN)]
    here = {
        **provenance(),
        "device": device_name(trainer.device),
        "precision": trainer.precision,
        "threads": torch.get_num_threads(),
        "dataset_sha256": data,
    }
    loaded = loaded_into(trainer.model)
    if loaded is not None:
        here["pretrained"] = loaded.summary()
    writer.trained_by(before, here)
    trainer.accelerators = partial(accelerators, trainer)


def set_up(cfg: RunConfig, begun: dict[str, Any], device: torch.device, threads: int | None) -> str:
    """Prepares the process for a run and returns its number format.

    Raises `ConfigError` where code of one's own isn't what it was when the run was planned.

    One that had `begun`, by its checkpoint, keeps the threads, on whose number sums on a CPU depend, and the
    format that `auto` chose.
    """
    refuse_changed_code(cfg)
    use(device, begun.get("threads") or threads)
    automatic = cfg.train.precision == "auto"
    return pick_precision((automatic and begun.get("precision")) or cfg.train.precision, device)


def record(
    cfg: RunConfig, writer: RunWriter, result: Result, trainer: Trainer, cost: ModelCost | None
) -> dict[str, Any]:
    """What result.json holds. Its provenance is of the process that ended the run; the history of all."""
    found = dataclasses.asdict(result)
    processes = writer.stamp(**trainer.origin())["provenance"]
    finished = datetime.now(UTC).isoformat(timespec="seconds")
    return {
        "schema": FORMAT,
        "key": writer.run.key,
        **found,
        "cost": {**(cost or model_cost(cfg))._asdict(), **found["cost"]},
        "parent": cfg.train.resume_from,
        "pretrained": next((one["pretrained"] for one in processes if "pretrained" in one), None),
        "provenance": {**processes[-1], "finished": finished},
        "provenance_history": processes,
    }
