"""The table as Markdown (GitHub's pipe tables)."""

import re

from cbam_ablate.aggregate.model import Table
from cbam_ablate.report.grid import Grid, Text, lay_out, legend

SPECIAL = re.compile(r"[\\`*<>|~$&]|(?<![^\W_])_|_(?![^\W_])|\](?=[(\[:])|^#")


def render(table: Table) -> str:
    """Markdown text; caption above, legend, findings and notes below."""
    return draw(table, lay_out(table))


def draw(table: Table, grid: Grid) -> str:
    """Markdown text of a table already laid out."""
    right = ["---" if heading.kind == "label" else "---:" for heading in grid.headings]
    lines = [
        _pipes(_headings(grid)),
        _pipes(right),
        *(_pipes([_cell(text) for text in line]) for line in grid.lines),
    ]
    caption = ". ".join(escape(sentence) for sentence in table.caption) + "."
    parts = [caption, "\n".join(lines)]
    below = [*legend(table, grid), *table.findings, *table.advice, *table.notes]
    if below:
        parts.append("\n".join(f"- {escape(sentence)}" for sentence in below))
    return "\n\n".join(parts) + "\n"


def _headings(grid: Grid) -> list[str]:
    """Markdown has one line of headings: what goes across stands before each column's own."""
    found = []
    for heading in grid.headings:
        above = ", ".join(f"{axis} {value}" for axis, value in zip(grid.across, heading.above, strict=False))
        cite = f" [{heading.cite}]" if heading.cite else ""
        found.append(escape(f"{above}: {heading.text}{cite}" if above else f"{heading.text}{cite}"))
    return found


def _cell(text: Text) -> str:
    printed = escape(text.text)
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
