"""A mistake in a YAML file of one's own is told by file, line, word and alternatives."""

import pytest

from cbam_ablate.errors import ConfigError
from cbam_ablate.sweep.outline import make_outline

SWEEP = 'hydra: {sweeper: {params: {placement: "none,block"}}}\n'
MISTAKES = {
    "a misspelt section": (
        "# @package _global_\ntabel: {}\n",
        "line 2: tabel: no such option; did you mean table?",
    ),
    "a misspelt option": (
        "# @package _global_\ntrain:\n  epoch: 3\n",
        "line 3: epoch: no such option; did you mean epochs?",
    ),
    "an unquoted choice": (
        "# @package _global_\ndefaults:\n  - override /depth: 56\n",
        'line 3: depth: 56 must be in quotes: "56"',
    ),
    "a choice that is not there": (
        "# @package _global_\ndefaults:\n  - override /optimizer: sdg\n",
        "line 3: optimizer: sdg is not one of adam, adamw, sgd; did you mean sgd?",
    ),
    "a group that is not there": (
        "# @package _global_\ndefaults:\n  - override /backbon: vgg\n",
        "line 3: /backbon: no such group; did you mean backbone?",
    ),
    "a choice without override": (
        "# @package _global_\ndefaults:\n  - backbone: vgg\n",
        "line 3: backbone: a study changes a group's choice: - override /backbone: vgg",
    ),
    "a tab": ("# @package _global_\ntrain:\n\tepochs: 3\n", "line 3: a tab; YAML is indented by spaces"),
    "a comment above the package line": (
        "# mine\n# @package _global_\ntrain: {epochs: 3}\n",
        "line 1: the first line must be `# @package _global_`",
    ),
    "no package line": ("train: {epochs: 3}\n", "line 1: the first line must be `# @package _global_`"),
    "a value of another type": (
        "# @package _global_\ntrain: {epochs: three}\n",
        "line 2: train.epochs=three: must be a whole number",
    ),
    "a word where a list belongs": (
        "# @package _global_\ntable: {metrics: test_top1}\n",
        "line 2: table.metrics=test_top1: must be a list, say [a,b]",
    ),
    "a name twice": ("# @package _global_\ntrain: {}\ntrain: {}\n", "line 3: train: stands twice"),
    "a bracket left open": ("# @package _global_\ntable: [1\n", "expected ',' or ']'"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_in_a_study_file_is_told_by_line_and_word(mistake, tmp_path, monkeypatch):
    text, told = MISTAKES[mistake]
    (tmp_path / "conf" / "study").mkdir(parents=True)
    (tmp_path / "conf" / "study" / "mine.yaml").write_text(text + SWEEP)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError) as caught:
        make_outline(["study=mine"])
    (line,) = str(caught.value).splitlines()
    assert line.startswith("conf/study/mine.yaml line ")
    assert told in line


def test_every_mistake_of_a_groups_file_is_told_at_once(tmp_path, monkeypatch):
    (tmp_path / "conf" / "optimizer").mkdir(parents=True)
    (tmp_path / "conf" / "optimizer" / "slow.yaml").write_text("nam: sgd\nlr: much\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError) as caught:
        make_outline(["optimizer=slow", "seed=0,1"])
    assert str(caught.value).splitlines() == [
        "conf/optimizer/slow.yaml line 1: nam: no such option; did you mean name?",
        "conf/optimizer/slow.yaml line 2: optimizer.lr=much: must be a number",
    ]


def test_a_file_with_a_mistake_that_is_not_used_stands_in_nobodys_way(tmp_path, monkeypatch):
    (tmp_path / "conf" / "study").mkdir(parents=True)
    (tmp_path / "conf" / "study" / "broken.yaml").write_text("tabel: [")
    monkeypatch.chdir(tmp_path)
    assert len(make_outline(["data=synthetic", "seed=0,1"]).cells) == 2
