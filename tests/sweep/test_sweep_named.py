"""Sweeps that their command names: `name=mine`."""

import json

import pytest

from cbam_ablate.config.canonical import run_key
from cbam_ablate.errors import ConfigError
from cbam_ablate.sweep.manifest import freeze
from cbam_ablate.sweep.plan import make_plan


@pytest.fixture
def planned(tmp_path, tiny):
    """Plans and freezes a sweep; returns its manifest."""

    def freezing(*words):
        plan = make_plan([*tiny, f"store={tmp_path}", *words])
        return json.loads(freeze(plan, ["cbam-ablate", "train", "-m", *words]).read_text())

    return freezing


@pytest.mark.parametrize("word", ["name=mine", "study.name=mine"])
def test_a_name_is_the_studys_and_changes_no_run(planned, word):
    named, plain = planned("placement=none,block", word), planned("placement=none,block")
    assert named["study"] == "mine"
    assert (named["runs"], named["constants"]) == (plain["runs"], plain["constants"])
    assert named["constants"]["name"] is None


@pytest.mark.parametrize(
    ("first", "then"),
    [
        ("seed=0,1", "seed=1,2"),
        ("", "seed=3"),
        pytest.param("seed=0,1", "seed=2,3", marks=pytest.mark.slow),
        pytest.param("seed=5", "seed=0,1", marks=pytest.mark.slow),
    ],
)
def test_seeds_that_a_named_sweep_is_given_later_join_those_it_has(planned, first, then):
    before = planned("placement=none,block", *filter(None, [first]), "name=mine")
    after = planned("placement=none,block", then, "name=mine")
    seeds = {int(seed) for word in (first or "seed=0", then) for seed in word[5:].split(",")}
    assert set(after["axes"]["seed"]) == seeds
    assert set(before["runs"]) < set(after["runs"])
    assert len(after["runs"]) == 2 * len(seeds)


def test_a_named_sweep_repeated_without_its_seeds_keeps_them(planned):
    planned("placement=none,block", "seed=0,1", "name=mine")
    assert planned("placement=none,block", "name=mine")["axes"]["seed"] == [1, 0]


def test_a_named_sweep_that_would_lose_runs_is_refused(planned):
    planned("placement=none,block", "name=mine")
    with pytest.raises(ConfigError, match="study mine has changed"):
        planned("placement=none,class", "name=mine")
    assert set(planned("placement=none,class", "name=mine", "sweep.extend=true")["axes"]) == {
        "model.attention.placement"
    }


def test_a_declared_study_by_another_name_leaves_the_first_alone(planned, tmp_path):
    planned("study=placement", "placement=none,block", "seed=0,1")
    manifest = planned("study=placement", "placement=none,block", "seed=0,1", "train.epochs=1", "name=short")
    assert manifest["study"] == "short"
    kept = json.loads((tmp_path / "studies" / "placement" / "manifest.json").read_text())
    assert kept["constants"]["train.epochs"] == 2


@pytest.mark.parametrize("name", ["placement", "a/b", "..", "a b", "none", "a,b"])
def test_a_sweep_takes_no_name_that_is_another_studys_or_no_folders(planned, name):
    with pytest.raises(ConfigError, match="name"):
        planned("placement=none,block", f"name={name}")


def test_a_single_runs_name_is_any_text_and_not_in_its_key(tiny):
    named, plain = (make_plan([*tiny, *more], sweep=False) for more in (["name='the first, again'"], []))
    assert [*named.runs] == [*plain.runs] == [run_key(plain.base)]
    assert named.base.name == "the first, again"
