"""The table as Markdown (GitHub's pipe tables)."""

import re

from cbam_ablate.aggregate.findings import label
from cbam_ablate.aggregate.model import Table
from cbam_ablate.report import markup
from cbam_ablate.report.grid import Grid, Text
from cbam_ablate.report.lay_out import lay_out
from cbam_ablate.report.legend import legend

SPECIAL = re.compile(r"[\\`*<>|~$&]|(?<![^\W_])_|_(?![^\W_])|\](?=[(\[:])|^#")


def render(table: Table) -> str:
    """Markdown text; caption above, legend, findings and notes below, the runs of each row in a comment."""
    return draw(table, lay_out(table).localised(table))


def draw(table: Table, grid: Grid) -> str:
    """Markdown text of a table already laid out."""
    right = ["---" if heading.kind == "label" else "---:" for heading in grid.headings]
    sentences = markup.Sentences(table)
    lines = [_pipes(_headings(grid, sentences)), _pipes(right)]
    for index, line in enumerate(grid.lines):
        if grid.breaks.get(index):
            group = f"**{escape(sentences.plain(grid.breaks[index]))}**"
            lines.append(_pipes([group, *[""] * (len(grid.headings) - 1)]))
        lines.append(_pipes([_cell(text) for text in line]))
    caption = ". ".join(escape(sentences.plain(sentence)) for sentence in table.caption) + "."
    parts = [caption, "\n".join(lines)]
    below = [] if table.options.get("caption_only") else legend(table, grid)
    if table.options.get("findings", True):
        below += [*table.findings, *table.advice]
    if table.options.get("notes", True):
        below += table.notes
    if below:
        parts.append("\n".join(f"- {escape(sentences.plain(sentence))}" for sentence in below))
    return "\n\n".join([*parts, _runs(table)]) + "\n"


def _runs(table: Table) -> str:
    """A comment that names each row's runs."""
    rows = (f"{label(row, markup.plain)}: {' '.join(row.run_keys)}" for row in table.rows)
    # A comment may hold neither its own end nor two hyphens.
    named = "\n".join(escape(re.sub(r"-(?=-)|[<>]", "", row)) for row in rows)
    return f"<!-- runs\n{named}\n-->"


def _headings(grid: Grid, sentences: markup.Sentences) -> list[str]:
    """Markdown has one line of headings: what goes across stands before each column's own."""
    found = []
    for heading in grid.headings:
        above = ", ".join(f"{axis} {value}" for axis, value in zip(grid.across, heading.above, strict=False))
        cite = f" [{heading.cite}]" if heading.cite else ""
        text = f"{above}: {heading.text}{cite}" if above else f"{heading.text}{cite}"
        found.append(escape(sentences.plain(text)))
    return found


def _cell(text: Text) -> str:
    cite = f" [{text.cite}]" if text.cite else ""
    printed = escape(markup.plain(text.text) + cite)
    if not printed:
        return ""
    if text.bold:
        printed = f"**{printed}**"
    if text.underline:
        printed = f"<u>{printed}</u>"
    return f"{printed} \\*" if text.star else printed


def _pipes(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def escape(text: str) -> str:
    """Text that no Markdown reader takes for markup, on one line."""
    return SPECIAL.sub(r"\\\g<0>", " ".join(text.split()))
