"""The typed schema of what is made from runs: tables, figures, metrics of one's own."""

import re
from dataclasses import dataclass
from typing import Any

from cbam_ablate.config.field import option
from cbam_ablate.errors import ConfigError

BOTH_FROM = 5
"""Seeds from which on an interval over seeds and test images covers 95 % within 1.5 points."""
BOOTSTRAP_FROM = 20
"""Seeds: of fewer a bootstrap interval covers 72 to 90 % instead of 95."""
POINTS = {"pt": 1.0, "in": 72.27, "cm": 72.27 / 2.54, "mm": 72.27 / 25.4}
"""TeX's points in a unit; an inch has 72.27 of them."""


@dataclass
class TableConfig:
    """The study's table. Null or empty infers it from what was swept."""

    rows: list[str] = option([], "axes down the side")
    columns: list[str] = option([], "axes across")
    metrics: list[str] = option(["test_top1"], "columns of results")
    costs: list[str] | None = option(
        None, "columns of measured costs; null is params, macs and train_seconds, and none in a pivoted table"
    )
    baseline: dict[str, Any] = option({}, "axis values of the baseline row; empty is placement=none")
    labels: dict[Any, Any] = option(
        {}, "printed names of axes, values and metrics, in words or in LaTeX; an axis may hold its values'"
    )
    filters: dict[str, Any] = option({}, "axis values that are shown; empty shows all")
    order: dict[str, Any] = option({}, "axis values in the order they are shown in; those not named follow")
    groups: list[str] = option([], "axes whose values stand as headings above their rows")
    separators: list[str] = option([], "axes between whose values a rule is drawn")
    means: list[str] = option([], "marginal means: row, a last row over the rows; column, a last column over "
                              "the columns across")  # fmt: skip
    better: dict[str, str] = option({}, "up or down for metrics of your own, which direction is better")
    references: list[Any] = option(
        [], "published numbers, each {label, cite, metric, values: [{AXIS: VALUE, ..., value: NUMBER}]}"
    )
    published: list[Any] = option(
        [], "rows of methods that were not run, each {label, cite, values: {METRIC: NUMBER}}; where axes go "
        "across, values: [{AXIS: VALUE, ..., METRIC: NUMBER}]"
    )  # fmt: skip
    by: str | None = option(None, "class: a row for each class, of the predictions that runs keep",
                            choices=("class",))  # fmt: skip
    interval: str = option("t", "over seeds (seeds is t, bootstrap needs 20 of them), test images, or "
                           "both (needs 5 seeds)",
                           choices=("t", "seeds", "bootstrap", "images", "both"))  # fmt: skip
    spread: str = option("sd", "what stands beside a mean: standard deviation, standard error, 95 % interval",
                         choices=("sd", "se", "ci"))  # fmt: skip
    digits: Any = option(
        None, "decimals of results, for all or {METRIC: DECIMALS}; null goes by their spread"
    )
    decimal: str = option("point", "the decimal sign", choices=("point", "comma"))
    delta: bool = option(True, "columns of differences to the baseline")
    n: bool = option(True, "columns of the number of seeds")
    findings: bool = option(True, "what can be told apart, in sentences below the table")
    notes: bool = option(
        True, "what to beware of, in sentences below the table; the terminal shows it always"
    )
    caption: str | None = option(None, "first sentence of the caption")
    caption_only: bool = option(False, "table.caption is all of the caption, without a word of ours")
    span: str = option(
        "auto", "LaTeX: one column of the page or all of them", choices=("auto", "column", "page")
    )
    fragment: bool = option(False, "LaTeX: the tabular alone, to be put into a table of your own")


@dataclass
class FigureConfig:
    """The figures of a report, as they stand in a paper."""

    width: str = option("403pt", "with its unit: pt, in, cm or mm (252pt is a column of two)")
    font: str = option("sans", "of all text", choices=("sans", "serif"))
    size: float = option(9.0, "of the text, points at that width", low=4, high=30)


def width_of(style: FigureConfig) -> float:
    """The figure's width in inches. Raises `ConfigError` for one that is no length."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?) ?(pt|in|cm|mm)", style.width)
    inches = float(found[1]) * POINTS[found[2]] / POINTS["in"] if found else 0.0
    if not 1 <= inches <= 40:
        raise ConfigError(
            f"figure.width={style.width}: a length from 1 to 40 inches in pt, in, cm or mm: 252pt"
        )
    return inches


@dataclass
class MetricsConfig:
    """Metrics of stored predictions."""

    own: dict[str, str] = option({}, "metrics of your own by name, each module:function of labels and "
                                 "probabilities", identity=False)  # fmt: skip
