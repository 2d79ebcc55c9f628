"""What a store holds comes out as records; what is odd about it comes out as words."""

import json

import pytest

from cbam_ablate.aggregate import build_table, load_study
from cbam_ablate.errors import ConfigError, StoreError

PLACEMENT = "model.attention.placement"
AXES = {PLACEMENT: ["none", "block"], "seed": [0, 1, 2]}


def score(axes):
    return 90.0 + axes["seed"] + (axes[PLACEMENT] == "block") * 0.5


@pytest.fixture
def keys(stand_in):
    return stand_in.build(AXES, score)


def load(stand_in):
    return load_study(stand_in.root, stand_in.study)


def result_of(stand_in, key):
    return stand_in.run(key) / "result.json"


def test_a_finished_run_gives_its_metrics_costs_and_error_rate(stand_in, keys):
    record = load(stand_in).records[keys["block", 1]]
    assert record.finished
    assert record.values["test_top1"] == 91.5
    assert record.values["test_error1"] == 8.5
    assert record.values["params"] == 272_474


@pytest.mark.parametrize(
    ("content", "word"),
    [
        ('{"schema": 1, "key', "cut short"),
        ("[1, 2]", "no JSON object"),
        ("\x00\xff", "cut short or not JSON"),
        ("", "cut short"),
        ('{"schema": 1, "key": "KEY", "metrics": {}}', "no cost, selection, provenance"),
        ('{"schema": 0, "key": "KEY"}', "format 0, this version reads 1"),
        ('{"schema": 1, "key": "ffffffffffffffff"}', "belongs to run ffffffffffffffff"),
        ("[" * 100_000, "cut short"),
    ],
)
def test_a_result_that_cant_be_used_is_counted_missing_and_told(stand_in, keys, content, word):
    key = keys["block", 1]
    result_of(stand_in, key).write_text(content.replace("KEY", key), encoding="latin-1")
    table = build_table(load(stand_in))
    row = table.rows[1]
    assert (row.n, row.expected, sum(row.missing.values())) == (2, 3, 1)
    assert any(key in note and word in note for note in table.notes)


def test_a_run_that_chose_its_epoch_on_test_data_is_refused(stand_in, keys):
    stand_in.finish(keys["block", 1], 99.0, selection={"rule": "highest test top-1"})
    table = build_table(load(stand_in))
    assert table.rows[1].missing == {"chosen on test data": 1}
    assert table.rows[1].cell("test_top1").value == 91.5
    assert any("test data chooses nothing" in note for note in table.notes)


@pytest.mark.parametrize(
    ("status", "word"),
    [
        ({"state": "failed", "class": "diverged", "error": "loss is nan"}, "diverged"),
        ({"state": "failed", "class": "out_of_memory", "error": ""}, "out of memory"),
        ({"state": "failed", "class": "timeout", "error": ""}, "timed out"),
        ({"state": "interrupted", "class": None, "error": ""}, "interrupted"),
        ({"state": "running"}, "killed"),
    ],
)
def test_an_unfinished_run_says_why(stand_in, keys, status, word):
    key = keys["none", 0]
    result_of(stand_in, key).unlink()
    (stand_in.run(key) / "status.json").write_text(json.dumps(status))
    assert load(stand_in).records[key].why == word


def test_a_run_without_a_folder_was_not_run(stand_in):
    keys = stand_in.build(AXES, lambda axes: None if axes["seed"] == 2 else score(axes))
    assert load(stand_in).records[keys["none", 2]].why == "not run"


def test_a_truncated_status_is_told(stand_in, keys):
    key = keys["none", 0]
    result_of(stand_in, key).unlink()
    (stand_in.run(key) / "status.json").write_text('{"state": "fai')
    assert load(stand_in).warnings == [f"Run {key}: status.json is cut short or not JSON."]


