"""Files of a study's table: written, checked and exported."""

import json
import os
import re
import subprocess
import sys

import pytest

from cbam_ablate.errors import ConfigError
from cbam_ablate.report import check_table, export, write_table
from cbam_ablate.report.export import export_study
from cbam_ablate.report.page import write_report
from cbam_ablate.runs import RunStore

PLACEMENT = "model.attention.placement"
AXES = {PLACEMENT: ["none", "block"], "seed": [0, 1, 2]}


def score(chosen):
    return 90.0 + chosen["seed"] ** 2 / 7 + (chosen[PLACEMENT] == "block") * (1 + chosen["seed"] / 9)


@pytest.fixture
def keys(stand_in):
    return stand_in.build(AXES, score)


def write(stand_in, values=None):
    return write_table(stand_in.root, stand_in.study, values)


def test_all_forms_are_written_beside_the_manifest(stand_in, keys):
    write(stand_in)
    found = {path.name for path in stand_in.folder.iterdir()}
    assert found == {"manifest.json", *(f"table.{ending}" for ending in ("md", "tex", "csv", "html", "json"))}
    for name in ("table.md", "table.tex", "table.html"):
        text = " ".join((stand_in.folder / name).read_text().split())
        assert "of convolutions, linear layers and products of matrices, for one image" in text


def test_writing_again_gives_the_same_bytes(stand_in, keys):
    write(stand_in)
    before = {path.name: path.read_bytes() for path in stand_in.folder.glob("table.*")}
    write(stand_in)
    assert {path.name: path.read_bytes() for path in stand_in.folder.glob("table.*")} == before


CHANGES = {
    "a result": lambda s, key: s.finish(key, 95.0),
    "a run gone": lambda s, key: (s.run(key) / "result.json").unlink(),
    "the manifest": lambda s, key: s.write_manifest({**s.manifest(), "table": {"metrics": ["test_top5"]}}),
}


@pytest.mark.parametrize("change", list(CHANGES))
def test_a_table_shows_what_changed_since_the_last(stand_in, keys, change):
    before = write(stand_in)
    CHANGES[change](stand_in, keys["block", 1])
    assert write(stand_in).rows != before.rows


def test_a_form_edited_by_hand_is_written_anew(stand_in, keys):
    write(stand_in)
    (stand_in.folder / "table.md").write_text("edited")
    write(stand_in)
    assert "edited" not in (stand_in.folder / "table.md").read_text()


def test_another_failure_of_an_unfinished_run_is_seen(stand_in, keys):
    key = keys["block", 1]
    (stand_in.run(key) / "result.json").unlink()
    stand_in.fail(key, failure="diverged")
    assert write(stand_in).rows[1].missing == {"diverged": 1}
    stand_in.fail(key, failure="timeout")
    assert write(stand_in).rows[1].missing == {"timed out": 1}


def test_other_options_make_another_table(stand_in, keys):
    write(stand_in)
    assert [q.name for q in write(stand_in, {"table.costs": ["macs"]}).quantities] == ["test_top1", "macs"]


def test_a_written_table_agrees_with_its_runs(stand_in, keys):
    write(stand_in, {"table.costs": ["macs"], "table.metrics": ["test_top5", "test_top1"]})
    assert check_table(stand_in.root, stand_in.study) == []


def test_a_changed_digit_of_a_run_is_found_and_named(stand_in, keys):
    write(stand_in)
    path = stand_in.run(keys["block", 1]) / "result.json"
    result = json.loads(path.read_text())
    result["metrics"]["test_top1"] += 0.01
    path.write_text(json.dumps(result))
    changed = check_table(stand_in.root, stand_in.study)
    assert any("rows[block].cells.test_top1.value" in line for line in changed)


@pytest.mark.parametrize("name", ["table.md", "table.tex", "table.csv", "table.html"])
def test_a_digit_changed_by_hand_is_found(stand_in, keys, name):
    write(stand_in)
    path = stand_in.folder / name
    text = path.read_text()
    place = text.rindex("90.")
    path.write_text(text[: place + 1] + "7" + text[place + 2 :])
    assert check_table(stand_in.root, stand_in.study) == [
        f"{name}: its numbers or marks are not those of table.json; make the table again"
    ]


