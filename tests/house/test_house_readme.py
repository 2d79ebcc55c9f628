"""What the README lists is what there is."""

import re
from pathlib import Path

import pytest

from cbam_ablate.cli import COMMANDS
from cbam_ablate.config.overrides import choices, conf_dir

README = (Path(__file__).parents[2] / "README.md").read_text()
GROUPS = (
    *("backbone", "depth", "placement", "attention", "reduction", "kernel"),
    *("data", "augment", "optimizer", "schedule", "logger", "study"),
)


@pytest.mark.parametrize("group", GROUPS)
def test_the_readme_lists_every_choice_of_a_group(group):
    row = next(line for line in README.splitlines() if line.startswith(f"| `{group}` |"))
    listed = set(re.findall(r"[a-z0-9_]+", row))
    assert set(choices(group)) - {"none"} <= listed


def test_the_readme_shows_every_command():
    assert [name for name in COMMANDS if f"cbam-ablate {name}" not in README] == []


def test_the_readme_names_no_study_that_is_not_there():
    named = set(re.findall(r"study=([a-z0-9_]+)", README))
    assert {name for name in named if not (conf_dir() / "study" / f"{name}.yaml").exists()} <= {"mine"}
