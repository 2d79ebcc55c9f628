"""The table as LaTeX: booktabs and siunitx, as it stands in a two-column paper."""

import re

from cbam_ablate.aggregate.findings import label
from cbam_ablate.aggregate.model import Table
from cbam_ablate.report import markup
from cbam_ablate.report.comma import is_asked_for
from cbam_ablate.report.grid import Grid, Heading, Text
from cbam_ablate.report.lay_out import lay_out
from cbam_ablate.report.legend import legend
from cbam_ablate.report.markup import Sentences, escape

NARROW = 50
"""Characters that fit beside each other in one column of a two-column paper, in small type."""
FITTED = r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%"
"""As it is, or scaled to the width of the column or page."""
PREAMBLE = "% \\usepackage{booktabs,siunitx,graphicx}  (siunitx 3)"
SETUP = (
    "input-decimal-markers={.},output-decimal-marker={%s},group-digits=integer,group-minimum-digits=4,"
    "group-separator={%s},round-mode=none,mode=math,propagate-math-font=true,reset-math-version=false,"
    "print-implicit-plus=false,retain-explicit-plus=true,retain-zero-uncertainty=true,"
    "drop-zero-decimal=false,minimum-integer-digits=0,minimum-decimal-digits=0,negative-color=,"
    "exponent-mode=input,table-number-alignment=right"
)
"""All that the table relies on, so that no \\sisetup of the document changes it."""
ALIGNED = r"\def\aligned#1#2{\hbox{\tablenum[table-format=#1]{#2}}}"
NUMBER = re.compile(r"(?<![\w.])([+−-]?)(\d+)((?:\.\d+)?)(?![\w.])")
PLAIN_NUMBERS = re.compile(r"[+−-]?\d+(\.\d+)?( ?± ?\d+(\.\d+)?)?")
BETWEEN = {" ± ": r"$\,\pm\,$", "±": r"$\,\pm\,$", " [": " {[}", ", ": r"\upto{}"}
Format = tuple[bool, int, int]
"""Whether a number has a sign, and its digits before and behind the decimal sign."""
Column = tuple[list[Format], str]
"""What holds the first, second, ... numbers of all a column's cells, and the longest words behind them."""


def render(table: Table) -> str:
    """A table environment; `table*` where it is wider than one column, scaled where there is less room."""
    return draw(table, lay_out(table))


def draw(table: Table, grid: Grid) -> str:
    """The table environment of a table already laid out, or with `table.fragment` the tabular alone."""
    options = table.options
    sentences = Sentences(table)
    comma = is_asked_for(table)
    signs = (",", "\\,") if comma else (".", ",")
    between = r"\def\upto{; }" if comma else r"\def\upto{, }"
    setup = [f"\\sisetup{{{SETUP % signs}}}", ALIGNED + between]
    columns = [_column([line[i] for line in grid.lines]) for i in range(len(grid.headings))]
    tabular = [
        f"\\begin{{tabular}}{{{''.join('l' if h.kind == 'label' else 'r' for h in grid.headings)}}}",
        "\\toprule",
        *_spans(grid, sentences),
        _line([_heading(heading, sentences) for heading in grid.headings]),
        "\\midrule",
        *_body(grid, columns, sentences),
        "\\bottomrule",
        "\\end{tabular}",
    ]
    if options.get("fragment"):
        return "\n".join([PREAMBLE, "\\begingroup", *setup, *tabular, "\\endgroup", *_runs(table)]) + "\n"
    span = options.get("span", "auto")
    star = "*" if span == "page" or (span == "auto" and _width(grid) > NARROW) else ""
    explained = [] if options.get("caption_only") else [one.rstrip(".") for one in legend(table, grid)]
    caption = " ".join(f"{sentences.latex(one)}." for one in [*table.caption, *explained])
    lines = [
        PREAMBLE,
        f"\\begin{{table{star}}}[t]",
        "\\centering\\small\\setlength{\\tabcolsep}{3.5pt}",
        *setup,
        f"\\caption{{{caption}}}",
        f"\\label{{tab:{_label(table.study)}}}",
        "\\smallskip",
    ]
    lines += [FITTED, *tabular, "}"]
    below = table.findings * options.get("findings", True) + table.notes * options.get("notes", True)
    if below:
        printed = "\\\\\n".join(sentences.latex(sentence) for sentence in below)
        lines += [f"\\par\\smallskip\\parbox{{\\linewidth}}{{\\footnotesize\\raggedright {printed}}}"]
    lines += [f"\\end{{table{star}}}", *_runs(table)]
    return "\n".join([*lines, *(_comment(sentences.plain(one)) for one in table.advice)]) + "\n"


def _runs(table: Table) -> list[str]:
    """Comments that name each row's runs."""
    return [_comment(f"{label(row, markup.plain)}: {' '.join(row.run_keys)}") for row in table.rows]


def _comment(text: str) -> str:
    return f"% {' '.join(text.replace(chr(92), '').split())}"