@pytest.mark.parametrize("name", ["table.md", "table.tex", "table.html"])
@pytest.mark.parametrize(
    ("mark", "instead"),
    [
        (r"(?:\+|−)(?=[\d.]+\}? \{?\[)", "±"),
        (r"\*\*|\\boldmath|<strong>", ""),
    ],
)
def test_a_mark_changed_by_hand_is_found(stand_in, keys, name, mark, instead):
    write(stand_in)
    path = stand_in.folder / name
    changed, count = re.subn(mark, instead, path.read_text(), count=1)
    path.write_text(changed)
    assert count == 1
    assert any(line.startswith(name) for line in check_table(stand_in.root, stand_in.study))


def test_a_check_without_a_table_is_refused_in_words(stand_in, keys):
    with pytest.raises(ConfigError, match="no table to check"):
        check_table(stand_in.root, stand_in.study)


def test_an_export_tabulates_like_its_store_and_holds_no_checkpoints(stand_in, keys, tmp_path):
    checkpoints = stand_in.run(keys["block", 1]) / "checkpoints"
    checkpoints.mkdir()
    (checkpoints / "last.pt").write_bytes(b"weights")
    (stand_in.run(keys["block", 1]) / "train.log").write_text("a line")
    table = write(stand_in)
    folder = export_study(stand_in.root, stand_in.study, tmp_path / "results" / "kept")
    assert check_table(folder, stand_in.study) == []
    assert write_table(folder, stand_in.study) == table
    names = {path.name for path in folder.rglob("*") if path.is_file() and path.suffix != ".png"}
    assert names == {
        *("config.json", "history.jsonl", "result.json", "status.json", "manifest.json"),
        *(f"table.{ending}" for ending in ("md", "tex", "csv", "html", "json")),
    }
    assert (folder / "table.md").read_text() == (stand_in.folder / "table.md").read_text()
    assert (folder / "figures" / "curves.png").stat().st_size > 1000


@pytest.mark.slow
def test_an_export_of_many_runs_holds_them_in_few_files(stand_in, keys, tmp_path, monkeypatch):
    monkeypatch.setattr(export, "MOST_FOLDERS", len(keys) - 1)
    stopped = keys["none", 2]
    (stand_in.run(stopped) / "result.json").unlink()
    stand_in.fail(stopped, failure="diverged")
    table = write(stand_in)
    folder = export_study(stand_in.root, stand_in.study, tmp_path / "kept")
    again = export_study(folder, stand_in.study, tmp_path / "again")
    for kept in (folder, again):
        assert [path.name for path in kept.glob("runs/*/")] == [stopped]
        assert check_table(kept, stand_in.study) == []
        assert write_table(kept, stand_in.study) == table
        assert "host" not in (kept / "runs" / "results.jsonl").read_text()
        assert [run.state().name for run in RunStore(kept).runs()].count("finished") == len(keys) - 1
        for key in keys.values():
            theirs, own = RunStore(kept).run(key).history(), RunStore(stand_in.root).run(key).history()
            assert [{**line, "run": key} for line in own] == [{**line, "run": key} for line in theirs]
            assert len(own) == len(theirs) > 1
        assert write_report(kept, stand_in.study).read_text().count('class="curve"') == len(keys)


def test_a_cut_line_of_an_export_is_unusable_for_plan_and_table_alike(stand_in, keys, tmp_path, monkeypatch):
    monkeypatch.setattr(export, "MOST_FOLDERS", 1)
    folder = export_study(stand_in.root, stand_in.study, tmp_path / "kept")
    path, store = folder / "runs" / "results.jsonl", RunStore(folder)
    first, *others = path.read_text().splitlines(keepends=True)
    path.write_text("".join([first[:-20] + "\n", *others]))
    states = [run.state() for run in store.runs()]
    assert sorted(state.name for state in states) == ["finished"] * 5 + ["unusable"]
    assert "its line of runs/results.jsonl is cut short" in max(state.error for state in states)
    assert sum(row.n for row in write_table(folder, stand_in.study).rows) == 5


