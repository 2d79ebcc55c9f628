"""From what a trained network gave for each image to the run's predictions.npz."""

from collections.abc import Mapping
from typing import Any

from cbam_ablate.metrics.predictions import ALL, MOST_BYTES, TOP, pack
from cbam_ablate.runs.writer import RunWriter
from cbam_ablate.training.outputs import Outputs
from cbam_ablate.training.protocols import TrainingFeed

MIB = MOST_BYTES // 2**20


def keep_predictions(
    writer: RunWriter, feed: TrainingFeed, outputs: Mapping[str, Outputs], selection: Mapping[str, Any]
) -> None:
    """Writes a run's predictions beside its result, and says what of them is too much to keep.

    `outputs` are a trainer's, `selection` its result's.
    """
    if not outputs:
        writer.line(
            f"predictions.npz: not kept, they would be larger than {MIB} MiB; no further metrics can be "
            "asked for"
        )
        return
    if outputs["test"].kept == "top":
        why = f"of more than {ALL} classes" if feed.classes > ALL else f"larger than {MIB} MiB"
        writer.line(f"predictions.npz: the top {TOP} of {feed.classes} classes and their sums, being {why}")
    writer.predictions(packed(writer.run.key, feed, outputs, selection))


def packed(
    key: str, feed: TrainingFeed, outputs: Mapping[str, Outputs], selection: Mapping[str, Any]
) -> bytes:
    """The content of predictions.npz."""
    sets = {part: (feed.numbers[part], outputs[part].labels) for part in ("test", "val") if part in outputs}
    arrays = {part: found.arrays() for part, found in outputs.items()}
    chosen = {name: selection[name] for name in ("epoch", "epochs")}
    return pack(key, feed.sha256, feed.classes, sets, arrays, **chosen)