def _width(grid: Grid) -> int:
    columns = zip(*([text.text for text in line] for line in grid.lines), strict=True)
    widths = [
        max([len(markup.plain(heading.text)), *(len(markup.plain(text)) for text in texts)])
        for heading, texts in zip(grid.headings, columns, strict=True)
    ]
    return sum(widths) + 2 * (len(widths) - 1)


def _spans(grid: Grid, sentences: Sentences) -> list[str]:
    """Nested headings, each with a rule below it."""
    lines = []
    for level in range(grid.levels):
        cells, rules, column = [], [], 1
        for text, span in grid.spans(level):
            printed = sentences.latex(f"{grid.across[level]} {text}") if text else ""
            cells.append(f"\\multicolumn{{{span}}}{{c}}{{{printed}}}")
            if text:
                rules.append(f"\\cmidrule(lr){{{column}-{column + span - 1}}}")
            column += span
        lines += [_line(cells), "".join(rules)]
    return lines


def _body(grid: Grid, columns: list[Column], sentences: Sentences) -> list[str]:
    lines = []
    for index, line in enumerate(grid.lines):
        if index in grid.breaks:
            lines += ["\\midrule"] * (index > 0)
            group = grid.breaks[index]
            if group:
                lines.append(
                    _line([f"\\multicolumn{{{len(line)}}}{{l}}{{\\emph{{{sentences.latex(group)}}}}}"])
                )
        lines.append(_line([_cell(text, one, sentences) for text, one in zip(line, columns, strict=True)]))
    return lines


def _line(cells: list[str]) -> str:
    return f"{' & '.join(cells)} \\\\"


def _heading(heading: Heading, sentences: Sentences) -> str:
    cited = "~\\cite{" + heading.cite + "}" if heading.cite else ""
    return f"{{{sentences.latex(heading.text)}{cited}}}"


def _column(texts: list[Text]) -> Column:
    shapes: list[Format] = []
    behind = ""
    for text in texts:
        if not _is_numbers(text):
            continue
        numbers, rest = _split(text.text)
        behind = max(behind, rest, key=len)
        for place, (sign, whole, part) in enumerate(NUMBER.findall(numbers)):
            shape = bool(sign), len(whole), max(0, len(part) - 1)
            if place == len(shapes):
                shapes.append(shape)
            else:
                old = shapes[place]
                shapes[place] = old[0] or shape[0], max(old[1], shape[1]), max(old[2], shape[2])
    return shapes, behind


def _is_numbers(text: Text) -> bool:
    measured = text.kind in ("result", "difference") and NUMBER.match(text.text) is not None
    return measured or (text.kind == "reference" and PLAIN_NUMBERS.fullmatch(text.text) is not None)


def _split(text: str) -> tuple[str, str]:
    """The numbers of a cell, and what stands behind them."""
    numbers, mark, rest = text.partition(" (")
    if not mark:
        numbers, mark, rest = text.partition(" ‡")
    return numbers, mark + rest


def _cell(text: Text, column: Column, sentences: Sentences) -> str:
    if text.kind == "cost":
        return _cost(text.text)
    if text.kind == "label":
        cited = f"~\\cite{{{text.cite}}}" if text.cite else ""
        return sentences.latex(text.text) + cited
    room = ""
    if _is_numbers(text):
        numbers, rest = _split(text.text)
        formats, longest = column
        # Words behind a number take their room in every cell, so that the numbers stand below each other.
        room = f"\\hphantom{{ {escape(longest)}}}" if longest and not rest else ""
        printed = _aligned(numbers, formats) + (f" {escape(rest)}" if rest else "")
        if text.bold:
            printed = f"\\boldmath{{}}{printed}"
    else:
        printed = text.text if markup.is_latex(text.text) else escape(sentences.numbers(text.text))
        printed = f"\\textbf{{{printed}}}" if text.bold and printed else printed
    if text.underline:
        printed = f"\\underline{{{printed}}}"
    if text.star:
        printed += "\\rlap{$^{*}$}"
    return printed + room


def _aligned(text: str, formats: list[Format]) -> str:
    """Numbers on their decimal signs, by siunitx, with the signs between them."""
    printed, end = [], 0
    for found, (signed, whole, part) in zip(NUMBER.finditer(text), formats, strict=False):
        printed.append(BETWEEN.get(text[end : found.start()], ""))
        shape = f"{'+' * signed}{whole}.{part}"
        printed.append(f"\\aligned{{{shape}}}{{{found[1].replace('−', '-')}{found[2]}{found[3]}}}")
        end = found.end()
    return "".join(printed) + ("{]}" if text.endswith("]") else "")


def _cost(text: str) -> str:
    """A cost by siunitx, its unit in words behind it."""
    found = re.fullmatch(r"([\d,.]+)( \w+)?", text)
    if found is None:
        return escape(text)
    unit = "\\," + found[2].strip() if found[2] else ""
    return f"\\num{{{found[1].replace(',', '')}}}{unit}"


def _label(study: str) -> str:
    return re.sub(r"[^A-Za-z0-9:-]+", "-", study)
