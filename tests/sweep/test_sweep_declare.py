import itertools

import pytest
from hydra import compose, initialize_config_dir

from cbam_ablate.config import ConfigError, load_config
from cbam_ablate.config.canonical import run_key
from cbam_ablate.config.compose import compose as compose_ours
from cbam_ablate.config.compose import to_run_config
from cbam_ablate.config.overrides import parse
from cbam_ablate.config.where import conf_dir
from cbam_ablate.sweep.asked import Cell
from cbam_ablate.sweep.cells import refuse_pooled
from cbam_ablate.sweep.plan import make_plan

BASE = ["backbone=resnet_cifar", "data=synthetic"]


def said(words):
    return [cell.label for cell in make_plan([*BASE, *words]).cells]


def test_axes_on_the_command_line_replace_a_studys_of_the_same_name_however_spelled():
    plan = make_plan(["study=quick", "model.attention.placement=none,block", "seed=7"])
    assert plan.axes == ["model.attention.placement"]
    assert {(c.cfg.model.attention.placement, c.cfg.seed) for c in plan.cells} == {("none", 7), ("block", 7)}


def test_a_single_value_replaces_a_studys_axis():
    assert [cell.label for cell in make_plan(["study=quick", "placement=block"]).cells] == [
        "seed=0",
        "seed=1",
        "seed=2",
    ]


def test_zipped_axes_advance_together():
    zipped = "hydra.sweeper.zip=[[seed,train.epochs]]"
    assert said(["seed=0,1", "train.epochs=2,3", zipped]) == [
        "seed=0 train.epochs=2",
        "seed=1 train.epochs=3",
    ]


@pytest.mark.parametrize("group", ["[1]", "[[seed,2]]"])
def test_what_is_zipped_are_lists_of_axes(group):
    with pytest.raises(ConfigError, match="give lists of axes"):
        make_plan([*BASE, "seed=0,1", f"hydra.sweeper.zip={group}"])


def test_zipped_axes_of_different_lengths_are_refused():
    with pytest.raises(ConfigError, match=r"seed has 2, train\.epochs has 3"):
        make_plan([*BASE, "seed=0,1", "train.epochs=1,2,3", "hydra.sweeper.zip=[[seed,train.epochs]]"])


def test_excluded_combinations_are_left_out():
    words = ["placement=none,block", "kernel=3,7", "hydra.sweeper.exclude=[{placement:block,kernel:3}]"]
    assert said(words) == ["placement=none kernel=3", "placement=none kernel=7", "placement=block kernel=7"]


def test_factors_vary_one_at_a_time_around_a_baseline():
    words = ["placement=block", "reduction=4,8,16", "kernel=3,7", "seed=0,1"]
    found = said([*words, "hydra.sweeper.around={reduction:16,kernel:7}"])
    one_seed = [name.removesuffix(" seed=0") for name in found if name.endswith("seed=0")]
    assert len(found) == 2 * len(one_seed)
    assert sorted(one_seed) == sorted(
        ["reduction=16 kernel=7", "reduction=4 kernel=7", "reduction=8 kernel=7", "reduction=16 kernel=3"]
    )


def test_several_grids_are_joined_each_cell_once():
    grids = "hydra.sweeper.grids=[{placement:'none,block'},{placement:'block,class',train.epochs:'100'}]"
    assert said(["seed=0", grids]) == [
        "placement=none",
        "placement=block",
        "placement=block train.epochs=100",
        "placement=class train.epochs=100",
    ]


def test_null_is_a_value_like_others():
    axis = "optimizer.clip_norm"
    words = [f"{axis}=null,0.5,1.0", "seed=0,1"]
    cells = make_plan([*BASE, *words]).cells
    assert [cell.axes[axis] for cell in cells[::2]] == ["null", 0.5, 1.0]
    excluded = [f"{axis}=0.5 seed=0", f"{axis}=0.5 seed=1", f"{axis}=1.0 seed=0"]
    assert said([*words, f"hydra.sweeper.exclude=[{{{axis}: null}}, {{{axis}: 1, seed: 1}}]"]) == excluded
    around = [f"{axis}=null seed=0", f"{axis}=0.5 seed=0", f"{axis}=1.0 seed=0", f"{axis}=null seed=1"]
    assert said([*words, f"hydra.sweeper.around={{{axis}: null, seed: 0}}"]) == around


