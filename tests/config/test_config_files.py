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
    "off for a text": (
        "# @package _global_\ntrain: {compile: off}\n",
        "line 2: train.compile: off is false to YAML; write 'off' in quotes",
    ),
    "off for a value of an axis": (
        "# @package _global_\ntable: {baseline: {placement: no}}\n",
        "line 2: placement: no is false to YAML; write 'no' in quotes",
    ),
    "on for a name": (
        "# @package _global_\ntable: {labels: {on: compiled}}\n",
        "line 2: on is true to YAML; write 'on' in quotes, or true",
    ),
    "a number for an axis": (
        "# @package _global_\nhydra:\n  sweeper:\n    grids: [{seed: 1, 1: 3}]\n",
        "line 4: hydra.sweeper.grids: 1 is no option; write an axis by its name, as in {seed: '0,1'}",
    ),
    "nothing for an axis": (
        "# @package _global_\ntable: {filters: {null: 3}}\n",
        "line 2: table.filters: null is no option; write an axis by its name",
    ),
    "an octal number": (
        "# @package _global_\nseed: 010\n",
        "line 2: seed: 010 is 8 to YAML, octal; write 8 or 10",
    ),
    "a number like a clock": (
        "# @package _global_\ntrain: {epochs: 12:30}\n",
        "line 2: train.epochs: 12:30 is 750 to YAML, to the base 60; write 750",
    ),
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


def test_names_that_are_numbers_are_text_and_on_is_true_where_truth_is_asked_for(tmp_path, monkeypatch):
    (tmp_path / "conf" / "study").mkdir(parents=True)
    labels = "table: {labels: {18: shallow, 0.5: half, true: flipped}}\naugment: {flip: on}\n"
    (tmp_path / "conf" / "study" / "mine.yaml").write_text(f"# @package _global_\n{labels}{SWEEP}")
    monkeypatch.chdir(tmp_path)
    base = make_outline(["study=mine", "table.labels.18=deep"]).base
    assert base.table.labels == {"18": "deep", "0.5": "half", "true": "flipped"}
    assert base.augment.flip is True


def test_a_byte_order_mark_is_none_of_a_study(tmp_path, monkeypatch):
    (tmp_path / "conf" / "study").mkdir(parents=True)
    text = f"# @package _global_\nseed: 3\n{SWEEP}"
    (tmp_path / "conf" / "study" / "mine.yaml").write_text(text, encoding="utf-8-sig")
    monkeypatch.chdir(tmp_path)
    assert [cell.cfg.seed for cell in make_outline(["study=mine"]).cells] == [3, 3]


@pytest.mark.parametrize(("encoding", "line"), [("utf-16", 1), ("latin-1", 2)])
def test_a_file_in_another_encoding_is_told_by_line(tmp_path, monkeypatch, encoding, line):
    (tmp_path / "conf" / "study").mkdir(parents=True)
    (tmp_path / "conf" / "study" / "mine.yaml").write_text(
        "# @package _global_\nname: \xe9t\xe9\n", encoding=encoding
    )
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        ConfigError, match=f"conf/study/mine.yaml line {line}: isn't UTF-8 text; save the file"
    ):
        make_outline(["study=mine"])


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
