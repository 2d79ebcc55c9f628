"""Learning curves of a table's runs, by the epochs that their histories have."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from cbam_ablate.aggregate.model import Quantity
from cbam_ablate.aggregate.records import LARGEST, LEAST
from cbam_ablate.report import figures
from cbam_ablate.report.markup import plain
from cbam_ablate.runs import RunStore

OURS = "val_top1"
LAST = 2**53
"""The largest epoch or step that is taken for one."""


class Curve(NamedTuple):
    """What a history is drawn by: its name there, in words, its unit, and what its steps are."""

    name: str
    label: str
    unit: str
    steps: str

    def text(self, value: float) -> str:
        return f"{value:.2f} %" if self.unit == "%" else f"{value:.4g} {self.unit}".rstrip()

    @property
    def title(self) -> str:
        return f"{self.label}, {self.unit}" if self.unit else self.label


def curve_in(keys: Iterable[str], result: Quantity, store: RunStore) -> Curve:
    """Validation accuracy where the runs have it, else the table's own result, as others' runs have it."""
    history = next((found for key in keys if (found := store.run(key).history())), [])
    if any(OURS in line for line in history) or not any(result.name in line for line in history):
        return Curve(OURS, "validation top-1", "%", "epoch")
    return Curve(result.name, plain(result.label), result.unit, "step")


def curve_of(store: RunStore, key: str, name: str = OURS) -> dict[int, float]:
    """A run's values by epoch; lines of a history that hold no finite ones are left out."""
    found: dict[int, float] = {}
    for place, record in enumerate(store.run(key).history(), 1):
        epoch, value = record.get("epoch", place), record.get(name)
        if not isinstance(value, int | float) or not isinstance(epoch, int | float):
            continue
        if LEAST <= value <= LARGEST and abs(epoch) <= LAST:  # NaN and infinity aren't
            found[int(epoch)] = float(value)
    return dict(sorted(found.items()))


def curves_of(label: str, keys: Iterable[str], store: RunStore, name: str = OURS) -> figures.Curves:
    """The curves of a row's runs, each by its own epochs."""
    histories = [found for key in keys if (found := curve_of(store, key, name))]
    epochs = np.array(sorted({epoch for history in histories for epoch in history}), dtype=np.int64)
    values = [[history.get(int(epoch), np.nan) for epoch in epochs] for history in histories]
    return figures.Curves(label, epochs, np.array(values).reshape(len(histories), len(epochs)))
