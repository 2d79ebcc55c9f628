"""For scripts and notebooks: tables of DataFrames and of stored studies, and sweeps without a main guard."""

import contextlib
import io
import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

import cbam_ablate
from cbam_ablate import load_table, run_study, tabulate
from cbam_ablate.errors import ConfigError

NOTEBOOK = Path(cbam_ablate.__file__).parents[1] / "docs" / "tables.ipynb"
FRAME = pd.DataFrame(
    [
        (m, k, s, a + k / 10 + s / 7)
        for m, a in (("none", 90), ("cbam", 92))
        for k in (3, 7)
        for s in (0, 1, 2)
    ],
    columns=["method", "kernel", "seed", "acc"],
)


def test_rows_and_columns_lay_a_frame_out_and_every_rendering_has_it():
    table = tabulate(FRAME, ["method"], ["kernel"], metric="acc", seed="seed", baseline={"method": "none"})
    assert [axis.name for axis in table.model.column_axes] == ["kernel"]
    assert [found.row for found in table.comparisons] == ["cbam/3", "cbam/7"]
    assert [found.difference.value for found in table.comparisons] == pytest.approx([2, 2])
    assert table.to_frame().loc[("cbam", "3"), "acc"] == pytest.approx(92.3 + 1 / 7)
    for text in (table.to_latex(), table.to_markdown(), table._repr_html_(), str(table)):
        assert "cbam" in text
    assert "chosen by the runs' authors" in table.caption


def test_an_index_of_several_levels_counts_as_columns():
    long = FRAME.set_index(["method", "kernel", "seed"])
    assert tabulate(long, metric="acc").to_frame().equals(tabulate(FRAME, metric="acc").to_frame())


@pytest.mark.parametrize("across", ["seed", "kernel"])
def test_a_pivot_table_is_the_table_that_it_was_made_of(across):
    wide = FRAME.pivot_table(
        index=[name for name in ("method", "kernel", "seed") if name != across], columns=across, values="acc"
    )
    shown = tabulate(wide, metric="acc").to_frame()
    plain = tabulate(FRAME, metric="acc").to_frame()
    assert sorted(shown.index.names) == ["kernel", "method"]
    assert shown.reorder_levels(["method", "kernel"])["acc"].to_dict() == plain["acc"].to_dict()
    assert set(shown["n"]) == {3}


def test_a_stored_study_is_shown_and_nothing_is_written(stand_in):
    stand_in.build({"optimizer.lr": [0.1, 0.2], "seed": [0, 1]}, lambda axes: 90 + axes["optimizer.lr"])
    before = sorted(stand_in.root.rglob("*"))
    table = load_table(stand_in.root, stand_in.study, metrics=["val_top1"])
    assert [row.cell("val_top1").value for row in table.model.rows] == pytest.approx([90.4, 90.5])
    assert sorted(stand_in.root.rglob("*")) == before


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: tabulate(FRAME, metric="f1"), "metric=f1: no such column"),
        (lambda: tabulate(FRAME, rows=["width"]), "rows or columns=width: no such column"),
        (lambda: tabulate(FRAME, better="up"), "better=up: of which metric?"),
        (lambda: tabulate(FRAME[:0]), "holds no rows"),
        (lambda: tabulate(FRAME, metric="acc", colour="red"), "table.colour: no such option"),
        (lambda: tabulate([{"acc": 1}]), "list: needs a DataFrame of pandas"),
        (lambda: tabulate("runs.csv"), "str: needs a DataFrame of pandas"),
        (lambda: run_study("study=quick"), "a list of words"),
        (lambda: run_study([0, 1]), "a list of words"),
        (lambda: run_study(["depth=19x"]), "depth"),
    ],
)
def test_a_bad_call_says_what_is_wrong_before_anything_runs(call, text):
    with pytest.raises(ConfigError, match=text.replace("?", r"\?")):
        call()


def test_the_notebook_of_the_docs_prints_what_it_shows():
    names: dict = {}
    for cell in json.loads(NOTEBOOK.read_text())["cells"]:
        if cell["cell_type"] == "code":
            printed = io.StringIO()
            with contextlib.redirect_stdout(printed):
                exec("".join(cell["source"]), names)
            shown = [output["text"] for output in cell["outputs"] if output["output_type"] == "stream"]
            assert printed.getvalue() == "".join(text for lines in shown for text in lines)
    assert "93.66" in names["table"]._repr_html_()


@pytest.mark.slow
def test_a_sweep_runs_from_the_top_level_of_a_script(tmp_path, tiny):
    words = [*tiny, "seed=0,1", f"store={tmp_path / 'store'}"]
    script = tmp_path / "script.py"
    script.write_text(
        f"from cbam_ablate import run_study\ntable = run_study({words!r}, quiet=True)\n"
        "print([(row.n, row.expected) for row in table.model.rows])\n"
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, cwd=tmp_path)
    assert (done.stdout.strip(), done.stderr) == ("[(2, 2)]", "")


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["local", "fused"])
def test_the_command_line_called_at_the_top_level_of_a_script_trains_a_sweep_once(tmp_path, tiny, launcher):
    words = ["-m", *tiny, "seed=0,1", f"hydra/launcher={launcher}", f"store={tmp_path / 'store'}"]
    script = tmp_path / "script.py"
    script.write_text(f"from cbam_ablate.cli import run\nprint('code', run('train', {words!r}))\n")
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, cwd=tmp_path)
    assert [line for line in done.stdout.splitlines() if "code" in line] == ["code 0"]
    assert "Error" not in done.stderr
