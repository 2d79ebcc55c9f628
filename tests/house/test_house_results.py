"""What results/ holds is what its runs give."""

from pathlib import Path

import pytest

from cbam_ablate.report import check_table

RESULTS = Path(__file__).parents[2] / "results"
FOLDERS = sorted(path.parents[1] for path in RESULTS.glob("*/studies/*"))


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_every_kept_table_follows_from_its_runs(folder):
    (study,) = (folder / "studies").iterdir()
    assert check_table(folder, study.name) == []
    for ending in ("md", "tex", "csv", "json"):
        assert (folder / f"table.{ending}").read_text() == (study / f"table.{ending}").read_text()


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_every_result_has_a_page_that_shows_its_table(folder):
    shown = (folder / "README.md").read_text()
    (table,) = [part for part in (folder / "table.md").read_text().split("\n\n") if part.startswith("|")][:1]
    assert table.strip() in shown
    assert f"({folder.name}/README.md)" in (RESULTS / "README.md").read_text()
