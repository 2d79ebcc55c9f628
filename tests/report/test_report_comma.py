"""A table with a decimal comma has it in every number: of cells, sentences, headings and figures."""

import random
import re

import pytest

from cbam_ablate.aggregate import build_table, load_study
from cbam_ablate.report import latex, markdown, table_html, terminal
from cbam_ablate.report.page import write_report

PLACEMENT, LR = "model.attention.placement", "optimizer.lr"
OWN = "Ours v1.5 of 0.25 width"
OPTIONS = {
    "decimal": "comma",
    "labels": {"block": OWN},
    "references": [
        {"label": "He 0.75", "cite": "p. 3.25", "values": [{"placement": "none", "lr": 0.5, "value": 91.25}]}
    ],
    "published": [{"label": "SE 1.25", "values": {"test_top1": 93.75}}],
}


def score(chosen):
    if chosen == {PLACEMENT: "none", LR: 0.25, "seed": 2}:
        return {"failure": "diverged", "error": "loss is 3.5"}
    gain = 2.0 * (chosen[PLACEMENT] == "block") + random.Random(repr(chosen)).gauss(0, 0.2)
    return round(90.123 + gain + 0.4 * chosen["seed"], 3)


@pytest.fixture
def study(stand_in):
    axes = {PLACEMENT: ["none", "block"], LR: [0.5, 0.25], "seed": [0, 1, 2, 3]}
    command = ["cbam-ablate", "train", "study=trial", "optimizer.lr=0.5,0.25"]
    stand_in.build(axes, score, constants={"optimizer.weight_decay": 0.0125}, command=command)
    return stand_in


def points_in(text):
    """Numbers with a decimal point that are none of the author's words, in what a reader sees."""
    for kept in (OWN, "He 0.75", "p. 3.25", "SE 1.25"):
        text = text.replace(kept, "")
    text = re.sub(r"cbam-ablate [^\n<]*", "", text)
    return re.findall(r"(?<![\w.])\d+\.\d+(?![\w.])", text)


@pytest.mark.parametrize("renderer", [markdown, terminal, table_html, latex])
def test_every_number_has_it(study, renderer):
    text = renderer.render(build_table(load_study(study.root, study.study), OPTIONS))
    text = re.sub(r"(?ms)<!--.*?-->|<(style|script)>.*?</\1>|^%[^\n]*", "", text)
    text = re.sub(r'data-value="[^"]*"|<meta[^>]*>', "", text)
    # siunitx prints what stands in these with the sign that the table sets.
    text = re.sub(r"\\sisetup\{.*\}|\\aligned\{[^}]*\}\{[^}]*\}|\\num\{[^}]*\}", "", text)
    assert points_in(text) == []
    assert [kept for kept in (OWN, "He 0.75", "p. 3.25", "SE 1.25") if kept not in text] == []
    for shown in (
        "0,25",
        "91,25" if renderer is not latex else "p = 0,",
        "decay 0,0125",
        "loss is 3,5",
    ):
        assert shown in text


@pytest.mark.slow
def test_sentences_and_figures_of_the_report_have_it(study):
    text = write_report(study.root, study.study, OPTIONS).read_text()
    shown = re.sub(r"<(style|script|pre|code)>.*?</\1>", "", text, flags=re.DOTALL)
    seen = re.findall(r">([^<>]+)<", shown) + re.findall(r'(?:title|aria-label)="([^"]+)"', shown)
    assert [found for part in seen for found in points_in(part)] == []
    assert "top-1 from 18,4" in shown
    drawing = shown.partition('id="figure-pareto"')[2].partition("</figure>")[0]
    assert re.search(r">\d+,\d+<", drawing)
