"""Results in files and DataFrames: what is an axis, a seed and a result is found, and what is odd is said."""

import json
import re
import sys

import numpy as np
import pandas as pd
import pytest

from cbam_ablate.errors import ConfigError, StoreError, UserError
from cbam_ablate.report import check_table

WIDE = """method,kernel,seed,test_acc,train_loss
none,,0,90.0,0.31
none,,1,91.0,0.30
cbam,3,0,92.0,0.29
cbam,3,1,93.5,0.28
cbam,7,0,94.0,0.25
cbam,7,1,94.5,0.24
"""


@pytest.fixture
def csv(tmp_path):
    def write(text, name="runs.csv"):
        path = tmp_path / name
        path.write_text(text)
        return path

    return write


def test_axes_seed_and_result_of_a_wide_table_are_found(csv, found):
    study = found(csv(WIDE))
    assert (study.axes, study.metric) == (["method", "kernel", "seed"], "test_acc")
    assert study.values == {
        ("none", None, 0): 90.0,
        ("none", None, 1): 91.0,
        ("cbam", 3, 0): 92.0,
        ("cbam", 3, 1): 93.5,
        ("cbam", 7, 0): 94.0,
        ("cbam", 7, 1): 94.5,
    }


def test_the_same_runs_come_out_of_every_kind_of_file(csv, found, tmp_path):
    frame = pd.read_csv(csv(WIDE)).astype({"kernel": "Int64"})
    frame.to_csv(tmp_path / "runs.tsv", sep="\t", index=False)
    frame.to_csv(tmp_path / "semicolons.csv", sep=";", decimal=",", index=False)
    frame.to_json(tmp_path / "runs.jsonl", orient="records", lines=True)
    frame.to_json(tmp_path / "runs.json", orient="records")
    frame.to_parquet(tmp_path / "runs.parquet")
    long = frame.melt(["method", "kernel", "seed"], var_name="metric")
    long.to_csv(tmp_path / "long.csv", index=False)
    expected = found(tmp_path / "runs.csv").values
    for name in ("runs.tsv", "semicolons.csv", "runs.jsonl", "runs.json", "runs.parquet", "long.csv"):
        assert found(tmp_path / name).values == expected, name


def test_a_word_among_decimal_commas_leaves_the_other_numbers(csv, found):
    study = found(csv("method;seed;acc\na;0;90,5\na;1;oops\nb;0;NA\nb;1;91,5\nb;2;nan\na;2;92\n"))
    assert (study.values["a", 0], study.values["b", 1], study.values["a", 2]) == (90.5, 91.5, 92)
    assert study.notes.count("oops") == 1
    assert "acc is no number in 1 run (line 3) ('oops')" in study.notes


def test_seeds_side_by_side_are_seeds(csv, found):
    text = "method,acc_seed0,acc_seed1,acc_seed2\nnone,90,91,\ncbam,92,93,94\n"
    study = found(csv(text))
    assert study.values == {
        ("none", 0): 90, ("none", 1): 91, ("cbam", 0): 92, ("cbam", 1): 93, ("cbam", 2): 94,
    }  # fmt: skip
    assert "method none has no seed 2" in study.notes
    named = found(csv("method,a,b\nnone,90,91\ncbam,92,93\n"), seed=("a", "b"), metrics=("acc",))
    assert named.values == {("none", "a"): 90, ("none", "b"): 91, ("cbam", "a"): 92, ("cbam", "b"): 93}


def test_runs_without_a_seed_are_numbered_and_it_is_said(csv, found):
    study = found(csv("method,acc\nnone,90\nnone,91\ncbam,92\ncbam,93\n"))
    assert list(study.values) == [("none", 0), ("none", 1), ("cbam", 0), ("cbam", 1)]
    assert "have no seed" in study.notes


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("cbam,3,1,93.5,0.28", "cbam,3,0,93.5,0.28"), "has 2 runs of seed 0 (line 4, line 5)"),
        (("cbam,3,1,93.5,0.28\n", ""), "1 place of 6 (setting by seed) is empty: method cbam, kernel 3"),
        (("93.5", "nan"), "test_acc is NaN in 1 run (line 5)"),
        (("0.28", "-inf"), "train_loss is infinite in 1 run (line 5)"),
        (("93.5", ""), "test_acc is missing in 1 run (line 5)"),
        (("93.5", "0.935"), "test_acc looks like a fraction in 1 run (line 5) and not in the other 5"),
        (("93.5", "93.5 ± 0.2"), "test_acc is no number in 1 run (line 5) ('93.5 ± 0.2')"),
        (("cbam,7,1", "cbam,large,1"), "kernel holds numbers and text ('large')"),
        (("cbam,3,1", "cbam,3,"), "seed is missing in 1 run (line 5)"),
    ],
)
def test_what_is_odd_is_said_once_and_nothing_is_dropped(csv, found, change, said):
    text = WIDE.replace(*change)
    study = found(csv(text))
    assert study.notes.count(said) == 1, study.notes
    assert len(study.runs) == len(text.splitlines()) - 1


