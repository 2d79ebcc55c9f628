"""The LaTeX that authors put into their papers: labels, letters, options, and what engines make of it."""

import random
import re
import shutil
import subprocess
import unicodedata

import pytest

from cbam_ablate.aggregate import build_table, load_study
from cbam_ablate.report import latex, markdown, markup, table_html

PLACEMENT, REDUCTION = "model.attention.placement", "model.attention.reduction"
AXES = {PLACEMENT: ["none", "block"], REDUCTION: [4, 16], "seed": [0, 1, 2]}
ENGINES = [name for name in ("pdflatex", "lualatex") if shutil.which(name)]


def score(chosen):
    noise = random.Random(repr(chosen)).gauss(0, 0.1)
    return round(90 + 2 * (chosen[PLACEMENT] == "block") + 0.3 * chosen["seed"] + noise, 2)


def make(stand_in, **options):
    stand_in.build(AXES, score)
    return build_table(load_study(stand_in.root, stand_in.study), options)


@pytest.mark.parametrize(
    "text",
    [
        "$r=16$",
        r"\cite{hu2018}",
        r"\textbf{ours}",
        r"CBAM~\cite{woo}",
        r"50 \% less",
        r"\ours{} net",
        "$x_1$",
    ],
)
def test_a_label_that_is_latex_stands_as_it_is(stand_in, text):
    shown = latex.render(make(stand_in, labels={"block": text}))
    assert f"{text} & " in shown
    assert "textbackslash" not in shown


@pytest.mark.parametrize(
    "text",
    [
        "a $5 b",
        "C:\\temp",
        "\\input{x}",
        "$\\frac$",
        "\\textbf{x",
        "50 % & #1",
        "{x}",
        "$x$ & y",
        "\\foo",
        "a_b",
    ],
)
def test_words_that_look_like_latex_are_escaped(text):
    assert not markup.is_latex(text)
    assert markup.label(text) == markup.escape(text)


def test_a_latex_label_is_words_in_other_forms(stand_in):
    table = make(stand_in, labels={"block": r"\textbf{ours} $\alpha$~\cite{woo}"})
    for shown in (markdown.render(table), table_html.render(table)):
        assert "ours α [woo]" in shown.replace("\\[", "[").replace("\\]", "]")
        assert "textbf" not in shown


NUMERIC = [
    {REDUCTION: {16: "sixteen"}},
    {"reduction": {16: "sixteen"}},
    {16: "sixteen"},
    {"reduction=16": "sixteen"},
    {"reduction.16": "sixteen"},
]


@pytest.mark.parametrize("labels", NUMERIC)
def test_labels_name_numeric_values(stand_in, labels):
    table = make(stand_in, labels=labels)
    assert [row.labels[REDUCTION] for row in table.rows] == ["–", "4", "sixteen"]
    assert not any("table.labels" in note for note in table.notes)


def test_a_bare_numbers_label_is_for_what_was_swept_and_no_other_option(stand_in):
    epochs = int(re.search(r"epochs (\d+)", " ".join(make(stand_in).caption))[1])
    table = make(stand_in, labels={epochs: "few", 16: "sixteen"})
    assert f"epochs {epochs}" in " ".join(table.caption)


def test_an_unknown_label_is_told(stand_in):
    assert any("table.labels.blok" in note for note in make(stand_in, labels={"blok": "x"}).notes)


def test_a_unit_in_a_label_is_not_doubled(stand_in):
    shown = latex.render(make(stand_in, labels={"test_top1": "Acc. (%)"}))
    assert "{Acc. (\\%) $\\uparrow$}" in shown
    assert "(\\%) (\\%)" not in shown


def test_a_caption_of_ones_own_is_all_of_it(stand_in):
    shown = latex.render(make(stand_in, caption="As in $x$.", caption_only=True))
    assert "\\caption{As in $x$.}" in shown


PARTS = {"findings": "the best", "notes": "table.labels.zzz", "delta": "$\\Delta$ (points)", "n": "{n}"}


@pytest.mark.parametrize("part", list(PARTS))
def test_parts_are_left_out_one_by_one(stand_in, part):
    table = make(stand_in, labels={"zzz": "x"}, caption="c", caption_only=True)
    assert PARTS[part] in latex.render(table)
    less = make(stand_in, labels={"zzz": "x"}, caption="c", caption_only=True, **{part: False})
    assert PARTS[part] not in latex.render(less)
    assert all(PARTS[other] in latex.render(less) for other in PARTS if other != part)


def test_a_fragment_is_the_tabular_alone_in_a_group_of_its_own(stand_in):
    shown = latex.render(make(stand_in, fragment=True))
    assert "\\begin{table" not in shown
    assert shown.index("\\begingroup") < shown.index("\\sisetup") < shown.index("\\endgroup")


def test_a_table_spans_what_it_is_told_to(stand_in):
    assert "\\begin{table}[t]" in latex.render(make(stand_in, span="column"))
    assert "\\begin{table*}[t]" in latex.render(make(stand_in, span="page", costs=[]))


def test_each_rows_runs_stand_in_a_comment(stand_in):
    table = make(stand_in)
    comments = [line for line in latex.render(table).splitlines() if line.startswith("% ")]
    hidden = re.search(r"<!-- runs\n(.*)\n-->", markdown.render(table), re.DOTALL)[1].splitlines()
    for row, line in zip(table.rows, hidden, strict=True):
        assert line.endswith(" ".join(row.run_keys))
        assert any(comment.endswith(" ".join(row.run_keys)) for comment in comments)


