"""TensorBoard: curves and hyperparameters in <store>/tensorboard/<run>, written without torch."""

import shutil
import time
from typing import Any

try:
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.hparams import summary_v2 as hparams
    from tensorboard.summary.writer.event_file_writer import EventFileWriter
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        "tensorboard isn't installed: pip install 'cbam_ablate[tensorboard]'"
    ) from error

from cbam_ablate.config.canonical import effective
from cbam_ablate.config.schema import RunConfig
from cbam_ablate.runs import Run

COMPARED = ("test_top1", "test_top5", "test_loss", "params", "macs")
"""What the hyperparameter view shows of each run."""


class TensorBoard:
    """A run as event files: scalars by epoch, hyperparameters, and the final metrics at the last epoch."""

    def __init__(self, run: Run, cfg: RunConfig) -> None:
        self.run, self.last = run, 0
        self.seen: set[str] = set()
        folder = run.path.parents[1] / "tensorboard" / run.key
        # A run that goes on gives all its epochs again.
        shutil.rmtree(folder, ignore_errors=True)
        self.writer = EventFileWriter(str(folder))
        values = {
            name: value if isinstance(value, bool | int | float) else str(value)
            for name, value in effective(cfg).items()
            if value is not None
        }
        self._write(hparams.hparams_config_pb([hparams.HParam(n) for n in values],
                                              [hparams.Metric(name) for name in COMPARED]))  # fmt: skip
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
