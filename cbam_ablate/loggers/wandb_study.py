"""A study's table and plots as a W&B run of their own, beside its runs."""

import re
from pathlib import Path
from typing import Any

from cbam_ablate.config.schema import WandbConfig
from cbam_ablate.loggers.wandb_run import Session, client, tag_of
from cbam_ablate.report import to_frame, write_table
from cbam_ablate.runs import RunStore

CURVE = "val_top1"
"""What is drawn by epoch, the mean over a row's seeds."""
JOB = "study"
"""The job type that tells it from the runs."""


def send_study(root: Path, study: str, cfg: WandbConfig, patience: float) -> str:
    """Sends the table, a bar chart of each result and the mean curves; returns the address, empty offline.

    Sent again, it replaces what was there. Raises `NotSentError`.
    """
    table = write_table(root, study)
    shown = _tables(table, RunStore(root))
    session = Session(
        root,
        cfg,
        patience,
        id=f"study-{tag_of(re.sub('[^A-Za-z0-9_-]', '-', study), 100)}",
        name=tag_of(f"study {study}", 128),
        group=tag_of(study, 128),
        job_type=JOB,
        tags=[tag_of(study)],
        config={"axes": [axis.name for axis in table.axes], "table": table.options},
    )
    session.log(shown, step=0)
    session.finish(
        {"findings": "\n".join(table.findings), "notes": "\n".join([*table.caption, *table.notes])}
    )
    return "" if session.offline else session.url


def _tables(table: Any, store: RunStore) -> dict[str, Any]:
    wandb = client()
    frame = to_frame(table)
    frame = frame.reset_index() if table.axes else frame
    shown: dict[str, Any] = {"table": wandb.Table(dataframe=frame, allow_mixed_types=True)}
    done = {_label(table, row): row for row in table.rows if row.n}
    for quantity in table.quantities:
        bars: Any = [[label, row.cell(quantity.name).value] for label, row in done.items()]
        bars = [bar for bar in bars if bar[1] is not None]
        if bars and quantity.kind == "result":
            data = wandb.Table(columns=["setting", quantity.name], data=bars)
            title = f"{quantity.label}, mean over seeds"
            shown[f"plots/{quantity.name}"] = wandb.plot.bar(data, "setting", quantity.name, title=title)
    result = next(quantity.name for quantity in table.quantities if quantity.kind == "result")
    curves = {
        f"{label} (n {row.n})": mean_curve([store.run(key).history() for key in row.cell(result).run_keys])
        for label, row in done.items()
    }
    curves = {label: curve for label, curve in curves.items() if curve}
    if curves:
        shown[f"plots/{CURVE}"] = wandb.plot.line_series(
            xs=[list(curve) for curve in curves.values()],
            ys=[list(curve.values()) for curve in curves.values()],
            keys=list(curves),
            title=f"{CURVE}, mean over seeds",
            xname="epoch",
        )
    return shown


def _label(table: Any, row: Any) -> str:
    return " ".join(row.labels[axis.name] for axis in table.axes if row.axes[axis.name] is not None) or "all"


def mean_curve(histories: list[list[dict[str, Any]]]) -> dict[int, float]:
    """By epoch, the mean of those runs that have a value there."""
    by_epoch: dict[int, list[float]] = {}
    for record in (record for history in histories for record in history):
        if isinstance(record.get(CURVE), int | float) and isinstance(record.get("epoch"), int):
            by_epoch.setdefault(record["epoch"], []).append(record[CURVE])
    return {epoch: sum(values) / len(values) for epoch, values in sorted(by_epoch.items())}
