"""The table as LaTeX: booktabs and siunitx, as it stands in a two-column paper."""

import re
import unicodedata

from cbam_ablate.aggregate.model import Table
from cbam_ablate.report.grid import Grid, Heading, Text, lay_out, legend

ESCAPES = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%",
    "_": r"\_", "^": r"\textasciicircum{}", "~": r"\textasciitilde{}", "<": r"\textless{}",
    ">": r"\textgreater{}", "|": r"\textbar{}", '"': "''", "±": r"$\pm$", "−": r"$-$",
    "Δ": r"$\Delta$", "↑": r"$\uparrow$", "↓": r"$\downarrow$", "–": "--", "—": "---", "‡": r"\ddag{}",
    "×": r"$\times$", "…": r"\ldots{}", "µ": r"$\mu$", "→": r"$\to$", "≤": r"$\le$", "≥": r"$\ge$",
    "*": "$*$", "[": "{[}", "]": "{]}",
}  # fmt: skip
ACCENTS = set("\u0300\u0301\u0302\u0303\u0308\u030a\u030c\u0327")
"""Grave, acute, circumflex, tilde, diaeresis, ring, caron and cedilla, as combining characters."""
NARROW = 50
"""Characters that fit beside each other in one column of a two-column paper, in small type."""
WIDE = 110
PREAMBLE = "% \\usepackage{booktabs,siunitx,graphicx}"


def render(table: Table) -> str:
    """A table environment; `table*` where it is wider than one column, scaled where wider than the page."""
    return draw(table, lay_out(table))


def draw(table: Table, grid: Grid) -> str:
    """The table environment of a table already laid out."""
    width = _width(grid)
    star = "*" if width > NARROW else ""
    caption = " ".join(f"{escape(sentence)}." for sentence in [*table.caption, *_bare(legend(table, grid))])
    lines = [
        PREAMBLE,
        f"\\begin{{table{star}}}[t]",
        "\\centering\\small\\setlength{\\tabcolsep}{3.5pt}",
        "\\sisetup{group-minimum-digits=4,group-separator={,}}",
        f"\\caption{{{caption}}}",
        f"\\label{{tab:{_label(table.study)}}}",
        "\\smallskip",
    ]
    tabular = [
        f"\\begin{{tabular}}{{{''.join('l' if h.kind == 'label' else 'r' for h in grid.headings)}}}",
        "\\toprule",
        *_spans(grid),
        _line([_heading(heading) for heading in grid.headings]),
        "\\midrule",
        *(_line([_cell(text) for text in line]) for line in grid.lines),
        "\\bottomrule",
        "\\end{tabular}",
    ]
    lines += ["\\resizebox{\\textwidth}{!}{%", *tabular, "}"] if width > WIDE else tabular
    below = [*table.findings, *table.notes]
    if below:
        printed = "\\\\\n".join(escape(sentence) for sentence in below)
        lines += [f"\\par\\smallskip\\parbox{{\\linewidth}}{{\\footnotesize\\raggedright {printed}}}"]
    lines += [f"\\end{{table{star}}}", *(f"% {' '.join(sentence.split())}" for sentence in table.advice)]
    return "\n".join(lines) + "\n"


def _bare(sentences: list[str]) -> list[str]:
    return [sentence.rstrip(".") for sentence in sentences]


def _width(grid: Grid) -> int:
    columns = zip(*([text.text for text in line] for line in grid.lines), strict=True)
    widths = [
        max([len(heading.text), *map(len, texts)])
        for heading, texts in zip(grid.headings, columns, strict=True)
    ]
    return sum(widths) + 2 * (len(widths) - 1)


def _spans(grid: Grid) -> list[str]:
    """Nested headings, each with a rule below it."""
    lines = []
    for level in range(grid.levels):
        cells, rules, column = [], [], 1
        for text, span in grid.spans(level):
            printed = f"{grid.across[level]} {text}" if text else ""
            cells.append(f"\\multicolumn{{{span}}}{{c}}{{{escape(printed)}}}")
            if text:
                rules.append(f"\\cmidrule(lr){{{column}-{column + span - 1}}}")
            column += span
        lines += [_line(cells), "".join(rules)]
    return lines


def _line(cells: list[str]) -> str:
    return f"{' & '.join(cells)} \\\\"


def _heading(heading: Heading) -> str:
    cited = "~\\cite{" + heading.cite + "}" if heading.cite else ""
    return f"{{{escape(heading.text)}{cited}}}"


def _cell(text: Text) -> str:
    if text.kind == "cost":
        return _number(text.text)
    printed = escape(text.text)
    if text.kind == "result" and "±" in text.text:
        printed = f"${_math(text.text)}$" if not text.bold else f"$\\mathbf{{{_math(text.text)}}}$"
    elif text.bold:
        printed = f"\\textbf{{{printed}}}"
    if text.underline:
        printed = f"\\underline{{{printed}}}"
    return f"{printed}\\rlap{{$^{{*}}$}}" if text.star else printed


def _math(text: str) -> str:
    return text.replace("±", r"\pm").replace("−", "-").replace("‡", r"^{\ddagger}")


def _number(text: str) -> str:
    """A cost by siunitx, its unit in words behind it."""
    found = re.fullmatch(r"([\d,.]+)( \w+)?", text)
    if found is None:
        return escape(text)
    unit = "\\," + found[2].strip() if found[2] else ""
    return f"\\num{{{found[1].replace(',', '')}}}{unit}"


def _label(study: str) -> str:
    return re.sub(r"[^A-Za-z0-9:-]+", "-", study)


def escape(text: str) -> str:
    """Text that LaTeX prints as it is; letters that pdfLaTeX lacks become a question mark."""
    return "".join(ESCAPES.get(letter) or _letter(letter) for letter in " ".join(text.split()))


def _letter(letter: str) -> str:
    """ASCII, and accented letters that the oldest fonts can build."""
    parts = unicodedata.normalize("NFD", letter)
    built = parts[0].isascii() and parts[0].isalpha() and set(parts[1:]) <= ACCENTS
    known = built or letter in "ßæÆøØåÅœŒ"
    return letter if known or (letter.isascii() and letter.isprintable()) else "?"