def test_a_run_whose_every_number_is_nan_has_diverged(csv, imported):
    table = imported(csv(WIDE.replace("93.5,0.28", "nan,nan"))).table
    assert [(row["n"], row["missing"]) for row in table["rows"]] == [
        (2, {}),
        (1, {"diverged": 1}),
        (2, {}),
    ]


def test_a_column_that_numbers_the_rows_is_no_axis_unless_named(csv, found):
    lines = WIDE.splitlines()
    text = "\n".join([f"{lines[0]},run_id", *(f"{line},r{i}" for i, line in enumerate(lines[1:]))])
    study = found(csv(text))
    assert study.axes == ["method", "kernel", "seed"]
    assert "run_id differs in every run" in study.notes
    assert found(csv(text), axes=("run_id",), seed=("seed",)).axes == ["run_id", "seed"]


def test_options_left_out_of_named_axes_are_said(csv, found):
    study = found(csv(WIDE), axes=("method",))
    assert "Runs of one row differ in kernel too" in study.notes


def test_a_text_none_is_a_value_and_an_empty_cell_has_no_effect(csv, imported):
    table = imported(csv(WIDE), "table.baseline.method=none").table
    assert [list(row["axes"].values()) for row in table["rows"]] == [["none", None], ["cbam", 3], ["cbam", 7]]
    assert table["rows"][1]["cells"]["test_acc"]["difference"]["value"] == pytest.approx(2.25)


def test_numbers_with_leading_zeros_and_truth_values_stay_what_they_are(csv, found):
    study = found(
        csv("id,aug,lr,seed,acc\n007,True,1e-3,0,0.91\n010,False,0.10,0,0.92\n"), axes=("id", "aug", "lr")
    )
    assert list(study.values) == [("007", True, 0.001, 0), ("010", False, 0.1, 0)]


def test_importing_again_replaces_and_gives_the_same_keys(csv, imported):
    before = imported(csv(WIDE))
    after = imported(csv(WIDE.replace("93.5", "94.5")))
    keys = [[row["run_keys"] for row in one.table["rows"]] for one in (before, after)]
    assert keys[0] == keys[1]
    assert after.table["rows"][1]["cells"]["test_acc"]["value"] == pytest.approx(93.25)
    assert [path.name for path in after.root.parent.iterdir()] == ["study"]


def test_the_caption_says_who_chose(csv, imported):
    caption = ". ".join(imported(csv(WIDE)).table["caption"])
    assert "chosen by the runs' authors" in caption
    assert "isn't known" in caption
    named = imported(csv(WIDE.replace("test_acc", "best_test_acc")), study="best").table
    assert "best_test_acc: by its name, test data chose its epoch." in named["notes"]


def test_a_store_of_something_else_is_not_replaced(csv, tmp_path, imported):
    (tmp_path / "imported" / "study").mkdir(parents=True)
    with pytest.raises(StoreError, match="holds something else than an import"):
        imported(csv(WIDE))


@pytest.mark.parametrize(
    ("text", "wanted", "said"),
    [
        ("", {}, "has nothing in it"),
        ("a,b\n", {}, "has no rows below its header"),
        ("a,a\n1,2\n", {}, "its header has 'a' twice"),
        ("method,acc\nnone,1,2\n", {}, "line 2 has 3 cells, its header 2"),
        ("method,colour\nnone,red\n", {}, "which columns are measured"),
        (WIDE, {"axes": ("width",)}, "axes=width: no such column; there are method, kernel"),
        (WIDE, {"seed": ("rng",)}, "seed=rng: no such column"),
        (WIDE, {"metrics": ("f1",)}, "metric=f1: no such column"),
        (WIDE, {"metrics": ("method",)}, "metric=method: no run measured it"),
        (WIDE, {"better": {"f1": "up"}}, "better=f1: not a metric of this table; it shows test_acc"),
        (WIDE, {"better": {"test_acc": "higher"}}, "better=test_acc:higher: not one of up, down"),
        (WIDE, {"step": "5"}, "step=5: csv has one value a run"),
        (WIDE, {"step": "best"}, "step=best: not last, a step's number"),
        (WIDE, {"file": "x.json"}, "file=x.json: names the metrics file of Hydra jobs"),
        (WIDE, {"experiment": "x"}, "experiment=x: MLflow has experiments"),
    ],
)
def test_a_bad_file_or_wish_is_one_clear_line(csv, found, text, wanted, said):
    with pytest.raises(UserError) as error:
        found(csv(text), **wanted)
    assert said in str(error.value)
    assert len(str(error.value).splitlines()) == 1


def test_an_mlflow_file_stores_folder_is_told_its_address(tmp_path, found):
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "meta.yaml").write_text("name: abl\n")
    with pytest.raises(ConfigError, match=re.escape(f"file://{tmp_path} is its address")):
        found(tmp_path)


