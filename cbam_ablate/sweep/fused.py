"""Runs of a sweep that are trained together as one network (`accel/fused`): which, and how they end.

Runs fuse when they differ in nothing but seed, optimiser, schedule, augmentation, label smoothing and moving
average. A run that fits no other, draws random numbers in its network, has an optimiser of one's own or goes
on from another run is trained alone, and so is every run of a group whose step fails to work.
"""

import contextlib
import dataclasses
import json
import logging
import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import torch

from cbam_ablate.accel import accelerate, allowed
from cbam_ablate.accel.fused.trainer import CantFuse, FusedTrainer, Lane
from cbam_ablate.config.canonical import effective, flatten
from cbam_ablate.config.schema import RunConfig
from cbam_ablate.config.seeds import derive_seed
from cbam_ablate.data import Feed
from cbam_ablate.data.loader import load_splits
from cbam_ablate.data.together import train_together
from cbam_ablate.errors import UserError
from cbam_ablate.loggers import following
from cbam_ablate.models import build_model
from cbam_ablate.registry import Optimizer, own_target
from cbam_ablate.runs import Run, RunStore, State
from cbam_ablate.runs.claim import LostClaimError
from cbam_ablate.runs.writer import RunWriter
from cbam_ablate.sweep.callbacks import told_of
from cbam_ablate.sweep.job import (
    begin,
    mind_failures,
    planned_cost,
    record,
    record_failure,
    run_cell,
    set_up,
)
from cbam_ablate.sweep.keep import keep_predictions
from cbam_ablate.sweep.manifest import read, run_config
from cbam_ablate.sweep.start import OWN, starting_point
from cbam_ablate.sweep.stop import Stop, TimedOut
from cbam_ablate.training import Interrupted, Result, checkpoint
from cbam_ablate.training.device import forget_peak, pick_device

log = logging.getLogger(__name__)
FREE_SECTIONS = ("optimizer", "schedule", "augment")
FREE = ("seed", "train.label_smoothing", "train.ema")
"""What may differ between runs that are trained together."""
PROCESS = ("store", "train.device", "train.threads", "train.log_every", "data.root", "data.cache")
"""What is no part of a run's identity but of the process that trains it."""


def groups(manifest: dict[str, Any], keys: Sequence[str], width: int | None, slots: int) -> list[list[str]]:
    """The keys as groups that can be trained together, at most `width` runs in each, largest first.

    Where there are fewer groups than slots (places for a job), they are divided until all have work.
    """
    alike: dict[str, list[str]] = {}
    for key in keys:
        alike.setdefault(likeness(run_config(manifest, key)) or key, []).append(key)
    most = width or len(keys)
    fair = math.ceil(len(keys) / slots)
    found = [part for runs in alike.values() for part in _divided(runs, min(most, fair))]
    return sorted(found, key=len, reverse=True)


