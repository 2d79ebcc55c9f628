"""Every rendering shows the same model, and no text in it is taken for anything but text."""

import csv
import io
import json
import random
from html.parser import HTMLParser

import pandas as pd
import pytest

from cbam_ablate.aggregate import build_table, load_study
from cbam_ablate.report import latex, markdown, table_csv, table_html, table_json, terminal, to_frame

PLACEMENT, REDUCTION, KERNEL = (f"model.attention.{name}" for name in ("placement", "reduction", "kernel"))
RENDERERS = {
    "md": markdown,
    "tex": latex,
    "csv": table_csv,
    "html": table_html,
    "json": table_json,
    "terminal": terminal,
}
BOLD = r"\boldmath{}\aligned{2.2}{92.87}$\,\pm\,$\aligned{1.2}{0.10}"
GAINS = {"none": 0.0, "block": 3.0, "class": 0.1}
THREE = {PLACEMENT: ["none", "block", "class"], "seed": [0, 1, 2]}
PIVOT = {PLACEMENT: ["none", "block"], REDUCTION: [4, 16], KERNEL: [3, 7], "seed": [0, 1]}
HOSTILE = [
    "<script>alert(1)</script>",
    "\\input{/etc/passwd}",
    '=HYPERLINK("http://x")',
    "../../etc",
    "a|b",
    "$x$ & 50 % #1 _y_ ^~{}",
    "[link](http://example.com)",
    "line\nbreak",
    "日本 é ł",
    "-1+cmd()",
    "[0]",
]


def score(chosen):
    """The placement's gain, the seed's luck, and a little noise of the run's own."""
    seed = chosen.get("seed", 0)
    own = random.Random(repr(chosen)).gauss(0, 0.05)
    return round(90 + GAINS[chosen[PLACEMENT]] + random.Random(f"seed {seed}").gauss(0, 0.3) + own, 2)


def make(stand_in, axes=None, table=None, outcome=score):
    stand_in.build(axes or THREE, outcome, table=table)
    return build_table(load_study(stand_in.root, stand_in.study))


def lines_of(text, start):
    return [line for line in text.splitlines() if line.startswith(start)]


def hostile(stand_in, text):
    """A table whose every free text is `text`."""
    labels = {"placement": text, "placement=block": text, "test_top1": text}
    references = [{"label": text, "cite": text, "values": [{"placement": "none", "value": text}]}]

    def outcome(chosen):
        if chosen == {PLACEMENT: "class", "seed": 1}:
            return {"failure": "bug", "error": text}
        return score(chosen)

    return make(
        stand_in, table={"labels": labels, "references": references, "caption": text}, outcome=outcome
    )


