"""Every study that is shipped: it opens with its command, plans, and its table's declaration holds."""

import re

import pytest

from cbam_ablate.config.where import choices, conf_dir
from cbam_ablate.report import write_table
from cbam_ablate.sweep.manifest import freeze
from cbam_ablate.sweep.plan import make_plan

LARGE = ("attention_zoo", "depths", "cbam_table1", "cbam_table2", "cbam_table3", "cbam_table4",
         "cbam_table5", "label_noise", "mask_types", "reduction_kernel", "residual_attention",
         "residual_attention_tensorflow", "seed_resnet18", "seed_vgg19", "vgg19")  # fmt: skip
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


@pytest.mark.parametrize(
    "study",
    [study if study == "label_noise" else pytest.param(study, marks=pytest.mark.slow) for study in BESIDE],
)
def test_published_numbers_don_t_stand_beside_another_data_set(study, tmp_path):
    other = ["data=synthetic", *(["data.store_size=null"] if study.startswith("cbam_table") else [])]
    plan = make_plan([f"study={study}", f"store={tmp_path}", *other, "seed=0"])
    freeze(plan, ["cbam-ablate", "train", f"study={study}"])
    table = write_table(tmp_path, study)
    assert table.references == []
    assert any("as no row is of its data.name" in note for note in table.notes)


def beside(tmp_path, *words):
    """The table of a study that isn't trained, and by its rows' axes the numbers of its first reference."""
    plan = make_plan([*words, f"store={tmp_path}", "seed=0"])
    freeze(plan, ["cbam-ablate", "train", *words])
    table = write_table(tmp_path, plan.study)
    numbers = table.references[0].values if table.references else [""] * len(table.rows)
    return table, dict(zip((tuple(row.axes.values()) for row in table.rows), numbers, strict=True))


def test_published_numbers_stand_beside_the_networks_that_the_study_declares_alone(tmp_path):
    words = ["study=label_noise", "data.label_noise=0.1", "model.width=16,64"]
    _, numbers = beside(tmp_path, *words)
    own = {("resnet_cifar_preact", 16): "5.93", ("residual_attention", 64): "5.15"}
    assert len(numbers) == 4
    for row, number in numbers.items():
        assert number == next((value for names, value in own.items() if set(names) <= set(row)), "")


def test_of_networks_that_are_all_others_a_study_s_published_numbers_are_left_out_with_a_word(tmp_path):
    table, _ = beside(tmp_path, "study=label_noise", "data.label_noise=0.1", "model.width=8")
    assert table.references == []
    assert any("as no row is of a network that the study declares" in note for note in table.notes)


@pytest.mark.slow
def test_an_option_that_a_network_doesn_t_read_takes_no_published_number_from_it(tmp_path):
    _, numbers = beside(tmp_path, "study=cbam_table4", "depth=18", "model.width=64", "reduction=8")
    assert [number for row, number in numbers.items() if "none" in row] == ["29.60"]
    assert sorted(map(bool, numbers.values())) == [False, False, True]


def test_training_other_than_the_study_s_is_said_beside_published_numbers(tmp_path):
    table, numbers = beside(tmp_path, "study=label_noise", "data.label_noise=0.1", "train.epochs=3")
    assert all(numbers.values())
    assert any("not: train.epochs 228 and 3." in note for note in table.notes)


def test_data_other_than_the_study_s_are_said_beside_published_numbers(tmp_path):
    words = ["study=residual_attention", "data.label_noise=0.5", "data.train_size=64"]
    table, numbers = beside(tmp_path, *words)
    assert "4.99" in numbers.values()
    (note,) = (note for note in table.notes if "data and training as the study declares" in note)
    assert "data.label_noise 0 and 0.5" in note
    assert "data.train_size null and 64" in note


def test_a_value_that_the_study_sweeps_itself_is_no_other_training(tmp_path):
    table, _ = beside(tmp_path, "study=label_noise", "data.label_noise=0.3")
    assert not any("data and training as the study declares" in note for note in table.notes)


def test_a_study_whose_grids_lose_the_network_of_some_numbers_is_made(tmp_path):
    _, numbers = beside(tmp_path, "study=cbam_table4", "depth=18", "model.width=96")
    assert sorted(numbers.values()) == ["26.10", "26.21", "26.85"]


def test_numbers_that_the_command_gives_stand_beside_whatever_it_trains(tmp_path):
    numbers = "table.references=[{label: mine, values: [{backbone: resnet_cifar_preact, value: 5}]}]"
    table, _ = beside(tmp_path, "study=label_noise", "data.label_noise=0.1", "model.width=8", numbers)
    assert sorted(table.references[0].values) == ["", "5"]
    assert not any("published numbers" in note for note in table.notes)


def test_a_study_narrowed_to_one_of_its_grids_keeps_the_published_numbers_of_that(tmp_path):
    table, numbers = beside(tmp_path, "study=label_noise", "data.label_noise=0.1", "depth=164")
    assert list(numbers.values()) == ["5.93"]
    assert any("no row for 7 of its 8 numbers" in note for note in table.notes)
