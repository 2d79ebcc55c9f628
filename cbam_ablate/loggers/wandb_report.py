"""A W&B Report of a study: its table, curves averaged over seeds and bars, by the reports API."""

from importlib import import_module
from pathlib import Path
from typing import Any

from cbam_ablate.config.options import ALIASES
from cbam_ablate.config.schema import WandbConfig
from cbam_ablate.errors import ConfigError
from cbam_ablate.loggers.wandb_run import clean, client, project_of, tag_of
from cbam_ablate.report import write_table
from cbam_ablate.runs import RunStore

CURVES = ("val_top1", "val_loss", "train_loss")


def make_report(root: Path, study: str, cfg: WandbConfig) -> str:
    """Saves a report to the study's project and returns its address. Raises `ConfigError` where it can't."""
    try:
        reports = import_module("wandb_workspaces.reports.v2")
        expr = import_module("wandb_workspaces.expr")
    except ImportError as error:
        raise ConfigError(
            "wandb report: wandb-workspaces isn't installed: pip install 'cbam_ablate[wandb-report]'; "
            "cbam-ablate wandb push sends the same table and plots without it"
        ) from error
    table = write_table(root, study)
    try:
        entity, project = cfg.entity or client().Api(timeout=30).default_entity, project_of(cfg)
        runs = reports.Runset(
            entity=entity,
            project=project,
            name=study,
            filters=[expr.Tags().isin([tag_of(study)]), expr.Metric("JobType") == "train"],
            groupby=group_keys([axis.name for axis in table.axes]),
        )
        report = reports.Report(
            entity=entity,
            project=project,
            title=f"Study {study}"[:128],
            description=table.caption[0] if table.caption else "",
            blocks=[
                reports.MarkdownBlock((RunStore(root).study(study) / "table.md").read_text(encoding="utf-8")),
                reports.PanelGrid(runsets=[runs], panels=_panels(reports, table)),
            ],
        )
        report.save()
        return str(report.url)
    except Exception as error:  # W&B's client raises errors of many libraries
        raise ConfigError(f"wandb report: not made: {clean(str(error))}") from None


def group_keys(axes: list[str]) -> list[str]:
    """What W&B groups by to average over seeds: every axis but the seed, by its short name."""
    short = {dotted: name for name, dotted in ALIASES.items()}
    return [f"config.{short.get(axis, axis)}" for axis in axes if axis != "seed"]


def _panels(reports: Any, table: Any) -> list[Any]:
    lines = [
        reports.LinePlot(title=name, x="epoch", y=[name], groupby_aggfunc="mean", groupby_rangefunc="stddev")
        for name in CURVES
    ]
    results = [quantity for quantity in table.quantities if quantity.kind == "result"]
    bars = [
        reports.BarPlot(title=quantity.label, metrics=[quantity.name], groupby_aggfunc="mean",
                        groupby_rangefunc="stddev")
        for quantity in results
    ]  # fmt: skip
    return [*lines, *bars]