def test_an_export_names_no_machine(stand_in, keys, tmp_path):
    folder = export_study(stand_in.root, stand_in.study, tmp_path / "kept")
    results = [json.loads(path.read_text()) for path in folder.glob("runs/*/result.json")]
    assert len(results) == 6
    assert all("host" not in result["provenance"] for result in results)


def test_an_export_keeps_the_tables_options(stand_in, keys, tmp_path):
    write(stand_in, {"table.costs": []})
    folder = export_study(stand_in.root, stand_in.study, tmp_path / "kept")
    assert (
        json.loads((folder / "studies" / stand_in.study / "table.json").read_text())["options"]["costs"] == []
    )


def test_a_second_export_replaces_the_first(stand_in, keys, tmp_path):
    folder = export_study(stand_in.root, stand_in.study, tmp_path / "kept")
    (folder / "runs" / "left over").mkdir()
    (folder / "README.md").write_text("what it means")
    (folder / "explain.png").write_bytes(b"a figure")
    export_study(stand_in.root, stand_in.study, folder)
    assert len(list((folder / "runs").iterdir())) == 6
    assert (folder / "README.md").read_text() == "what it means"
    assert (folder / "explain.png").read_bytes() == b"a figure"
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_second_export_keeps_what_was_put_beside_the_first(stand_in, keys, tmp_path):
    folder = export_study(stand_in.root, stand_in.study, tmp_path / "kept")
    (folder / "notes").mkdir()
    (folder / "notes" / "a.txt").write_text("mine")
    (folder / "round").symlink_to(".")
    export_study(stand_in.root, stand_in.study, folder)
    assert (folder / "notes" / "a.txt").read_text() == "mine"
    assert (folder / "round").is_symlink()


def test_an_export_overwrites_nothing_else(stand_in, keys, tmp_path):
    target = tmp_path / "mine"
    target.mkdir()
    (target / "thesis.tex").write_text("years of work")
    with pytest.raises(ConfigError, match="holds something else"):
        export_study(stand_in.root, stand_in.study, target)
    with pytest.raises(ConfigError, match=r"the store itself|something else"):
        export_study(stand_in.root, stand_in.study, stand_in.root)
    assert (target / "thesis.tex").read_text() == "years of work"


def test_a_table_that_cant_be_written_says_so(stand_in, keys, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("cbam_ablate.report.write.write_text", full)
    with pytest.raises(ConfigError, match="No space left"):
        write(stand_in)


def test_a_table_imports_none_of_what_is_slow_to_import(stand_in, keys):
    code = (
        "import sys; from cbam_ablate.cli import run; "
        f"code = run('table', ['study={stand_in.study}', 'store={stand_in.root}']); "
        "heavy = {'torch', 'hydra', 'pandas', 'matplotlib', 'scipy.stats', 'statsmodels'}; "
        "heavy &= set(sys.modules); "
        "sys.exit(code or (str(heavy) if heavy else 0))"
    )
    environment = {**os.environ, "COLUMNS": "200"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert "90.2" in done.stdout


@pytest.mark.parametrize(
    ("command", "words", "code", "said"),
    [
        ("table", ["study=nothing"], 1, "there are trial"),
        ("table", ["--chek"], 1, "--check and --help"),
        ("table", ["study=trial", "table.rows=[dept]"], 1, "not an axis"),
        ("report", ["study=nothing"], 1, "there are trial"),
        ("export", ["study=trial", "into=x"], 1, "did you mean"),
    ],
)
def test_a_bad_word_gets_one_clear_message(stand_in, keys, capsys, command, words, code, said):
    from cbam_ablate.cli import run

    assert run(command, [*words, f"store={stand_in.root}"]) == code
    assert said in capsys.readouterr().err


def test_check_on_the_command_line_fails_after_a_change(stand_in, keys, capsys):
    from cbam_ablate.cli import run

    words = [f"study={stand_in.study}", f"store={stand_in.root}"]
    assert run("table", words) == 0
    assert run("table", [*words, "--check"]) == 0
    stand_in.finish(keys["block", 1], 12.0)
    assert run("table", [*words, "table.check=true"]) == 1
    assert "has changed" in capsys.readouterr().err
