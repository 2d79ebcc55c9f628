"""TensorBoard: curves and hyperparameters in <store>/tensorboard/<run>, written without torch."""

import contextlib
import io
import json
import shutil
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

try:
    from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.hparams import summary_v2 as hparams
    from tensorboard.plugins.hparams.metadata import parse_experiment_plugin_data
    from tensorboard.summary.writer.event_file_writer import EventFileWriter
    from tensorboard.summary.writer.record_writer import RecordWriter
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        "tensorboard isn't installed: pip install 'cbam_ablate[tensorboard]'"
    ) from error

from cbam_ablate.config.canonical import effective
from cbam_ablate.config.flat import from_flat
from cbam_ablate.config.schema import RunConfig
from cbam_ablate.errors import UserError
from cbam_ablate.runs import Run
from cbam_ablate.runs.files import read_json, write_bytes

DECLARED = "events.out.tfevents.0.study"
"""The file that says, for all runs, which hyperparameters and metrics there are."""
COMPARED = ("test_top1", "test_top5", "test_loss", "params", "macs")
"""What the hyperparameter view shows of each run."""


class TensorBoard:
    """A run as event files: scalars by epoch, hyperparameters, and the final metrics at the last epoch."""

    def __init__(self, run: Run, cfg: RunConfig) -> None:
        self.run, self.last = run, 0
        self.seen: set[str] = set()
        root = run.path.parents[1] / "tensorboard"
        folder = root / run.key
        # A run that goes on gives all its epochs again.
        shutil.rmtree(folder, ignore_errors=True)
        self.writer = EventFileWriter(str(folder))
        values = {
            name: value if isinstance(value, bool | int | float) else str(value)
            for name, value in effective(cfg).items()
            if value is not None
        }
        declare(root, [*options_of_study(run), *values])
        self._write(hparams.hparams_pb(values, trial_id=run.key))

    def epoch(self, record: dict[str, Any]) -> None:
        self.last = record["epoch"]
        self.seen |= record.keys()
        self._scalars({name: value for name, value in record.items() if name != "epoch"})

    def end(self) -> None:
        result = self.run.result()
        if result is not None:
            # What each epoch has would be there twice at the last.
            self._scalars({name: value for name, value in {**result["metrics"], **result["cost"]}.items()
                           if name not in self.seen and not name.startswith(("train_", "val_"))
                           and value is not None})  # fmt: skip
        self.writer.close()

    def _scalars(self, values: dict[str, float]) -> None:
        self._write(Summary(value=[Summary.Value(tag=tag, simple_value=v) for tag, v in values.items()]))
        self.writer.flush()

    def _write(self, summary: Any) -> None:
        self.writer.add_event(Event(wall_time=time.time(), step=self.last, summary=summary))


def options_of_study(run: Run) -> list[str]:
    """The options that have an effect in some run of the study that the run was first trained for."""
    study = run.status().get("study")
    manifest = read_json(run.path.parents[1] / "studies" / str(study) / "manifest.json") or {}
    different = {}
    for values in manifest.get("runs", {}).values():
        own = {name: value for name, value in values.items() if name != "seed"}
        different[json.dumps(own, sort_keys=True)] = own
    names: dict[str, None] = {}
    for own in different.values():
        with contextlib.suppress(UserError):  # a manifest of another version
            known = effective(from_flat({**manifest["constants"], **own}))
            names |= {name: None for name, value in known.items() if value is not None}
    return list(names)


def declare(root: Path, names: Iterable[str]) -> None:
    """Adds columns to TensorBoard's view of hyperparameters.

    Whatever folder of runs is looked at, it takes one declaration for all: the first that it finds, and the
    folder's own comes before those below it.
    """
    path = root / DECLARED
    known = _declared(path)
    wanted = dict.fromkeys([*known, *names])
    if list(wanted) == known:
        return
    root.mkdir(parents=True, exist_ok=True)
    summary = hparams.hparams_config_pb(
        [hparams.HParam(name) for name in wanted], [hparams.Metric(name) for name in COMPARED]
    )
    content = io.BytesIO()
    writer = RecordWriter(content)
    writer.write(Event(wall_time=time.time(), file_version="brain.Event:2").SerializeToString())
    writer.write(Event(wall_time=time.time(), summary=summary).SerializeToString())
    write_bytes(path, content.getvalue())


def _declared(path: Path) -> list[str]:
    """The options that are declared so far; none where the file isn't there or is damaged."""
    try:
        events = list(LegacyEventFileLoader(str(path)).Load()) if path.is_file() else []
        contents = [value.metadata.plugin_data.content for event in events for value in event.summary.value]
        found = [parse_experiment_plugin_data(content) for content in contents]
    except Exception:  # TensorBoard's reader raises errors of many kinds
        return []
    return [info.name for experiment in found for info in experiment.hparam_infos]