def test_exclusions_and_baselines_know_booleans():
    axis = "optimizer.nesterov"
    words = [f"{axis}=true,false", "seed=0,1"]
    excluded = said([*words, f"hydra.sweeper.exclude=[{{{axis}: false, seed: 1}}]"])
    around = said([*words, f"hydra.sweeper.around={{{axis}: true, seed: 0}}"])
    assert [text.lower() for text in excluded] == [
        f"{axis}=true seed=0", f"{axis}=true seed=1", f"{axis}=false seed=0",
    ]  # fmt: skip
    assert len(around) == 3


def test_what_others_networks_have_no_option_for_has_no_effect_on_them():
    theirs = "{backbone: torchvision, model.torchvision: resnet18, depth: auto}"
    cells = make_plan([f"hydra.sweeper.grids=[{{backbone: resnet_cifar, depth: '20,32'}}, {theirs}]"]).cells
    assert [cell.axes["model.depth"] for cell in cells] == [20, 32, None]


def test_an_exclusion_of_what_is_not_swept_is_refused():
    with pytest.raises(ConfigError, match=r"model\.depth is not an axis"):
        make_plan([*BASE, "seed=0,1", "hydra.sweeper.exclude=[{depth:18}]"])


def test_one_baseline_serves_all_reductions_and_kernels():
    plan = make_plan([*BASE, "placement=none,block", "reduction=4,8", "kernel=3,7"])
    assert (len(plan.cells), len(plan.runs)) == (8, 5)
    baseline = plan.cells[0]
    assert baseline.axes["model.attention.reduction"] is None


def test_all_bad_cells_are_reported_at_once():
    with pytest.raises(ConfigError) as error:
        make_plan(["backbone=resnet,resnet_cifar", "depth=18,20", "data=synthetic"])
    assert "2 of 4 cells" in str(error.value)
    assert "resnet comes in depths" in str(error.value)
    assert "resnet_cifar comes in depths" in str(error.value)


def test_the_same_axes_get_the_same_name():
    words = [*BASE, "placement=none,block", "seed=0,1"]
    assert make_plan(words).study == make_plan(words).study
    assert make_plan(words).study != make_plan([*words, "train.epochs=7"]).study


@pytest.mark.slow
def test_every_cell_equals_what_hydra_composes(version_base):
    axes = {
        "placement": ["none", "block"],
        "reduction": ["4", "8"],
        "optimizer": ["sgd", "adamw"],
        "train.epochs": ["2", "3"],
        "model.attention.pool": ["[avg]", "[avg,max]"],
        "optimizer.lr": ["0.1", "1e-3"],
        "augment.flip": ["true", "false"],
    }
    cells = make_plan([*BASE, *(f"{name}={','.join(values)}" for name, values in axes.items())]).cells
    combinations = list(itertools.product(*axes.values()))
    assert len(cells) == len(combinations)
    with initialize_config_dir(str(conf_dir()), **version_base):
        for cell, values in list(zip(cells, combinations, strict=True))[::7]:
            words = [f"{name}={value}" for name, value in zip(axes, values, strict=True)]
            quoted = [
                word.replace("=4", "='4'").replace("=8", "='8'") if "reduction" in word else word
                for word in words
            ]
            composed = compose("config", [*BASE, *quoted], return_hydra_config=True)
            assert cell.cfg == to_run_config(composed)


@pytest.fixture
def study(tmp_path, monkeypatch):
    """Writes a study of one's own, to be planned as `study=mine`."""

    def write(text, name="mine"):
        (tmp_path / "conf" / "study").mkdir(parents=True)
        (tmp_path / "conf" / "study" / f"{name}.yaml").write_text(f"# @package _global_\n{text}")

    monkeypatch.chdir(tmp_path)
    return write


