"""An axis on the command line that replaces a study's, where the study joins several grids."""

import pytest

from cbam_ablate.config import ConfigError
from cbam_ablate.sweep.outline import make_outline
from cbam_ablate.sweep.plan import make_plan


@pytest.fixture
def study(tmp_path, monkeypatch):
    """Writes a study of one's own, to be planned as `study=mine`."""
    (tmp_path / "conf" / "study").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    return lambda text: (tmp_path / "conf" / "study" / "mine.yaml").write_text(f"# @package _global_\n{text}")


def test_an_axis_that_replaces_that_of_some_grids_is_none_of_the_others(study):
    grids = "[{placement: class}, {placement: block, reduction: '4,8'}]"
    study(f"defaults: [override /data: synthetic]\nhydra: {{sweeper: {{grids: {grids}}}}}\n")
    cells = make_plan(["study=mine", "reduction=4,16"]).cells
    assert [cell.label for cell in cells] == [
        "placement=class", "placement=block reduction=4", "placement=block reduction=16",
    ]  # fmt: skip


WIDE = "[{depth: '18,34', seed: 0}, {depth: 18, seed: 0, model.width: '96,128'}, {depth: 50, seed: 0}]"


@pytest.mark.parametrize(
    ("word", "labels"),
    [
        ("depth=18,50", ["depth=18", "depth=18 model.width=96", "depth=18 model.width=128", "depth=50"]),
        ("depth=50,34", ["depth=34", "depth=50"]),
        ("model.depth=18", ["", "model.width=96", "model.width=128"]),
        ("depth=50", [""]),
    ],
)
def test_an_axis_in_which_joined_grids_differ_picks_from_what_each_has(study, word, labels):
    study(f"defaults: [override /data: synthetic]\nhydra: {{sweeper: {{grids: {WIDE}}}}}\n")
    cells = make_outline(["study=mine", "seed=7", word]).cells
    assert [(cell.label, cell.cfg.seed) for cell in cells] == [(label, 7) for label in labels]


@pytest.mark.parametrize("word", ["depth=18,101", "depth=101"])
def test_a_value_that_none_of_the_differing_grids_has_is_refused(study, word):
    study(f"defaults: [override /data: synthetic]\nhydra: {{sweeper: {{grids: {WIDE}}}}}\n")
    with pytest.raises(
        ConfigError, match=r"^depth=101: in none of the grids .* which have 18,34; 18; 50; add"
    ):
        make_outline(["study=mine", word])