def test_foreign_files_in_the_store_do_no_harm(stand_in, keys):
    before = load(stand_in)
    (stand_in.root / "runs" / ".DS_Store").write_bytes(b"\x00\x01")
    (stand_in.root / "runs" / "my notes").mkdir()
    (stand_in.run(keys["none", 0]) / "result.json.bak").write_text("{")
    after = load(stand_in)
    assert after.records == before.records
    assert after.warnings == []


@pytest.mark.parametrize("value", ['"ninety"', "NaN", "true", "Infinity", '["90"]'])
def test_a_metric_that_is_no_number_is_left_out_and_told(stand_in, keys, value):
    path = result_of(stand_in, keys["block", 1])
    path.write_text(path.read_text().replace('"test_top1": 91.5', f'"test_top1": {value}'))
    table = build_table(load(stand_in))
    assert table.rows[1].cell("test_top1").n == 2
    assert any("test_top1" in note and "not a number" in note for note in table.notes)


@pytest.mark.parametrize("key", ["../../../etc/passwd", "..", "", 7, "ABCDEF"])
def test_a_key_that_is_no_run_key_is_never_opened(stand_in, keys, key):
    manifest = stand_in.manifest()
    manifest["cells"][0]["key"] = key
    stand_in.write_manifest(manifest)
    study = load(stand_in)
    assert len(study.places) == 5
    assert any("without axes and a run key" in warning for warning in study.warnings)


@pytest.mark.parametrize("study", ["../placement", "", "..", "a/b"])
def test_a_study_is_not_a_path(stand_in, keys, study):
    with pytest.raises(ConfigError, match="not a study's name"):
        load_study(stand_in.root, study)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ('{"schema": 1', "cut short"),
        ('{"schema": 7}', "format 7"),
        ('{"schema": 1, "axes": []}', "no usable axes"),
    ],
)
def test_a_manifest_that_cant_be_used_is_refused_in_words(stand_in, keys, text, word):
    (stand_in.folder / "manifest.json").write_text(text)
    with pytest.raises(ConfigError, match=word):
        load(stand_in)


def test_a_missing_study_is_refused_in_words(stand_in):
    with pytest.raises(ConfigError, match="not there"):
        load(stand_in)


def test_an_axis_that_the_manifest_does_not_declare_is_shown_and_told(stand_in, keys):
    manifest = stand_in.manifest()
    for index, cell in enumerate(manifest["cells"]):
        cell["axes"]["train.trick"] = index // 3
    stand_in.write_manifest(manifest)
    table = build_table(load(stand_in))
    assert [axis.name for axis in table.row_axes] == [PLACEMENT, "train.trick"]
    assert any("train.trick" in note for note in table.notes)


def test_two_runs_of_one_seed_count_as_one_and_are_told(stand_in, keys):
    manifest = stand_in.manifest()
    extra = "0123456789abcdef"
    manifest["cells"].append({"axes": {PLACEMENT: "block", "seed": 1}, "key": extra})
    manifest["runs"][extra] = {PLACEMENT: "block", "seed": 1}
    stand_in.write_manifest(manifest)
    stand_in.finish(extra, 92.5)
    table = build_table(load(stand_in))
    cell = table.rows[1].cell("test_top1")
    assert (cell.n, cell.value) == (3, pytest.approx((90.5 + 92.0 + 92.5) / 3))
    assert any("2 runs of seed 1" in note for note in table.notes)


def test_runs_of_different_configs_are_never_one_seed(stand_in, keys):
    manifest = stand_in.manifest()
    extra = "0123456789abcdef"
    manifest["cells"].append({"axes": {PLACEMENT: "block", "seed": 1}, "key": extra})
    manifest["runs"][extra] = {PLACEMENT: "block", "seed": 1, "optimizer.lr": 0.001}
    stand_in.write_manifest(manifest)
    stand_in.finish(extra, 50.0)
    with pytest.raises(StoreError, match=r"optimizer\.lr 0\.1 and 0\.001"):
        build_table(load(stand_in))