@pytest.mark.parametrize(
    "words",
    [[], *(pytest.param([f"{name}=34,50"], marks=pytest.mark.slow) for name in ("depth", "model.depth"))],
    ids=str,
)
def test_axes_and_groups_win_over_what_a_studys_body_sets(study, words):
    study("model: {depth: 101, attention: {kernel: 11}}\nhydra: {sweeper: {params: {depth: '34,50'}}}\n")
    cells = make_plan(["study=mine", "placement=block", *words]).cells
    assert [(cell.cfg.model.depth, cell.cfg.model.attention.kernel) for cell in cells] == [(34, 11), (50, 11)]
    cells = make_plan(["study=mine", "placement=block", "depth=auto", "kernel=3,5"]).cells
    assert [(cell.cfg.model.depth, cell.cfg.model.attention.kernel) for cell in cells] == [(18, 3), (18, 5)]


def test_a_choice_of_ones_own_may_follow_another_option(study, tmp_path):
    study("model: {attention: {reduction: 2}}\n")
    (tmp_path / "conf" / "reduction").mkdir()
    own = "# @package model.attention\nreduction: ${model.attention.kernel}\n"
    (tmp_path / "conf" / "reduction" / "as_kernel.yaml").write_text(own)
    for words in (["placement=block"], ["placement=block", "study=mine"]):
        cells = make_plan([*words, "reduction=as_kernel", "model.attention.kernel=3,5"]).cells
        assert [cell.cfg.model.attention.reduction for cell in cells] == [3, 5]


def test_a_choice_that_leaves_its_option_open_leaves_it_to_the_study(study, tmp_path):
    study("optimizer: {name: adamw, weight_decay: 0.1}\n")
    (tmp_path / "conf" / "optimizer").mkdir()
    (tmp_path / "conf" / "optimizer" / "slow.yaml").write_text("lr: 0.003\n")
    (cell,) = make_plan(["study=mine", "optimizer=slow"]).cells
    assert (cell.cfg.optimizer.name, cell.cfg.optimizer.lr) == ("adamw", 0.003)


def test_a_glob_is_of_the_groups_choices():
    assert said(["placement=glob(b*)"]) == ["placement=block", "placement=both"]


@pytest.mark.parametrize("word", ["seed=range(0)", "placement=glob(x*)"])
def test_an_axis_without_values_is_refused(word):
    with pytest.raises(ConfigError, match="stands for no value"):
        said([word])


def test_interpolations_follow_the_values_that_a_cell_sets(tmp_path, monkeypatch):
    (tmp_path / "conf" / "study").mkdir(parents=True)
    study = (
        "# @package _global_\ntrain:\n  batch_size: ${train.epochs}\ndata: {name: synthetic, val_size: 100}\n"
    )
    (tmp_path / "conf" / "study" / "linked.yaml").write_text(study)
    monkeypatch.chdir(tmp_path)
    cells = make_plan(["study=linked", "train.epochs=8,16"]).cells
    assert [cell.cfg.train.batch_size for cell in cells] == [8, 16]
    assert compose_ours(parse(["study=linked"])).train.batch_size == 100


def test_choices_that_name_the_same_part_are_values_of_their_own(study, tmp_path):
    (tmp_path / "conf" / "optimizer").mkdir(parents=True)
    (tmp_path / "conf" / "optimizer" / "slow.yaml").write_text("name: sgd\nlr: 0.001\nweight_decay: 0.0\n")
    plan = make_plan([*BASE, "optimizer=sgd,slow", "seed=0,1"])
    assert [cell.axes["optimizer.name"] for cell in plan.cells] == ["sgd", "sgd", "slow", "slow"]
    assert [cell.cfg.optimizer.lr for cell in plan.cells[::2]] == [0.1, 0.001]


def test_an_automatic_choice_has_the_value_that_the_backbone_gives_it():
    cells = make_plan(["backbone=resnet,resnet_cifar", "depth=auto", "data=synthetic"]).cells
    cells += make_plan(["depth=auto,34", "data=synthetic"]).cells
    assert [cell.axes.get("model.depth") for cell in cells] == [None, None, 18, 34]


def test_runs_that_no_axis_tells_apart_are_refused_by_their_difference():
    tokens = {lr: parse([f"optimizer.lr={lr}"])[0] for lr in ("0.1", "0.2")}
    cells = [
        Cell(lr, {"seed": 0}, cfg, run_key(cfg), [])
        for lr, token in tokens.items()
        for cfg in [load_config([token.text])]
    ]
    with pytest.raises(ConfigError, match=r"optimizer\.lr 0\.1 and 0\.2"):
        refuse_pooled(cells)


