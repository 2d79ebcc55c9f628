"""The table model: what every rendering shows, and what table.json holds."""

import re
from dataclasses import dataclass, field
from typing import Any

FORMAT = 2
Pair = tuple[float, float]


@dataclass(kw_only=True)
class Axis:
    """A swept axis: its dotted name, its printed one, and its values in the order in which they are shown."""

    name: str
    label: str
    values: list[Any]


@dataclass(kw_only=True)
class Quantity:
    """What a column measures. `better` is up, down or empty; `kind` is result or cost."""

    name: str
    label: str
    unit: str
    better: str
    kind: str

    @property
    def title(self) -> str:
        """Label and unit, which a label of one's own may hold already."""
        held = self.unit and re.search(rf"(?<!\w){re.escape(self.unit)}(?!\w)", self.label)
        return f"{self.label} ({self.unit})" if self.unit and not held else self.label


@dataclass(kw_only=True)
class Difference:
    """A cell less its baseline, paired by seed over n pairs, of the `seeds` that either of the two has.

    `interval` is the 95 % t-interval of this one difference; `p_holm` is corrected for all that the table
    tests, and `significant` says whether it is below 5 %. `d_z` (with a small-sample correction) and
    `hedges_g` are as in `statistics.Paired`. `smallest` is the difference that n and sd could have shown with
    80 % power; `more_seeds` the fewest and most further seeds that would show the observed one (None: over a
    thousand).
    """

    value: float
    n: int
    seeds: int
    sd: float | None
    interval: Pair | None
    p: float | None
    p_holm: float | None
    d_z: float | None
    hedges_g: float | None
    significant: bool
    smallest: float | None
    more_seeds: tuple[int | None, int | None] | None


@dataclass(kw_only=True)
class TableCell:
    """One quantity in one row: mean over n seeds, standard deviation (ddof 1), 95 % t-interval."""

    value: float | None
    n: int
    sd: float | None
    interval: Pair | None
    run_keys: list[str]
    best: bool = False
    second: bool = False
    difference: Difference | None = None


@dataclass(kw_only=True)
class Row:
    """One setting of the swept axes, over its seeds. A pivoted rendering puts several on one line.

    An axis without effect here is None, labelled by an en dash. `n` of `expected` seeds are finished,
    `missing` counts the others by what became of them. `mixes` names what differs between its runs. `cells`
    are by quantity.
    """

    axes: dict[str, Any]
    labels: dict[str, str]
    n: int
    expected: int
    missing: dict[str, int]
    run_keys: list[str]
    cells: dict[str, TableCell]
    baseline: bool = False
    mixes: list[str] = field(default_factory=list)

    def cell(self, quantity: str) -> TableCell:
        return self.cells[quantity]


@dataclass(kw_only=True)
class Reference:
    """Published numbers for comparison: `values` are (rows,) as printed there, empty where there is none."""

    label: str
    cite: str
    quantity: str
    values: list[str]


@dataclass(kw_only=True)
class Effect:
    """How much one swept axis, or two together, moves a quantity, averaged over the other axes.

    A main effect is the mean at `levels[0]` less that at `against[0]`. An interaction is how much the first
    axis's effect changes as the second goes from `against[1]` to `levels[1]`. Statistics are over seeds, as
    in `Difference`.
    """

    quantity: str
    axes: list[str]
    levels: list[Any]
    against: list[Any]
    value: float
    n: int
    sd: float | None
    interval: Pair | None
    p: float | None
    p_holm: float | None
    significant: bool


@dataclass(kw_only=True)
class Published:
    """A row of a method that wasn't run. Each of `cells` has the axis values it is for, metric and number."""

    label: str
    cite: str
    cells: list[dict[str, Any]]


@dataclass(kw_only=True)
class Marginal:
    """A mean over rows of the table, taken within each seed that all of them have, by quantity.

    `axes` are the values that these rows share: of the axes across for a last row, of those down the side for
    a last column, none for the corner.
    """

    over: str
    axes: dict[str, Any]
    cells: dict[str, TableCell]
    mixes: list[str]


@dataclass(kw_only=True)
class Table:
    """A study's table. `caption`, `findings` and `advice` (on seeds) are sentences.

    `notes` say what a reader must beware of. `options` are the table's, by which the same runs give the same
    table again; `told` are those of them that a command gave, over what the study declares.
    """

    study: str
    caption: list[str]
    row_axes: list[Axis]
    column_axes: list[Axis]
    quantities: list[Quantity]
    rows: list[Row]
    effects: list[Effect]
    references: list[Reference]
    published: list[Published]
    means: list[Marginal]
    findings: list[str]
    advice: list[str]
    notes: list[str]
    options: dict[str, Any]
    told: dict[str, Any] = field(default_factory=dict)

    @property
    def axes(self) -> list[Axis]:
        return [*self.row_axes, *self.column_axes]


def tidy(number: Any) -> Any:
    """A float to 12 digits, so that the same runs give the same bytes on any machine."""
    return float(f"{number:.12g}") if isinstance(number, float) else number


def tidy_pair(pair: Pair | None) -> Pair | None:
    return None if pair is None else (tidy(pair[0]), tidy(pair[1]))