def test_other_bad_sources_are_one_clear_line(tmp_path, found, csv, monkeypatch):
    (tmp_path / "empty").mkdir()
    (tmp_path / "latin.csv").write_bytes("méthode,acc\n1,2\n".encode("latin-1"))
    (tmp_path / "fake.db").write_text("no database")
    (tmp_path / "fake.parquet").write_text("no parquet")
    cases = {
        tmp_path / "absent.csv": "no such file, folder or address",
        tmp_path / "empty": "holds no Hydra jobs",
        tmp_path / "latin.csv": "is not UTF-8 text",
        csv("{}", "runs.xlsx"): "ends in none of .csv",
        csv('{"a": 1}\nnonsense', "runs.jsonl"): "line 2",
        csv("[1, 2]", "runs.json"): "entry 1 is '1', not an object",
        tmp_path / "fake.db": "is no MLflow database",
        tmp_path / "fake.parquet": "is no Parquet file",
    }
    for source, said in cases.items():
        with pytest.raises(UserError) as error:
            found(source)
        assert said in str(error.value), source
        assert len(str(error.value).splitlines()) == 1
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ConfigError, match=r"pip install 'cbam_ablate\[parquet\]'"):
        found(tmp_path / "fake.parquet")


def test_an_import_can_be_exported_and_checked_elsewhere(csv, imported, tmp_path):
    from cbam_ablate.report import check_table
    from cbam_ablate.report.export import export_study

    root = imported(csv(WIDE)).root
    folder = export_study(root, "study", tmp_path / "kept")
    assert check_table(folder, "study") == []
    assert (folder / "studies" / "study" / "report.html").exists() or (folder / "table.md").exists()


PUBLISHED = """method,s1,s2,s3,s4,s5
baseline,93.03,93.21,92.87,93.10,92.95
se,93.48,93.60,93.31,93.52,93.37
cbam,93.61,93.95,93.39,93.70,93.66
eca,93.11,93.30,92.80,93.25,92.97
"""
"""Accuracies by seed in the form in which papers' appendices print them."""


def test_statistics_of_a_typed_in_table_are_those_of_scipy_and_statsmodels(csv, imported):
    from scipy import stats
    from statsmodels.stats.multitest import multipletests

    words = ("seed=s1,s2,s3,s4,s5", "metric=acc", "better=up", "table.baseline.method=baseline")
    rows = imported(csv(PUBLISHED), *words).table["rows"]
    numbers = pd.read_csv(csv(PUBLISHED), index_col="method")
    others = [name for name in numbers.index if name != "baseline"]
    p = [stats.ttest_rel(numbers.loc[name], numbers.loc["baseline"]).pvalue for name in others]
    corrected = dict(zip(others, multipletests(p, method="holm")[1], strict=True))
    for row in rows:
        name, cell = row["axes"]["method"], row["cells"]["acc"]
        assert cell["value"] == pytest.approx(numbers.loc[name].mean(), rel=1e-9)
        assert cell["sd"] == pytest.approx(numbers.loc[name].std(), rel=1e-9)
        if name != "baseline":
            told = stats.ttest_rel(numbers.loc[name], numbers.loc["baseline"]).confidence_interval()
            assert cell["difference"]["p_holm"] == pytest.approx(corrected[name], rel=1e-6)
            assert cell["difference"]["interval"] == pytest.approx([told.low, told.high], rel=1e-9)


def test_ten_thousand_rows_are_one_file_not_folders(csv, imported):
    rng = np.random.default_rng(0)
    lines = [
        f"{a},{b},{s},{v:.4f}" for (a, b, s), v in zip(np.ndindex(10, 10, 3), rng.random(300), strict=True)
    ]
    root = imported(csv("\n".join(["width,depth,seed,acc", *lines]))).root
    assert list((root / "runs").iterdir()) == []
    assert len((root / "studies" / "study" / "results.jsonl").read_text().splitlines()) == 300
    assert json.loads((root / "studies" / "study" / "manifest.json").read_text())["axes"]["seed"] == [0, 1, 2]


def test_a_table_that_can_not_be_made_leaves_the_import_that_was_there(csv, imported, tmp_path):
    before = imported(csv(WIDE)).table
    with pytest.raises(ConfigError, match=r"table\.metrics=nope: no run measured it"):
        imported(csv(WIDE.replace("93.5", "94.5")), "table.metrics=[nope]")
    root = tmp_path / "imported" / "study"
    assert json.loads((root / "studies" / "study" / "table.json").read_text()) == before
    assert check_table(root, "study") == []
    assert [path.name for path in root.parent.iterdir()] == ["study"]


def test_a_direction_is_said_for_all_metrics_or_each(csv, imported):
    for words in (["better=down", "metric=test_acc"], ["better=test_acc:down"], ["better.test_acc=down"]):
        assert imported(csv(WIDE), *words).table["quantities"][0]["better"] == "down"
    with pytest.raises(ConfigError, match="after the one source"):
        imported(csv(WIDE), "other.csv")