def test_a_studys_axis_that_refers_to_another_follows_it_in_each_cell(study, monkeypatch):
    monkeypatch.setenv("SEEDS", "3,4")
    study(
        "defaults: [override /data: synthetic]\ndata: {train_size: 128}\ntrain: {batch_size: 64}\n"
        "hydra:\n  sweeper:\n"
        "    params: {seed: '${oc.env:SEEDS}', data.subset_seed: '${seed}'}\n"
    )
    cells = make_plan(["study=mine"]).cells
    assert [(cell.cfg.seed, cell.cfg.data.subset_seed) for cell in cells] == [(3, 3), (4, 4)]
    assert [cell.axes["data.subset_seed"] for cell in cells] == [3, 4]
    cells = make_plan(["study=mine", "data.subset_seed=${seed},7"]).cells
    assert [cell.cfg.data.subset_seed for cell in cells] == [3, 7, 4, 7]


def test_the_working_folders_file_wins_over_ours_of_the_same_name(study, tmp_path):
    study("defaults: [override /data: synthetic]\nhydra: {sweeper: {params: {seed: '8,9'}}}\n", "placement")
    (tmp_path / "conf" / "optimizer").mkdir()
    (tmp_path / "conf" / "optimizer" / "sgd.yaml").write_text("name: sgd\nlr: 0.03\nweight_decay: 0.0\n")
    (tmp_path / "conf" / "config.yaml").write_text("of: another program\n")
    cells = make_plan(["study=placement", "optimizer=sgd,adam"]).cells
    assert [(cell.cfg.seed, cell.cfg.optimizer.lr) for cell in cells] == [
        (8, 0.03), (8, 0.001), (9, 0.03), (9, 0.001),
    ]  # fmt: skip


def test_a_placement_that_adds_what_another_adds_is_refused():
    same = "[{model.attention.placement: stage}, {model.attention.at: [[stages.0, stages.1]]}]"
    with pytest.raises(ConfigError, match="adds the same attention to resnet_cifar as another cell"):
        make_plan([*BASE, f"hydra.sweeper.grids={same}"])


def test_a_placement_that_adds_nothing_is_refused_before_anything_runs(monkeypatch):
    monkeypatch.setattr("cbam_ablate.models.build.put_all", lambda network, *_: network)
    with pytest.raises(ConfigError, match="placement=at: adds nothing to resnet_cifar"):
        make_plan([*BASE, "model.width=6", "model.attention.at=[stages.0]"])


def test_a_range_is_in_decimals():
    assert said(["optimizer.lr=range(0.1,0.4,0.1)"]) == [f"optimizer.lr={lr}" for lr in (0.1, 0.2, 0.3)]
    assert said(["seed=range(3,0,-2)"]) == ["seed=3", "seed=1"]


@pytest.mark.parametrize(
    "word", ["seed=range(0,1,0)", "seed=shuffle(1,2)", "optimizer.lr=range(0,1,1e-9)", "seed=0,010"]
)
def test_values_that_make_no_axis_are_refused(word):
    with pytest.raises(ConfigError, match=word.partition("=")[0]):
        said([word])


def test_an_exclusion_is_of_a_number_to_its_last_digit():
    exclude = "hydra.sweeper.exclude=[{optimizer.lr: 0.1234567}]"
    assert said(["optimizer.lr=0.1234567,0.1234568", exclude]) == ["optimizer.lr=0.1234568"]


def test_an_exclusion_of_a_value_that_there_is_not_is_refused():
    for entry in ("{placement: blok}", "{placement: block, seed: 7}"):
        with pytest.raises(ConfigError, match="is in no cell, so it excludes none"):
            said(["placement=none,block", "seed=0,1", f"hydra.sweeper.exclude=[{entry}]"])
    off = "hydra.sweeper.exclude=[{optimizer.nesterov: off}]"
    assert said(["optimizer.nesterov=true,false", off]) == ["optimizer.nesterov=True"]
