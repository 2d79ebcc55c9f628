"""The table for a terminal, by rich."""

import io
import shutil
import sys
from functools import partial

from rich.console import Console
from rich.table import Table as Drawn
from rich.text import Text as Styled

from cbam_ablate.aggregate.model import Table
from cbam_ablate.report.grid import Text
from cbam_ablate.report.lay_out import lay_out
from cbam_ablate.report.legend import legend
from cbam_ablate.report.markup import Sentences, plain

PLAIN_WIDTH = 10_000
MOST_LINES = 100


def render(table: Table, color: bool | None = None) -> str:
    """Text for the terminal. Without colour (the default where stdout is none) ranks show as * and _."""
    color = sys.stdout.isatty() if color is None else color
    grid = lay_out(table).localised(table)
    sentences = Sentences(table)
    drawn = Drawn(box=None, pad_edge=False, header_style="bold")
    for heading in grid.headings:
        above = [f"{axis} {value}" for axis, value in zip(grid.across, heading.above, strict=False)]
        cite = f" [{heading.cite}]" if heading.cite else ""
        title = Styled(sentences.plain("\n".join([*above, heading.text + cite])))
        drawn.add_column(title, justify="left" if heading.kind == "label" else "right", no_wrap=True)
    for index, line in enumerate(grid.lines[:MOST_LINES]):
        if index in grid.breaks and (index or grid.breaks[index]):
            drawn.add_row(Styled(sentences.plain(grid.breaks[index]), "italic" if color else ""))
        drawn.add_row(*(_cell(text, color) for text in line))
    width = max(shutil.get_terminal_size((100, 24)).columns, 40) if color else PLAIN_WIDTH
    file = io.StringIO()
    make = partial(Console, file=file, force_terminal=color, color_system="auto" if color else None)
    # A table wider than the terminal is wrapped by it; cut, its numbers would be others.
    console, wide = make(width=width), make(width=PLAIN_WIDTH)
    console.print(Styled(sentences.plain(". ".join(table.caption) + ".")))
    console.print()
    wide.print(drawn)
    console.print()
    marks = legend(table, grid)
    if not color:
        marks = [_plain(sentence) for sentence in marks]
    if len(grid.lines) > MOST_LINES:
        marks.append(f"{len(grid.lines) - MOST_LINES} more lines are in table.md.")
    for sentence in [*marks, *table.findings, *table.advice, *table.notes]:
        console.print(Styled(sentences.plain(sentence)))
    return "\n".join(line.rstrip() for line in file.getvalue().splitlines())


def _cell(text: Text, color: bool) -> Styled:
    style = "bold" if text.bold else "underline" if text.underline else ""
    mark = {"bold": "*", "underline": "_"}.get(style, "") if not color else ""
    cite = f" [{text.cite}]" if text.cite else ""
    drawn = Styled(f"{mark}{plain(text.text)}{cite}{mark}", style if color else "")
    return drawn.append(" *", "") if text.star else drawn


def _plain(sentence: str) -> str:
    """The legend where there is no bold: what is drawn between marks."""
    return sentence.replace("Bold:", "*...*:", 1).replace("Underlined:", "_..._:", 1)


render_terminal = render
"""As `cbam_ablate.report` calls it."""
