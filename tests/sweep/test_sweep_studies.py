"""Every study that is shipped: it opens with its command, plans, and its table's declaration holds."""

import re

import pytest

from cbam_ablate.config.overrides import choices, conf_dir
from cbam_ablate.report import write_table
from cbam_ablate.sweep.manifest import freeze
from cbam_ablate.sweep.plan import make_plan

LARGE = ("depths", "cbam_table4", "reduction_kernel")
STUDIES = [name for name in choices("study") if name != "none"]


@pytest.mark.parametrize("study", STUDIES)
def test_a_study_opens_with_its_command_its_cost_and_its_question(study):
    text = (conf_dir() / "study" / f"{study}.yaml").read_text()
    comments = text[: text.index("\n\n", text.index("Cost" if "Cost" in text else "minutes"))]
    assert f"study={study}" in comments.splitlines()[1]
    assert re.search(r"Cost:|budget", comments)


@pytest.mark.parametrize(
    "study", [pytest.param(name, marks=pytest.mark.slow) if name in LARGE else name for name in STUDIES]
)
def test_a_study_plans_and_its_table_holds_before_anything_ran(study, tmp_path):
    plan = make_plan([f"study={study}", f"store={tmp_path}"])
    freeze(plan, ["cbam-ablate", "train", f"study={study}"])
    table = write_table(tmp_path, study)
    assert sum(row.expected for row in table.rows) == len(plan.runs)
    markdown = (tmp_path / "studies" / study / "table.md").read_text()
    assert "0/" in markdown
    assert "no row for" not in markdown
    assert "as no row is of" not in markdown


BESIDE = [name for name in STUDIES if "references:" in (conf_dir() / "study" / f"{name}.yaml").read_text()]


@pytest.mark.parametrize("study", BESIDE)
def test_published_numbers_don_t_stand_beside_another_data_set(study, tmp_path):
    other = ["data=synthetic", *(["data.store_size=null"] if study.startswith("cbam_table") else [])]
    plan = make_plan([f"study={study}", f"store={tmp_path}", *other, "seed=0"])
    freeze(plan, ["cbam-ablate", "train", f"study={study}"])
    table = write_table(tmp_path, study)
    assert table.references == []
    assert any("as no row is of its data.name" in note for note in table.notes)
