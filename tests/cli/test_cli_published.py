"""docs/published.md: its commands are read and planned, its parameters counted."""

import re
import shlex
from pathlib import Path

import pytest

from cbam_ablate import load_config, model_cost
from cbam_ablate.cli.table import main as table
from cbam_ablate.models.pretrained.layouts import LAYOUTS
from cbam_ablate.sweep.outline import make_outline

PAGE = (Path(__file__).parents[2] / "docs" / "published.md").read_text()
COMMANDS = re.findall(r"^cbam-ablate (.*)$", PAGE, re.MULTILINE)
NETWORKS = re.findall(r"^\|[^|]*\| `([^`]*)` \| ([\d,]+) \|$", PAGE, re.MULTILINE)


@pytest.mark.parametrize("line", COMMANDS)
def test_each_command_of_the_page_is_one_that_can_be_planned(line):
    command, *words = shlex.split(line)
    if command == "evaluate":
        load_config([word for word in words if not word.startswith("weights=")])
    else:
        assert make_outline([word for word in words if word != "of=plan"]).runs


@pytest.mark.parametrize(("options", "params"), NETWORKS)
def test_each_network_of_the_page_has_the_parameters_it_says(options, params):
    assert f"{model_cost(load_config(options.split())).params:,}" == params


def test_each_layout_of_weights_is_named_on_the_page():
    text = " ".join(PAGE.split())
    assert [layout.name for layout in LAYOUTS if layout.name not in text] == []


def test_a_study_s_parameters_and_macs_are_typeset_untrained(tmp_path, capsys):
    assert table(["study=cbam_table5", "of=plan", f"out={tmp_path}", f"store={tmp_path / 'none'}"]) == 0
    assert re.search(r"1 +block +cbam +5074976 +575871976", capsys.readouterr().out)
    assert "5074976" in (tmp_path / "table.tex").read_text()
    assert not (tmp_path / "none").exists()