class Reader(HTMLParser):
    """Collects a page's elements, attributes and texts."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.attributes, self.texts = [], [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data):
        self.texts.append(data)


@pytest.mark.parametrize("ending", ["md", "html", "terminal"])
def test_a_rendering_shows_values_n_and_costs(stand_in, ending):
    text = RENDERERS[ending].render(make(stand_in))
    for shown in ("92.87 ± 0.10", "272,474", "40.81 M", "32 s", "placement", "baseline", "n = 3"):
        assert shown in text


@pytest.mark.parametrize("ending", list(RENDERERS))
def test_the_same_table_gives_the_same_bytes(stand_in, ending):
    table = make(stand_in)
    again = build_table(load_study(stand_in.root, stand_in.study))
    assert RENDERERS[ending].render(table) == RENDERERS[ending].render(again)


@pytest.mark.parametrize("ending", ["md", "tex", "html", "terminal"])
def test_one_seed_shows_no_spread(stand_in, ending):
    text = RENDERERS[ending].render(make(stand_in, {PLACEMENT: ["none", "block"]}))
    assert "±" not in text.replace("Mean ±", "")
    assert "\\pm" not in text


@pytest.mark.parametrize("ending", ["md", "tex", "html", "csv", "json", "terminal"])
def test_a_row_with_missing_runs_stays_and_says_how_many_and_why(stand_in, ending):
    def outcome(chosen):
        return {} if chosen[PLACEMENT] == "class" else score(chosen)

    text = RENDERERS[ending].render(make(stand_in, outcome=outcome))
    assert "class" in text
    assert "3 diverged" in text or '"diverged": 3' in text
    assert ending in ("csv", "json") or "0/3" in text


def test_markdown_marks_best_second_and_significance(stand_in):
    rows = lines_of(markdown.render(make(stand_in)), "|")
    assert [line.count("**") // 2 for line in rows[2:]] == [0, 1, 0]
    assert [line.count("<u>") for line in rows[2:]] == [1, 0, 1]
    assert [r"\*" in line for line in rows[2:]] == [False, True, False]


def test_latex_has_booktabs_rules_and_bold(stand_in):
    text = latex.render(make(stand_in))
    for rule in ("\\toprule", "\\midrule", "\\bottomrule", "\\num{272474}", BOLD):
        assert rule in text


def test_pivoted_axes_stand_across_with_nested_headings(stand_in):
    table = make(stand_in, PIVOT, {"columns": ["reduction", "kernel"], "metrics": ["test_top1", "test_loss"]})
    text = latex.render(table)
    assert text.count("\\multicolumn{2}{c}{kernel 3}") == 2
    assert "\\multicolumn{4}{c}{reduction 4}" in text
    page = table_html.render(table)
    assert '<th colspan="4" class="across">reduction 16</th>' in page


def test_every_setting_of_a_pivoted_table_is_shown_once(stand_in):
    table = make(stand_in, PIVOT, {"columns": ["kernel"]})
    shown = lines_of(markdown.render(table), "|")[2:]
    cells = [text for line in shown for text in line.split("|") if "±" in text]
    assert len(cells) == len(table.rows) == 5


def test_a_published_number_has_a_column_with_its_source(stand_in):
    references = [
        {"label": "He et al.", "cite": "he2016", "values": [{"placement": "none", "value": "91.25"}]}
    ]
    table = make(stand_in, table={"references": references})
    assert "| He et al. [he2016] |" in markdown.render(table)
    assert "{He et al.~\\cite{he2016}}" in latex.render(table)


def test_json_reads_back_as_the_same_table(stand_in):
    table = make(stand_in, PIVOT)
    assert table_json.parse(table_json.render(table)) == table


def test_json_maps_each_cell_to_its_run_keys(stand_in):
    found = json.loads(table_json.render(make(stand_in)))
    for row in found["rows"]:
        cell = row["cells"]["test_top1"]
        assert len(cell["run_keys"]) == cell["n"] == 3
        assert cell["interval"][0] < cell["value"] < cell["interval"][1]
        assert all(stand_in.run(key).is_dir() for key in cell["run_keys"])


def test_csv_holds_the_numbers_in_full(stand_in):
    table = make(stand_in)
    rows = list(csv.DictReader(io.StringIO(table_csv.render(table))))
    assert [row[PLACEMENT] for row in rows] == ["none", "block", "class"]
    assert float(rows[1]["test_top1"]) == table.rows[1].cell("test_top1").value
    assert float(rows[1]["test_top1_difference"]) == pytest.approx(3, abs=0.2)


def test_no_level_of_an_axis_reads_back_as_a_missing_one(stand_in, tmp_path):
    axes = {PLACEMENT: ["none", "block"], REDUCTION: ["null", "none", 4], "seed": [0, 1]}
    stand_in.build(axes, score)
    table = build_table(load_study(stand_in.root, stand_in.study))
    (tmp_path / "table.csv").write_text(table_csv.render(table))
    read = pd.read_csv(tmp_path / "table.csv")
    levels = list(zip(read[PLACEMENT], read[REDUCTION], strict=True))
    assert len(set(levels)) == len(table.rows) == 4
    assert sum(n for n in read.groupby([PLACEMENT, REDUCTION])["n"].sum()) == 8
    assert levels == list(to_frame(table).index)
    assert {"(null)", "none", "4", "(no effect)"} == set(read[REDUCTION])


def test_a_dataframe_is_indexed_by_the_axes(stand_in):
    frame = to_frame(make(stand_in, PIVOT))
    assert frame.index.names == [PLACEMENT, REDUCTION, KERNEL]
    assert frame.loc[("block", "4", "7"), "n"] == 2


def test_a_terminal_without_colour_gets_no_escape_codes(stand_in):
    table = make(stand_in)
    assert "\x1b" not in terminal.render(table, color=False)
    assert "\x1b[1m" in terminal.render(table, color=True)


def test_a_narrow_terminal_cuts_no_number(stand_in, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    drawn = terminal.render(make(stand_in), color=True)
    assert "…" not in drawn
    assert max(map(len, drawn.splitlines())) > 60


def test_a_long_table_is_cut_on_the_terminal_and_says_so(stand_in):
    axes = {"optimizer.lr": [round(0.001 * index, 3) for index in range(1, 121)]}
    stand_in.build(axes, lambda chosen: 90.0)
    table = build_table(load_study(stand_in.root, stand_in.study))
    assert "20 more lines are in table.md." in terminal.render(table, color=False)


@pytest.mark.parametrize("text", HOSTILE)
def test_html_shows_hostile_text_as_text(stand_in, text):
    page = Reader(table_html.render(hostile(stand_in, text)))
    assert page.tags.count("script") == 1
    assert not any(name.startswith("on") for name, _ in page.attributes)
    assert all(
        value.startswith(("#", "../../runs/")) for name, value in page.attributes if name in ("href", "src")
    )
    assert text in page.texts


@pytest.mark.parametrize("text", HOSTILE)
def test_markdown_lets_no_text_break_the_table_or_make_markup(stand_in, text):
    shown = markdown.render(hostile(stand_in, text))
    rows = lines_of(shown, "|")
    assert len(rows) == 5
    assert len({row.replace("\\|", "").count("|") for row in rows}) == 1
    assert "<script" not in shown.replace("\\<script", "")
    assert "](" not in shown.replace("\\](", "")


@pytest.mark.parametrize("text", HOSTILE)
def test_latex_runs_no_command_of_a_text(stand_in, text):
    shown = latex.render(hostile(stand_in, text))
    assert "\\input" not in shown
    assert shown.count("\\begin{tabular}") == shown.count("\\end{tabular}") == 1
    body = shown.partition("\\midrule")[2].partition("\\bottomrule")[0]
    assert {line.replace("\\&", "").count("&") for line in body.strip().splitlines()} == {7}


@pytest.mark.parametrize("text", HOSTILE)
def test_csv_holds_no_formula(stand_in, text):
    rows = list(csv.reader(io.StringIO(table_csv.render(hostile(stand_in, text)))))
    for cell in (cell for row in rows for cell in row):
        assert not cell.startswith(("=", "+", "@", "\t", "\r"))
        assert not cell.startswith("-") or float(cell) < 0


def test_terminal_takes_no_markup_from_texts(stand_in, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    table = make(stand_in, table={"labels": {"placement": "[red]x[/red]"}})
    assert "[red]x[/red]" in terminal.render(table, color=True)


def test_a_row_is_named_in_words_where_one_of_its_labels_is_latex(stand_in):
    labels = {"placement": {"block": "50 % & #"}, "reduction": {4: "$r=4$"}}
    axes = {PLACEMENT: ["block", "class"], REDUCTION: [4, 16], "seed": [0, 1]}
    table = make(stand_in, axes, {"labels": labels})
    assert "\n% 50 % & #/r=4: " in latex.render(table)
    assert "\n50 % \\& #/r=4: " in markdown.render(table)