def _divided(keys: list[str], most: int) -> Iterator[list[str]]:
    """As few parts as that allows, as equal as possible."""
    count = math.ceil(len(keys) / most)
    for part in range(count):
        yield keys[part * len(keys) // count : (part + 1) * len(keys) // count]


def likeness(cfg: RunConfig) -> str | None:
    """A text that is equal for runs that can be trained together; None for a run that must be alone."""
    if cfg.train.resume_from is not None or cfg.model.dropout or not allowed(cfg.train.accel):
        return None
    if own_target(Optimizer, cfg.optimizer.name):  # which may look at each weight as a whole
        return None
    every = flatten(cfg)
    shared = {
        name: value
        for name, value in effective(cfg).items()
        if name.partition(".")[0] not in FREE_SECTIONS and name not in FREE
    }
    mixes = bool(cfg.augment.mixup or cfg.augment.cutmix)
    return json.dumps([shared, {name: every[name] for name in PROCESS}, mixes], sort_keys=True)


def run_group(
    manifest_path: Path,
    keys: Sequence[str],
    device: str | None = None,
    threads: int | None = None,
) -> list[State]:
    """One job of a sweep: the runs of the frozen plan with these keys, of one of its groups.

    Returns how they stand. Nothing is trained once the study was told to stop.
    """
    manifest = read(manifest_path)
    store, stop_file = RunStore(manifest["constants"]["store"]), manifest_path.with_name("stop")
    alone: list[str] = []

    def failed(cfg: RunConfig) -> bool:
        mind_failures(manifest_path, manifest, cfg)
        return stop_file.exists()

    for alike in _by_progress(store, keys):
        if len(alike) == 1:
            alone += alike
        elif not stop_file.exists():
            group = Group(manifest, alike)
            with told_of(manifest, [run_config(manifest, key) for key in alike]):
                alone += group.train(device, threads, failed)
            interrupted = group.interrupted
            del group  # its data and weights, before others are trained
            if interrupted:
                alone = []
                break
    for key in alone:
        if run_cell(manifest_path, key, device, threads).name == "interrupted":
            break
    return [store.run(key).state() for key in keys]


def _by_progress(store: RunStore, keys: Sequence[str]) -> list[list[str]]:
    """The unfinished runs, those together that stand at the same step and began in the same way."""
    found: dict[tuple[Any, ...], list[str]] = {}
    for key in keys:
        run = store.run(key)
        if run.result() is None:
            found.setdefault(_progress(run), []).append(key)
    return list(found.values())


def _progress(run: Run) -> tuple[Any, ...]:
    try:
        state = checkpoint.load(run.last)
    except UserError:
        return 0, 0, None, None
    done = state["progress"]
    return done["epoch"], done["step"], state["threads"], state.get("precision")


@dataclasses.dataclass
class Member:
    """A claimed run of a group. `open` holds its claim and its loggers."""

    cfg: RunConfig
    key: str
    writer: RunWriter
    open: contextlib.ExitStack
    ended: bool = False


class Group:
    """Runs that are trained together in this process, each with a folder, a log and an end of its own."""

    def __init__(self, manifest: dict[str, Any], keys: Sequence[str]) -> None:
        self.study = manifest["study"]
        self.configs = {key: run_config(manifest, key) for key in keys}
        self.costs = {key: planned_cost(manifest, key) for key in keys}
        self.members: list[Member] = []
        self.interrupted = False

    def train(
        self, device_word: str | None, threads: int | None, failed: Callable[[RunConfig], bool]
    ) -> list[str]:
        """Trains the runs and records how each ended. Returns the keys of those to be trained alone.

        `device_word` and `threads` are this launch's, over the configs' own. `failed` hears of each failed
        run and says whether the others are to stop.
        """
        self.stop = stop = Stop(next(iter(self.configs.values())).sweep.timeout_minutes, len(self.configs))
        self.failed = failed
        try:
            self._claim()
            with stop:
                return self._train(stop, device_word, threads)
        finally:
            # Together, because a run's loggers may take a while to end.
            with ThreadPoolExecutor(max(1, len(self.members))) as pool:
                list(pool.map(lambda member: member.open.close(), self.members))

    def _train(self, stop: Stop, device_word: str | None, threads: int | None) -> list[str]:
        try:
            trainer = self._trainer(stop, device_word, threads)
            for member in self.members:
                member.open.enter_context(following(member.writer))
            stop.armed = True
            try:
                trainer.run()
            finally:
                for member in self._going():
                    self._write(member, partial(checkpoint.wait, member.writer.last.parent))
            stop.armed = False
        except CantFuse as error:
            for member in self.members:
                member.writer.line(f"is trained alone, since its step doesn't work for several: {error}")
                self._write(member, member.writer.put_back)
            return [member.key for member in self.members]
        except (Interrupted, KeyboardInterrupt):
            self.interrupted = True
            for member in self._going():
                self._write(member, member.writer.interrupt)
        except (Exception, TimedOut) as error:  # whatever a job raises is an outcome, with its traceback
            for member in self._going():
                self._fail(member, error)
        return []

    def _claim(self) -> None:
        for key, cfg in self.configs.items():
            store = RunStore(cfg.store)
            run = store.run(key)
            claim = store.claim(run)
            if claim is None:
                continue
            opened = contextlib.ExitStack()
            writer = opened.enter_context(RunWriter(run, claim, cfg, self.study))
            self.members.append(Member(cfg, key, writer, opened, run.result() is not None))

    def _trainer(self, stop: Stop, device_word: str | None, threads: int | None) -> FusedTrainer:
        members = self._going()
        if len(members) < 2:
            raise CantFuse("no other is left")
        first = members[0].cfg
        device = pick_device(device_word or first.train.device)
        starts = [starting_point(member.cfg, member.writer) for member in members]
        states = [state for state, source in starts if state is not None and source == OWN]
        precision = set_up(first, states[0] if states else {}, device, first.train.threads or threads)
        self.splits = load_splits(first, device)
        forget_peak(device)
        dtype = torch.bfloat16 if precision == "bf16" else torch.float32
        lanes = []
        for member, (state, source) in zip(members, starts, strict=True):
            cfg = member.cfg
            torch.manual_seed(derive_seed(cfg.seed, "weights"))
            model = build_model(cfg, pretrained=state is None)
            feed = Feed(cfg, self.splits, dtype)
            accelerate(model, device)  # with which it is evaluated
            lane = Lane(cfg, model, feed, member.writer, device, precision)
            begin(lane, member.writer, state, source, feed.sha256)
            lanes.append(lane)
        if len({(lane.done.epoch, lane.done.step) for lane in lanes}) > 1:
            raise CantFuse("they stand at different steps")
        trainer = FusedTrainer(lanes, self._ended, stop, train_together)
        for member in members:
            member.writer.line(f"trained as one of {len(members)} runs together")
            if member.cfg.train.compile == "on":
                member.writer.line("train.compile=on: runs that are trained together aren't compiled")
        return trainer

    def _going(self) -> list[Member]:
        return [member for member in self.members if not member.ended]

    def _fail(self, member: Member, error: BaseException) -> None:
        self._write(member, partial(record_failure, member.writer, error))
        member.ended = True
        member.writer.release()
        if not member.writer.lost and self.failed(member.cfg):
            self.stop.asked = True

    def _write(self, member: Member, ending: Callable[[], None]) -> None:
        """Records how a run ended, unless it is another process's by now: the others go on."""
        try:
            ending()
        except LostClaimError as error:
            member.ended = True
            log.error("%s; it is left to that, the others go on", error)

    def _ended(self, lane: Lane, end: Result | Exception) -> None:
        member = next(member for member in self.members if member.writer is lane.log)
        if isinstance(end, Exception):
            return self._fail(member, end)
        result = record(member.cfg, member.writer, end, lane, self.costs[member.key])

        def finish() -> None:
            checkpoint.wait(member.writer.last.parent)
            keep_predictions(member.writer, lane.feed, lane.outputs, end.selection)
            member.writer.finish(result)

        self._write(member, finish)
        member.ended = True
        return None
