"""The table as HTML: a page of its own, or the fragment that the report builds on."""

from collections.abc import Callable
from html import escape
from importlib import resources

from cbam_ablate.aggregate.model import Cell, Difference, Row, Table
from cbam_ablate.report.grid import Grid, Heading, Text, lay_out, legend

Link = Callable[[Row], str]
"""Where the numbers of a row lead."""
POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"
"""What the page may load: nothing from anywhere."""


def render(table: Table) -> str:
    """A whole page with the table, its legend, findings and notes; its numbers lead to the runs' files."""
    return draw(table, lay_out(table))


def draw(table: Table, grid: Grid) -> str:
    """The page of a table already laid out."""
    return page(table.study, fragment(table, grid, to_files))


def page(title: str, body: str) -> str:
    """An HTML document with our style and script inside it, that loads nothing."""
    style, script = (asset(name) for name in ("report.css", "report.js"))
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<style>
{style}</style>
</head>
<body>
{body}
<script>
{script}</script>
</body>
</html>
"""


def asset(name: str) -> str:
    return resources.files("cbam_ablate.report").joinpath("assets", name).read_text(encoding="utf-8")


def to_files(row: Row) -> str:
    """The result of a row's first finished run, seen from the study's folder; empty where none is."""
    done = next((key for cell in row.cells.values() for key in cell.run_keys), None)
    return f"../../runs/{done}/result.json" if done else ""


def fragment(table: Table, grid: Grid, link: Link) -> str:
    """Caption, table, legend, findings, advice and notes."""
    caption = ". ".join(escape(sentence) for sentence in table.caption) + "."
    return "\n".join(
        [
            f'<p class="caption">{caption}</p>',
            drawn(grid, link),
            listed("legend", legend(table, grid)),
            listed("findings", table.findings),
            listed("advice", table.advice),
            listed("notes", table.notes),
        ]
    )


def drawn(grid: Grid, link: Link) -> str:
    """The table element, sortable by its headings and filtered by the box above it."""
    lines = [f"<tr>{''.join(_cell(text, link) for text in line)}</tr>" for line in grid.lines]
    return "\n".join(
        [
            '<div class="wide"><table class="sortable filtered">',
            "<thead>",
            *_spans(grid),
            f"<tr>{''.join(_heading(heading) for heading in grid.headings)}</tr>",
            "</thead>",
            "<tbody>",
            *lines,
            "</tbody></table></div>",
        ]
    )


def listed(kind: str, sentences: list[str]) -> str:
    if not sentences:
        return ""
    items = "".join(f"<li>{escape(sentence)}</li>" for sentence in sentences)
    return f'<ul class="{kind}">{items}</ul>'


def _spans(grid: Grid) -> list[str]:
    lines = []
    for level in range(grid.levels):
        cells = []
        for text, span in grid.spans(level):
            shown = escape(f"{grid.across[level]} {text}") if text else ""
            cells.append(f'<th colspan="{span}" class="across">{shown}</th>')
        lines.append(f"<tr>{''.join(cells)}</tr>")
    return lines


def _heading(heading: Heading) -> str:
    cite = f" [{heading.cite}]" if heading.cite else ""
    return f'<th scope="col" class="{heading.kind}">{escape(heading.text + cite)}</th>'


def _cell(text: Text, link: Link) -> str:
    if text.kind == "label":
        return f'<th scope="row">{escape(text.text)}</th>'
    shown = escape(text.text)
    if text.bold:
        shown = f"<strong>{shown}</strong>"
    if text.underline:
        shown = f"<u>{shown}</u>"
    if text.star:
        shown += " *"
    target = link(text.row) if text.row is not None and text.text else ""
    if target:
        shown = f'<a href="{escape(target)}">{shown}</a>'
    value = "" if text.value is None else f' data-value="{text.value!r}"'
    title = f' title="{escape(_title(text))}"' if text.cell is not None and text.cell.n else ""
    return f'<td class="{text.kind}"{value}{title}>{shown}</td>'


def _title(text: Text) -> str:
    """What a pointer over a number shows: everything known about it."""
    if text.cell is None:
        return ""
    if text.kind == "difference":
        return "" if text.cell.difference is None else difference_title(text.cell.difference)
    return cell_title(text.cell)


def cell_title(cell: Cell) -> str:
    parts = [f"mean {cell.value:.6g}", f"n {cell.n}"]
    if cell.sd is not None and cell.interval is not None:
        parts += [f"sd {cell.sd:.3g}", f"95 % interval {cell.interval[0]:.6g} to {cell.interval[1]:.6g}"]
    return "; ".join([*parts, f"runs {' '.join(cell.run_keys)}"])


def difference_title(found: Difference) -> str:
    parts = [f"{found.n} pairs"]
    if found.p is not None and found.p_holm is not None:
        parts += [f"p {found.p:.3g}", f"after Holm {found.p_holm:.3g}"]
    if found.d_z is not None:
        parts.append(f"d_z {found.d_z:.2f}")
    if found.hedges_g is not None:
        parts.append(f"Hedges' g {found.hedges_g:.2f}")
    if found.smallest is not None:
        parts.append(f"could have shown {found.smallest:.2g}")
    return "; ".join(parts)
