"""docs/published.md: its commands are read and planned, its parameters counted."""

import re
import shlex
from pathlib import Path

import pytest

from cbam_ablate import load_config, model_cost
from cbam_ablate.cli.table import main as table
from cbam_ablate.models.pretrained.layouts import LAYOUTS
from cbam_ablate.sweep.outline import make_outline
from cbam_ablate.sweep.plan import plan_outline
from tests.composed import composed

PAGE = (Path(__file__).parents[2] / "docs" / "published.md").read_text()
COMMANDS = re.findall(r"^cbam-ablate (.*)$", PAGE, re.MULTILINE)
NETWORKS = re.findall(r"^\|[^|]*\| `([^`]*)` \| ([\d,]+) \|$", PAGE, re.MULTILINE)


@pytest.mark.slow
@pytest.mark.parametrize("line", COMMANDS)
def test_each_command_of_the_page_is_one_that_can_be_planned(line):
    command, *words = shlex.split(line)
    if command == "evaluate":
        load_config([word for word in words if not word.startswith("weights=")])
    else:
        assert make_outline([word for word in words if word != "of=plan"]).runs


@pytest.mark.parametrize(("options", "params"), NETWORKS)
def test_each_network_of_the_page_has_the_parameters_it_says(options, params):
    assert f"{model_cost(composed(options.split())).params:,}" == params


def test_each_layout_of_weights_is_named_on_the_page():
    text = " ".join(PAGE.split())
    assert [layout.name for layout in LAYOUTS if layout.name not in text] == []


# Parameters in millions and MACs (there FLOPs) in G, as arXiv 1807.06521v2 prints them, network by network
# without attention, with SE and with CBAM. Of one, MobileNet x0.7 with SE, it has 2.71 where ours has 2.70.
PRINTED = {
    "cbam_table4": """
        11.69 1.814  11.78 1.814  11.78 1.815  21.80 3.664  21.96 3.664  21.96 3.665
        25.56 3.858  28.09 3.860  28.09 3.864  44.55 7.570  49.33 7.575  49.33 7.581
        25.88 3.866  26.07 3.867  26.08 3.868  45.62 6.696  45.97 6.696  45.97 6.697
        25.03 3.768  27.56 3.771  27.56 3.774  44.18 7.508  48.96 7.512  48.96 7.519""",
    "cbam_table5": "2.30 0.283  2.70 0.283  2.71 0.289  4.23 0.569  5.07 0.570  5.07 0.576",
}


STUDIES = [pytest.param(name, marks=pytest.mark.slow if name == "cbam_table4" else []) for name in PRINTED]


@pytest.mark.parametrize("study", STUDIES)
def test_networks_of_the_paper_s_tables_have_the_printed_sizes(study):
    costs = plan_outline(make_outline([f"study={study}"])).costs.values()
    found = [f"{cost.params / 1e6:.2f} {cost.macs / 1e9:.3f}" for cost in costs]
    assert sorted(found) == sorted(re.findall(r"[\d.]+ [\d.]+", PRINTED[study]))


def test_a_study_s_parameters_and_macs_are_typeset_untrained(tmp_path, capsys):
    assert table(["study=cbam_table5", "of=plan", f"out={tmp_path}", f"store={tmp_path / 'none'}"]) == 0
    assert re.search(r"1 +block +cbam +5074976 +575871976", capsys.readouterr().out)
    assert "5074976" in (tmp_path / "table.tex").read_text()
    assert not (tmp_path / "none").exists()


def test_what_a_network_costs_has_no_spread_over_seeds(tmp_path, capsys):
    assert table(["study=residual_attention", "of=plan", f"store={tmp_path / 'none'}"]) == 0
    printed = capsys.readouterr().out
    assert "1959738" in printed
    assert "±" not in printed
