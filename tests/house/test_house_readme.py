"""What the README and the documentation list is what there is."""

import re
from pathlib import Path

import pytest

from cbam_ablate import load_table
from cbam_ablate.cli import COMMANDS
from cbam_ablate.config.where import choices, conf_dir

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
PAGES = {path.stem: path.read_text() for path in (ROOT / "docs").glob("*.md")}
GROUPS = (
    *("backbone", "depth", "placement", "attention", "reduction", "kernel"),
    *("data", "augment", "loss", "optimizer", "schedule", "logger", "study"),
)


@pytest.mark.parametrize("group", GROUPS)
def test_the_documentation_lists_every_choice_of_a_group(group):
    row = next(line for line in PAGES["choices"].splitlines() if line.startswith(f"| `{group}` |"))
    listed = set(re.findall(r"[a-z0-9_]+", row))
    assert set(choices(group)) - {"none"} <= listed


def test_the_first_page_shows_every_command():
    assert [name for name in COMMANDS if f"cbam-ablate {name}" not in PAGES["index"]] == []


def test_no_page_names_a_study_that_is_not_there():
    for page in (README, PAGES["choices"], PAGES["index"], PAGES["sweeps"], PAGES["cluster"]):
        named = set(re.findall(r"study=([a-z0-9_]+)", page))
        assert {name for name in named if not (conf_dir() / "study" / f"{name}.yaml").exists()} <= {"mine"}


def test_the_table_of_the_readme_is_what_its_command_prints():
    (command,) = re.findall(r"^cbam-ablate table study=(\w+) store=(\S+)", README, re.MULTILINE)
    (shown,) = re.findall(r"^```text\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    study, store = command
    assert shown in str(load_table(ROOT / store, study))
