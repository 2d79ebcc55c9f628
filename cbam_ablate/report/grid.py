"""A printed table: headings and lines of marked text, which each rendering escapes and draws."""

import itertools
import re
from dataclasses import dataclass, field
from typing import Any

from cbam_ablate.aggregate.model import Quantity, Reference, Row, Table, TableCell
from cbam_ablate.report import comma
from cbam_ablate.report.digits import Digits
from cbam_ablate.report.markup import Sentences

KEY = re.compile(r"[A-Za-z][A-Za-z0-9:.+/-]*")


@dataclass
class Text:
    """What stands in one place. `bold` and `underline` rank it, `star` says it differs from the baseline.

    `kind` is label, result, difference, count, cost or reference; `cell` is the model's cell behind it, in
    `row`; `value` is what it sorts by, `cite` the key of a bibliography.
    """

    text: str
    kind: str = "label"
    bold: bool = False
    underline: bool = False
    star: bool = False
    cell: TableCell | None = None
    row: Row | None = None
    value: float | None = None
    cite: str = ""


@dataclass
class Heading:
    """A column's own heading; `above` are the labels of the axes that go across, `group` their values.

    `group` is None for the means over them.
    """

    text: str
    kind: str
    above: tuple[str, ...] = ()
    group: tuple[Any, ...] | None = ()
    quantity: Quantity | None = None
    reference: Reference | None = None
    digits: Digits = field(default_factory=lambda: Digits(2))

    @property
    def cite(self) -> str:
        """The key of a bibliography that the column's numbers are from; other sources are in the legend."""
        cited = self.reference.cite if self.reference else ""
        return cited if KEY.fullmatch(cited) else ""


@dataclass
class Grid:
    """The printed table. `headings` and every line are (columns,); `across` labels the pivoted axes.

    `breaks` says before which lines a rule stands, with the heading of the group that begins there, if any.
    """

    headings: list[Heading]
    across: list[str]
    lines: list[list[Text]] = field(default_factory=list)
    breaks: dict[int, str] = field(default_factory=dict)

    @property
    def levels(self) -> int:
        """Lines of headings above the columns' own."""
        return len(self.across)

    def spans(self, level: int) -> list[tuple[str, int]]:
        """The headings of one level from left to right, each with the number of columns below it."""
        keys = [heading.above[: level + 1] or ("",) for heading in self.headings]
        return [(key[-1], len(list(same))) for key, same in itertools.groupby(keys)]

    def localised(self, table: Table) -> "Grid":
        """The grid with the numbers of its body written with a decimal comma, where that is asked for."""
        if not comma.is_asked_for(table):
            return self
        sentences = Sentences(table)
        for text in (text for line in self.lines for text in line):
            own = text.kind in ("label", "reference")
            text.text = sentences.numbers(text.text) if own else comma.measured(text.text)
        return self
