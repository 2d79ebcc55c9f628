"""The table as HTML: a page of its own, or the fragment that the report builds on."""

from collections.abc import Callable
from functools import cache, partial
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from cbam_ablate.aggregate.model import Difference, Quantity, Row, Table, TableCell
from cbam_ablate.report.digits import could_show
from cbam_ablate.report.grid import Grid, Heading, Text
from cbam_ablate.report.lay_out import lay_out
from cbam_ablate.report.legend import legend
from cbam_ablate.report.markup import Sentences, plain

Link = Callable[[Row], str]
"""Where the numbers of a row lead."""
POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"
"""What the page may load: nothing from anywhere."""


def render(table: Table) -> str:
    """A whole page with the table, its legend, findings and notes; its numbers lead to the runs' files."""
    return draw(table, lay_out(table).localised(table))


def draw(table: Table, grid: Grid, runs: str = "../../runs") -> str:
    """The page of a table already laid out; `runs` is where its runs are, seen from the page."""
    return page(table.study, fragment(table, grid, partial(to_files, runs=runs)))


def fill(template: str, **values: Any) -> Markup:
    """A template of ours filled in; all that isn't marked as markup is escaped."""
    return Markup(_templates().get_template(template).render(**values))


@cache
def _templates() -> Environment:
    loader = PackageLoader("cbam_ablate.report")
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined, keep_trailing_newline=False)


def page(title: str, body: Markup) -> str:
    """An HTML document with our style and script inside it, that loads nothing."""
    style, script = (Markup(asset(name)) for name in ("report.css", "report.js"))
    policy = Markup(POLICY)
    return f"{fill('page.html', title=title, body=body, style=style, script=script, policy=policy)}\n"


def asset(name: str) -> str:
    return resources.files("cbam_ablate.report").joinpath("assets", name).read_text(encoding="utf-8")


def to_files(row: Row, runs: str) -> str:
    """The result of a row's first finished run; empty where none is."""
    done = next((key for cell in row.cells.values() for key in cell.run_keys), None)
    return f"{runs}/{done}/result.json" if done else ""


def fragment(table: Table, grid: Grid, link: Link, whole: bool = False) -> Markup:
    """Caption, table, legend, findings, advice and notes; `whole` shows what the options leave out too."""
    sentences, options = Sentences(table), table.options
    below = {
        "legend": [] if options.get("caption_only") and not whole else legend(table, grid),
        "findings": table.findings if whole or options.get("findings", True) else [],
        "advice": table.advice if whole or options.get("findings", True) else [],
        "notes": table.notes if whole or options.get("notes", True) else [],
    }
    return fill(
        "table.html",
        grid=grid,
        caption=sentences.plain(". ".join(table.caption) + "."),
        spans=[
            [
                (sentences.plain(f"{grid.across[level]} {text}") if text else "", n)
                for text, n in grid.spans(level)
            ]
            for level in range(grid.levels)
        ],
        headings=[
            (one.kind, sentences.plain(one.text) + (f" [{one.cite}]" if one.cite else ""))
            for one in grid.headings
        ],
        lines=[
            (
                sentences.plain(grid.breaks.get(index, "")),
                index > 0 and index in grid.breaks,
                [_cell(*one, link, sentences) for one in zip(line, grid.headings, strict=True)],
            )
            for index, line in enumerate(grid.lines)
        ],
        lists=[(kind, [sentences.plain(one) for one in many]) for kind, many in below.items()],
    )


def _cell(text: Text, heading: Heading, link: Link, sentences: Sentences) -> Markup:
    shown = escape(plain(text.text))
    if text.kind == "label":
        cite = escape(f" [{text.cite}]") if text.cite else ""
        return Markup(f'<th scope="row">{shown}{cite}</th>')
    marked = str(shown)
    if text.bold:
        marked = f"<strong>{marked}</strong>"
    if text.underline:
        marked = f"<u>{marked}</u>"
    if text.star:
        marked += " *"
    target = link(text.row) if text.row is not None and text.text else ""
    if target:
        marked = f'<a href="{escape(target)}">{marked}</a>'
    value = "" if text.value is None else f' data-value="{text.value!r}"'
    told = sentences.numbers(_title(text, heading)) if text.cell is not None and text.cell.n else ""
    title = f' title="{escape(told)}"' if told else ""
    return Markup(f'<td class="{text.kind}"{value}{title}>{marked}</td>')


def _title(text: Text, heading: Heading) -> str:
    """What a pointer over a number shows: everything known about it."""
    if text.cell is None or heading.quantity is None:
        return ""
    if text.kind == "difference":
        found = text.cell.difference
        return "" if found is None else difference_title(found, heading.quantity)
    return cell_title(text.cell)


def cell_title(cell: TableCell) -> str:
    parts = [f"mean {cell.value:.6g}", f"n {cell.n}"]
    if cell.sd is not None and cell.interval is not None:
        parts += [f"sd {cell.sd:.3g}", f"95 % interval {cell.interval[0]:.6g} to {cell.interval[1]:.6g}"]
    return "; ".join([*parts, f"runs {' '.join(cell.run_keys)}"])


def difference_title(found: Difference, quantity: Quantity) -> str:
    parts = [f"{found.n} of {found.seeds} pairs"]
    if found.p is not None and found.p_holm is not None:
        parts += [f"p {found.p:.3g}", f"after Holm {found.p_holm:.3g}"]
    if found.d_z is not None:
        parts.append(f"d_z {found.d_z:.2f}")
    if found.hedges_g is not None:
        parts.append(f"Hedges' g {found.hedges_g:.2f}")
    if found.smallest is not None:
        parts.append(f"could have shown {could_show(found, quantity)}")
    return "; ".join(parts)