def test_rows_stand_as_listed_in_groups_with_headings_and_means(stand_in):
    table = make(
        stand_in, groups=["placement"], order={"placement": ["block", "none"], "reduction": [16, 4]},
        means=["row"], published=[{"label": "SENet", "cite": "hu2018", "values": {"test_top1": 91.5}}],
    )  # fmt: skip
    body = latex.render(table).partition("\\midrule")[2]
    order = [
        "placement block",
        "16 &",
        "4 &",
        "\\midrule",
        "placement none",
        "SENet~\\cite{hu2018}",
        "mean &",
    ]
    places = [body.index(text) for text in order]
    assert places == sorted(places)
    assert "91.5" in body


def test_a_pivot_keeps_n_marks_and_marginal_means(stand_in):
    keys = stand_in.build({**AXES, PLACEMENT: ["none", "block", "class"]}, score)
    (stand_in.run(keys["block", 16, 2]) / "result.json").unlink()
    stand_in.fail(keys["block", 16, 2])
    values = {"columns": ["reduction"], "means": ["row", "column"]}
    table = build_table(load_study(stand_in.root, stand_in.study), values)
    shown = markdown.render(table)
    assert "2/3 (1 diverged)" in shown
    (column,) = [one for one in table.means if one.over == "columns" and one.axes[PLACEMENT] == "block"]
    cells = [row.cell("test_top1") for row in table.rows if row.axes[PLACEMENT] == "block"]
    study = load_study(stand_in.root, stand_in.study)
    both = [[study.records[key].values["test_top1"] for key in cell.run_keys[:2]] for cell in cells]
    assert column.cells["test_top1"].n == 2
    assert column.cells["test_top1"].value == pytest.approx(sum(map(sum, both)) / 4)
    assert "(n = 2)" in shown


PAPER = r"""\documentclass[twocolumn]{article}
\usepackage{booktabs,siunitx,graphicx}
\sisetup{locale=DE,round-mode=places,round-precision=2}
\begin{document}
\input{table}
\end{document}
"""


@pytest.mark.slow
@pytest.mark.skipif(not ENGINES or not shutil.which("pdftotext"), reason="no TeX")
@pytest.mark.parametrize("page", ["onecolumn", "twocolumn"])
@pytest.mark.parametrize("span", ["column", "page"])
def test_a_table_is_scaled_where_it_is_wider_than_its_page_or_column_and_only_there(
    stand_in, tmp_path, page, span
):
    table = make(stand_in, span=span, caption="c", caption_only=True, findings=False, notes=False)
    (tmp_path / "table.tex").write_text(latex.render(table))
    (tmp_path / "paper.tex").write_text(PAPER.replace("twocolumn", page))
    command = [ENGINES[0], "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", "paper.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout[-2000:]
    assert "Overfull" not in done.stdout
    boxes = subprocess.run(
        ["pdftotext", "-bbox", "paper.pdf", "-"], cwd=tmp_path, capture_output=True, text=True
    ).stdout
    sizes = [
        float(bottom) - float(top)
        for top, bottom in re.findall(r'yMin="([\d.]+)".* yMax="([\d.]+)">272,474<', boxes)
    ]
    assert sizes
    small_type = pytest.approx(7.96, abs=0.05)
    assert all(size == small_type if (span, page) == ("page", "twocolumn") else size < 7.5 for size in sizes)


LETTERS = "α β Ł ğ é ő °"


@pytest.mark.slow
@pytest.mark.skipif(not ENGINES or not shutil.which("pdftotext"), reason="no TeX")
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("options", [{}, {"fragment": True}, {"decimal": "comma", "spread": "ci"}])
def test_a_documents_own_settings_change_no_number_and_letters_come_through(
    stand_in, tmp_path, engine, options
):
    labels = {"block": LETTERS, "none": "“quoted” 日本 ę đ Þ ŋ ‹›", "reduction": {16: "$r=16$"}}
    table = make(
        stand_in, labels=labels, caption="c", caption_only=True, findings=False, notes=False, **options
    )
    (tmp_path / "table.tex").write_text(latex.render(table))
    (tmp_path / "paper.tex").write_text(PAPER)
    command = [engine, "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", "paper.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=600)
    assert done.returncode == 0, done.stdout.decode(errors="replace")[-2000:]
    text = subprocess.run(
        ["pdftotext", "-layout", "paper.pdf", "-"], cwd=tmp_path, capture_output=True, text=True
    )
    # A letter and its accent may be two characters of the PDF.
    found = unicodedata.normalize("NFC", " ".join(text.stdout.split()))
    sign = "," if options.get("decimal") else "."
    cell = table.rows[1].cell("test_top1")
    assert f"{cell.value:.1f}".replace(".", sign) in found
    assert ("272 474" if options.get("decimal") else "272,474") in found
    # Without a font that has it Ł is drawn as an L and a stroke, of which the PDF's text has the L.
    assert re.search("[ŁL] ğ", found)
    for letter in "αβğéő":
        assert letter in found
    assert "“quoted”" in found
    assert "U+0119" not in found
    assert "r = 16" in found
