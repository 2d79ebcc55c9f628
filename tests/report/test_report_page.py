"""The report: one page that loads nothing, in which every number leads to its runs."""

import random
import re
import shutil
import subprocess
from html.parser import HTMLParser

import pytest

from cbam_ablate.report import write_table
from cbam_ablate.report.learning import Curve
from cbam_ablate.report.page import sparkline, write_report

PLACEMENT, REDUCTION = "model.attention.placement", "model.attention.reduction"
AXES = {PLACEMENT: ["none", "block", "class"], REDUCTION: [4, 16], "seed": [0, 1, 2]}
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
TEX = shutil.which("pdflatex")
HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "$\\frac$ \\input{x} %",
    "日本 &amp; é",
]


def outcome(chosen):
    if chosen[PLACEMENT] == "class" and chosen["seed"] == 2:
        return {"failure": "diverged", "error": HOSTILE[0]}
    gain = {"none": 0, "block": 1, "class": 0.2}[chosen[PLACEMENT]]
    noise = random.Random(repr(chosen)).gauss(0, 0.1)
    return round(90 + gain + 0.3 * chosen["seed"] + noise, 2)


class Page(HTMLParser):
    """What a page holds: elements, attributes by name, texts."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.ids, self.links, self.numbers, self.other = [], [], [], [], []
        self._cell = None
        self.feed(text)

    def handle_endtag(self, tag):
        self._cell = None if tag == "td" else self._cell

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.tags.append(tag)
        self.other += [name for name in found if name.startswith("on")]
        if "id" in found:
            self.ids.append(found["id"])
        self.links += [found[name] for name in ("href", "src", "xlink:href") if name in found]
        if tag == "td":
            self._cell = found.get("class")
        if tag == "a" and self._cell in ("result", "difference", "count", "cost"):
            self.numbers.append(found["href"])


@pytest.fixture(scope="module")
def store(stand_in_class, tmp_path_factory):
    made = stand_in_class(tmp_path_factory.mktemp("report") / "store")
    made.build(AXES, outcome)
    return made


@pytest.fixture(scope="module")
def report(store):
    return write_report(store.root, store.study)


def test_the_page_loads_nothing(report):
    text = report.read_text()
    page = Page(text)
    assert page.tags.count("script") == 1
    assert not {"link", "iframe", "object", "embed"} & set(page.tags)
    assert all(link.startswith(("#", "../../runs/", "figures/", "data:")) for link in page.links)
    assert "default-src 'none'" in text
    assert "@import" not in text
    assert re.findall(r"url\((?!#)", text) == []


def test_every_number_leads_to_its_runs_with_config_and_curve(report, store):
    text = report.read_text()
    page = Page(text)
    assert len(page.numbers) >= 5 * 5
    assert {link[1:] for link in page.numbers} == {f"row-{index}" for index in range(5)} <= set(page.ids)
    for path in (store.root / "runs").iterdir():
        assert (f"../../runs/{path.name}/config.json" in page.links) == (path / "config.json").exists()
    assert text.count('class="curve"') == 13
    assert text.count("<summary>config</summary>") == 5


def test_links_to_files_lead_to_files(report):
    files = [link for link in Page(report.read_text()).links if link.startswith(("../../runs/", "figures/"))]
    assert len(files) > 20
    assert [link for link in files if not (report.parent / link).exists()] == []


def test_ids_are_unique(report):
    ids = Page(report.read_text()).ids
    assert len(ids) == len(set(ids))


def test_figures_are_drawn_in_the_page_and_for_the_paper(report):
    names = {"pareto", "curves", "differences", "heat_map", "main_effects"}
    assert Page(report.read_text()).tags.count("figure") == len(names)
    for name in names:
        assert (report.parent / "figures" / f"{name}.pdf").read_bytes()[:5] == b"%PDF-"
        assert (report.parent / "figures" / f"{name}.png").read_bytes()[1:4] == b"PNG"


@pytest.mark.slow
def test_figures_and_effects_call_values_as_the_table_does(stand_in):
    stand_in.build(AXES, lambda chosen: 90 + chosen["seed"] + (chosen[PLACEMENT] == "block"))
    labels = {"placement": {"block": "In blocks"}, "reduction": {4: "$r=4$", 16: "$r=16$"}}
    text = write_report(stand_in.root, stand_in.study, {"labels": labels}).read_text()
    figures = text.partition('id="Figures"')[2].partition('id="Comparisons"')[0]
    for kind in ("heat_map", "main_effects"):
        drawing = figures.partition(f'id="figure-{kind}"')[2].partition("</figure>")[0]
        assert "In blocks" in drawing
        assert "block<" not in drawing
    effects = text.partition('id="Effects"')[2].partition('id="Failures"')[0]
    assert "In blocks against none" in effects
    assert "r=16 against r=4" in effects


@pytest.mark.slow
def test_the_numbers_of_a_heat_map_have_equal_decimals(stand_in):
    axes = {PLACEMENT: ["block", "class"], REDUCTION: [4, 16], "seed": [0]}
    values = iter([9.5, 10.625, 9.875, 14.0])
    stand_in.build(axes, lambda chosen: next(values))
    text = write_report(stand_in.root, stand_in.study).read_text()
    drawing = text.partition('id="figure-heat_map"')[2].partition("</figure>")[0]
    assert all(f">{number}<" in drawing for number in ("9.50", "10.62", "9.88", "14.00"))


@pytest.mark.slow
def test_figures_of_a_table_made_before_are_gone(stand_in):
    stand_in.build({PLACEMENT: ["none", "block"], "seed": [0, 1, 2]}, lambda axes: 90 + axes["seed"])
    write_report(stand_in.root, stand_in.study)
    assert (stand_in.folder / "figures" / "differences.png").exists()
    write_report(stand_in.root, stand_in.study, {"filters": {PLACEMENT: ["none"]}})
    assert not (stand_in.folder / "figures" / "differences.png").exists()


@pytest.mark.slow
def test_a_report_is_the_same_bytes_again(report, store):
    before = {path: path.read_bytes() for path in report.parent.rglob("*") if path.is_file()}
    write_report(store.root, store.study)
    assert {path: path.read_bytes() for path in before} == before


def test_failures_are_listed_with_class_and_error(report):
    text = report.read_text()
    assert "2 of 15 runs are not finished" in text
    failures = text.partition('id="Failures"')[2].partition('id="Runs"')[0]
    assert failures.count(">diverged</td>") == 2
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text


def test_provenance_is_told(report):
    text = report.read_text()
    for said in (
        "Code versions",
        "cpu: Some CPU (13 runs)",
        "cbam-ablate train study=trial",
        "train.epochs=5",
    ):
        assert said in text


@pytest.mark.slow
def test_a_pivoted_table_has_a_report_too(stand_in):
    stand_in.build(AXES, outcome, table={"columns": ["reduction"]})
    page = Page(write_report(stand_in.root, stand_in.study).read_text())
    assert {link[1:] for link in page.numbers} <= set(page.ids)


def test_a_study_without_results_has_a_report_too(stand_in):
    stand_in.build(AXES, lambda chosen: None)
    text = write_report(stand_in.root, stand_in.study).read_text()
    assert "15 of 15 runs are not finished" in text
    assert "<figure" not in text


@pytest.mark.slow
def test_a_torn_history_costs_only_its_own_curve(stand_in):
    keys = stand_in.build(AXES, outcome)
    history = stand_in.run(keys["block", 4, 0]) / "history.jsonl"
    history.write_text(history.read_text()[:150] + '\n{"epoch": 3, "val_top1": "x"}\n[1]\n')
    text = write_report(stand_in.root, stand_in.study).read_text()
    assert text.count('class="curve"') == 12


@pytest.mark.parametrize(
    "name", [HOSTILE[0], *(pytest.param(name, marks=pytest.mark.slow) for name in HOSTILE[1:])]
)
def test_hostile_names_stay_text(stand_in, name):
    table = {"labels": {"placement": name, "placement=block": name, "test_top1": name}, "caption": name}
    stand_in.build({**AXES, REDUCTION: [4]}, outcome, table=table, constants={"name": name})
    page = Page(write_report(stand_in.root, stand_in.study).read_text())
    assert page.tags.count("script") == 1
    assert "img" not in page.tags
    assert page.other == []


def test_a_long_curve_is_thinned_but_keeps_its_ends():
    curve = Curve("val_top1", "validation top-1", "%", "epoch")
    drawn = sparkline({epoch: float(epoch) for epoch in range(1000)}, curve)
    assert "validation top-1 from 0.00 % to 999.00 % over 1000 epochs" in drawn
    points = re.search(r'points="([^"]*)"', drawn)[1].split()
    assert len(points) <= 62
    assert (points[0], points[-1]) == ("0.0,30.0", "100.0,2.0")


def dump(page, script):
    """The page's DOM after it ran and then `script` did, in headless Chromium."""
    copy = page.with_name("driven.html")
    copy.write_text(page.read_text().replace("</body>", f"<script>{script}</script></body>"))
    command = [CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=4000"]
    command += [f"--user-data-dir={page.parent / 'profile'}", "--dump-dom", f"file://{copy}"]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=True).stdout


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium")
def test_a_browser_sorts_and_filters_the_table(report):
    script = """
      const table = document.querySelector("table.sortable");
      const head = [...table.tHead.querySelectorAll("th")].find((one) => one.textContent.includes("top-1"));
      const column = [...head.parentElement.cells].indexOf(head);
      head.click(); head.click();
      const shown = [...table.tBodies[0].rows].map((row) => row.cells[column].textContent.trim());
      const box = document.querySelector("input[type=search]");
      box.value = "class 16"; box.dispatchEvent(new Event("input"));
      const left = [...table.tBodies[0].rows].filter((row) => !row.hidden).length;
      location.hash = "#row-1";
      document.body.dataset.found = JSON.stringify({shown, left});
      setTimeout(() => { document.body.dataset.open = document.getElementById("row-1").open; }, 50);
    """
    dom = dump(report, script)
    found = re.search(r'data-found="([^"]*)"', dom)[1].replace("&quot;", '"')
    values = [float(text.split()[0]) for text in re.findall(r'"(\d[^"]*)"', found.partition('"left"')[0])]
    assert values == sorted(values, reverse=True)
    assert len(values) == 5
    assert '"left":1' in found
    assert 'data-open="true"' in dom


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium")
@pytest.mark.parametrize(
    "press", ["head.click()", "head.dispatchEvent(new KeyboardEvent('keydown', {key: 'Enter'}))"]
)
def test_a_browser_sorts_within_groups_whose_headings_stay(stand_in, press):
    stand_in.build(AXES, outcome)
    published = [{"label": "SENet", "values": {"test_top1": 99}}]
    options = {"groups": ["reduction"], "means": ["row"], "published": published}
    page = write_report(stand_in.root, stand_in.study, options)
    script = f"""
      const table = document.querySelector("table.sortable");
      const rows = () => [...table.tBodies[0].rows].map((row) => row.classList.contains("group")
        ? row.textContent : row.cells[0].textContent + (row.classList.contains("rule") ? "=" : ""));
      const head = [...table.tHead.querySelectorAll("th")].find((one) => one.textContent.includes("top-1"));
      const before = rows();
      {press};
      const up = rows();
      {press};
      document.body.dataset.found = [head.tabIndex, before, up, rows()].join(" ; ");
    """
    focus, before, up, down = re.search(r'data-found="([^"]*)"', dump(page, script))[1].split(" ; ")
    assert focus == "0"
    assert before == "reduction –,none,reduction 4,block,class,reduction 16,block,class,SENet=,mean="
    assert up == "reduction –,none,reduction 4,class,block,reduction 16,class,block,SENet=,mean="
    assert down == "reduction –,none,reduction 4,block,class,reduction 16,block,class,SENet=,mean="


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium")
def test_a_browser_shows_it_light_and_dark(report):
    script = """
      const color = () => getComputedStyle(document.body).backgroundColor;
      const text = () => getComputedStyle(document.querySelector("figure svg text")).fill;
      document.documentElement.dataset.theme = "light";
      const before = [color(), text()];
      document.getElementById("theme").click();
      document.body.dataset.colors = [before, color(), text()].join(" ; ");
    """
    found = re.search(r'data-colors="([^"]*)"', dump(report, script))[1]
    assert found == "rgb(255, 255, 255),rgb(27, 30, 35) ; rgb(20, 23, 27) ; rgb(230, 232, 235)"


PAPER = r"""\documentclass[twocolumn]{article}
\usepackage{booktabs,siunitx,graphicx}
\begin{document}
\input{table}
Text.
\end{document}
"""


@pytest.mark.slow
@pytest.mark.skipif(TEX is None, reason="no TeX")
@pytest.mark.parametrize("name", [*HOSTILE, '[0] * ~ ^ _ | " 日本 ł --x', "plain"])
@pytest.mark.parametrize("columns", [[], ["reduction"]])
def test_the_latex_compiles_in_a_two_column_paper(stand_in, tmp_path, name, columns):
    labels = {"placement": name, "placement=block": name, "test_top1": name}
    values = [{"placement": "none", "value": name}]
    references = [{"label": name, "cite": "he2016", "values": values}]
    table = {"labels": labels, "columns": columns, "references": references, "caption": name}
    stand_in.build(AXES, outcome, table=table)
    write_table(stand_in.root, stand_in.study)
    (tmp_path / "table.tex").write_text((stand_in.folder / "table.tex").read_text())
    (tmp_path / "paper.tex").write_text(PAPER)
    command = [TEX, "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", "paper.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=300)
    said = done.stdout.decode(errors="replace")
    assert done.returncode == 0, said[-2000:]
    assert "Overfull" not in said
