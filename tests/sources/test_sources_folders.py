"""Folders that others' programs left: real ones, written here or by the scripts in real/."""

import json
import os
import re
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from cbam_ablate.errors import ConfigError, UserError
from cbam_ablate.report.page import write_report
from cbam_ablate.runs import RunStore

REAL = Path(__file__).parent / "real"
APP = """
import json, hydra
from hydra.core.hydra_config import HydraConfig
from pathlib import Path

@hydra.main(version_base="1.3", config_path=".", config_name="config")
def main(cfg):
    out = Path(HydraConfig.get().runtime.output_dir)
    if cfg.seed == 9:
        raise RuntimeError("boom")
    acc = cfg.opt.lr + cfg.seed / 100 + (cfg.model.name == "wide")
    (out / "metrics.json").write_text(json.dumps({"test": {"acc": acc}, "classes": [1, 2]}))
    (out / "metrics.yaml").write_text(f"test:\\n  acc: {acc}\\n")
    rows = "".join(f"{epoch},{acc - abs(epoch - 1) / 10}\\n" for epoch in range(3))
    (out / "curve.csv").write_text("epoch,val_acc\\n" + rows)

main()
"""
CONFIG = """
defaults: [{model: narrow}, _self_]
seed: 0
opt: {lr: 0.1, twice: "${eval:2}", home: "${oc.env:NOT_SET_ANYWHERE}"}
"""


@pytest.fixture(scope="session")
def hydra_runs(tmp_path_factory):
    """Two multiruns of a real Hydra program: over a group, an option and seeds, one of which fails."""
    folder = tmp_path_factory.mktemp("hydra")
    (folder / "app.py").write_text(APP)
    (folder / "config.yaml").write_text(CONFIG)
    (folder / "model").mkdir()
    for name in ("narrow", "wide"):
        (folder / "model" / f"{name}.yaml").write_text(f"name: {name}\n")
    for words in (["model=narrow,wide", "seed=0,1"], ["model=wide", "opt.lr=0.01", "seed=0,9"]):
        where = f"hydra.sweep.dir=multirun/{len(words)}"
        subprocess.run([sys.executable, "app.py", "-m", where, *words], cwd=folder, capture_output=True)
    return folder / "multirun"


@pytest.mark.parametrize("file", ["", "metrics.json", "metrics.yaml", "*.yaml"])
def test_hydra_jobs_have_what_they_overrode_as_axes_whatever_form_their_metrics_have(hydra_runs, found, file):
    study = found(hydra_runs, file=file)
    assert study.axes == ["model", "opt.lr", "seed"]
    assert study.values == {
        ("narrow", 0.1, 0): pytest.approx(0.1),
        ("narrow", 0.1, 1): pytest.approx(0.11),
        ("wide", 0.1, 0): pytest.approx(1.1),
        ("wide", 0.1, 1): pytest.approx(1.11),
        ("wide", 0.01, 0): pytest.approx(1.01),
        ("wide", 0.01, 9): None,
    }
    assert "1 run of 6 has no result (3/1: no " in study.notes


def test_a_csv_of_a_hydra_job_has_steps(hydra_runs, found):
    best = found(hydra_runs, file="curve.csv", step="max:val_acc")
    last = found(hydra_runs, file="curve.csv")
    at = ("narrow", 0.1, 0)
    assert (best.values[at], last.values[at]) == (pytest.approx(0.1), pytest.approx(0.0))


def test_a_wish_that_hydra_folders_do_not_fit_is_one_clear_line(hydra_runs, found):
    cases = {"scores.txt": "no scores.txt", "*": "of them (", "../*": "a pattern for a file in each job"}
    for file, said in cases.items():
        with pytest.raises(UserError) as error:
            found(hydra_runs, file=file)
        assert said in str(error.value)
        assert len(str(error.value).splitlines()) == 1


def test_lightning_logs_are_runs_with_hparams_and_steps(found):
    last = found(REAL / "lightning")
    assert (last.axes, last.metric) == (["lr", "seed"], "test_acc")
    assert last.values[0.001, 1] == pytest.approx(0.511)
    assert last.runs[0].config["root"] == "data/cifar"
    best = found(REAL / "lightning", metrics=("val_acc",), step="max:val_acc")
    assert best.values[0.1, 0] == pytest.approx(0.9)
    assert best.runs[0].values["test_acc"] == pytest.approx(0.6)
    assert found(REAL / "lightning", metrics=("val_acc",), step="9").values[0.1, 0] == pytest.approx(0.7)


def test_histories_of_imported_runs_are_kept(imported):
    root = imported(REAL / "lightning").root
    (history, *_) = [run.history() for run in RunStore(root).runs()]
    assert [row["epoch"] for row in history] == [9, 19, 29, 30]


def test_the_report_of_imported_runs_has_curves_of_their_metric_by_their_steps(imported):
    root = imported(REAL / "lightning", "metric=val_acc").root
    text = write_report(root, "study").read_text()
    assert ">val_acc</th>" in text
    assert re.search(r'aria-label="val_acc from [\d.]+ to [\d.]+ over 3 steps"', text)
    drawing = text.partition('id="figure-curves"')[2].partition("</figure>")[0]
    assert "val_acc by step" in drawing
    shown = [int(found) for found in re.findall(r">(\d+)<", drawing)]
    assert max(shown) >= 25


@pytest.mark.parametrize(
    ("step", "said"),
    [
        ("max:test_acc", "test data chooses nothing"),
        ("max:f1", "logged no f1"),
        ("99", "didn't reach step 99"),
    ],
)
@pytest.mark.parametrize("metrics", [(), ("val_acc",)])
def test_a_step_that_can_not_be_taken_is_said(found, step, said, metrics):
    with pytest.raises(UserError, match=said):
        found(REAL / "lightning", step=step, metrics=metrics)


@pytest.mark.parametrize(
    ("kind", "said"),
    [("hydra", "holds no Hydra jobs"), ("wandb", "lightning: holds no runs as wandb")],
)
def test_a_folder_of_another_kind_than_was_said_is_one_clear_line(found, kind, said):
    with pytest.raises(ConfigError, match=said):
        found(REAL / "lightning", kind=kind)


@pytest.fixture
def writer():
    return pytest.importorskip("torch.utils.tensorboard").SummaryWriter


def test_event_files_with_hparams_in_or_below_their_folder_are_runs(tmp_path, writer, found):
    for number in range(4):
        with writer(tmp_path / f"run{number}") as log:
            for step in range(3):
                log.add_scalar("val/acc", 0.5 + number / 100 + step / 10, step)
            options = {"lr": (0.1, 0.2)[number // 2], "seed": number % 2}
            log.add_hparams(options, {"hparam/acc": 0.9}, run_name="." if number % 2 else None)
            log.add_scalars("parts", {"a": 1.0, "b": 2.0}, 0)
    study = found(tmp_path, metrics=("val/acc",))
    assert study.values == {
        (0.1, 0): pytest.approx(0.7), (0.1, 1): pytest.approx(0.71),
        (0.2, 0): pytest.approx(0.72), (0.2, 1): pytest.approx(0.73),
    }  # fmt: skip
    assert study.runs[0].values["parts/a"] == 1.0


def test_what_a_resumed_run_logs_again_replaces_what_it_had_logged(tmp_path, writer, found):
    def log(steps, value, **options):
        with writer(tmp_path / "lr=0.1,seed=0", filename_suffix=f".{value}", **options) as events:
            for step in steps:
                events.add_scalar("val/acc", value, step)

    log(range(5), 0.1)
    log(range(3, 6), 0.2)
    log(range(1, 2), 0.3, purge_step=1)
    study = found(tmp_path)
    assert study.runs[0].history == [
        {"epoch": 0, "val/acc": pytest.approx(0.1)},
        {"epoch": 1, "val/acc": pytest.approx(0.3)},
    ]
    assert "7 values in 1 folder (lr=0.1,seed=0) were logged again" in study.notes


def test_an_event_file_that_was_cut_short_is_said_and_read_up_to_there(tmp_path, writer, found):
    for seed in (0, 1):
        with writer(tmp_path / f"seed{seed}") as log:
            for step in range(5):
                log.add_scalar("acc", step / 10, step)
    (path,) = (tmp_path / "seed1").iterdir()
    path.write_bytes(path.read_bytes()[:-20])
    study = found(tmp_path)
    assert "1 event file is cut short or damaged (seed1/" in study.notes
    assert list(study.values.values()) == [pytest.approx(0.4), pytest.approx(0.3)]
    assert "acc: the last values are of steps 3 to 4; step= takes one of all." in study.notes
    assert "last values" not in found(tmp_path, step="3").notes


@pytest.fixture
def mlflow_base(tmp_path):
    base = sqlite3.connect(tmp_path / "mlflow.db")
    base.executescript((REAL / "mlflow.sql").read_text())
    base.close()
    return tmp_path / "mlflow.db"


def test_an_mlflow_database_is_read_as_it_is(mlflow_base, found):
    before = mlflow_base.read_bytes()
    study = found(mlflow_base)
    assert (study.axes, study.metric) == (["kernel", "seed"], "test_acc")
    assert study.values == {
        (3, 0): pytest.approx(0.853), (3, 1): pytest.approx(0.855), (7, 0): pytest.approx(0.857),
        (7, 1): pytest.approx(0.859), (7, 2): pytest.approx(float("nan"), nan_ok=True),
    }  # fmt: skip
    for said in ("1 parent run (sweep)", "1 run is deleted in MLflow", "test_acc is NaN in 1 run (diverged)"):
        assert said in study.notes
    best = found(f"sqlite:///{mlflow_base}", metrics=("val_acc",), step="max:val_acc")
    assert best.values[3, 0] == pytest.approx(0.853)
    assert mlflow_base.read_bytes() == before


def test_an_mlflow_experiment_that_is_not_there_is_one_clear_line(mlflow_base, found):
    with pytest.raises(ConfigError, match="experiment=x: not there; there are Default, gates"):
        found(mlflow_base, experiment="x")


def test_an_address_without_mlflows_client_says_what_to_install(found, monkeypatch):
    monkeypatch.setitem(sys.modules, "mlflow.exceptions", None)
    with pytest.raises(ConfigError, match=r"pip install 'cbam_ablate\[mlflow\]'"):
        found("http://127.0.0.1:9/")


WANDB = """
import sys, wandb
settings = wandb.Settings(x_disable_stats=True, console="off", silent=True, x_disable_meta=True)
for lr, seed, ends in ((0.1, 0, True), (0.1, 1, True), (0.2, 0, True), (0.2, 1, False)):
    run = wandb.init(mode="offline", project="p", dir=sys.argv[1], config={"lr": lr, "seed": seed},
                     id=f"r{lr}{seed}", settings=settings)
    for step in range(3):
        run.log({"acc": lr + seed / 100 + step, "inner": {"loss": float("nan") if step == 2 else 1.0}})
    run.summary["note"] = "text"
    run.finish(exit_code=0 if ends else 1)
run = wandb.init(mode="offline", project="p", dir=sys.argv[1], id="r0.10", resume="allow", settings=settings)
run.log({"acc": 9.0}, step=1)
run.finish()
"""


@pytest.mark.slow
def test_offline_wandb_runs_are_read_by_wandbs_own_program(tmp_path, found):
    done = subprocess.run(
        [sys.executable, "-c", WANDB, str(tmp_path)], env={**os.environ, "WANDB_ERROR_REPORTING": "false"}
    )
    assert done.returncode == 0
    study = found(tmp_path / "wandb")
    assert study.axes == ["lr", "seed"]
    assert study.values[0.1, 0] == 9.0
    assert study.values[0.1, 1] == pytest.approx(2.11)
    for said in (
        "r0.10: 2 values logged again",
        "1 run of 4 has no result (r0.21: exit code 1)",
        "inner.loss is NaN in 4 runs",
    ):
        assert said in study.notes
    assert found(tmp_path / "wandb", metrics=("acc",), step="1").values[0.1, 1] == pytest.approx(1.11)


def test_a_folder_of_several_kinds_wants_to_be_told_which(tmp_path, found):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "metrics.csv").write_text("step,acc\n1,0.5\n")
    (tmp_path / "a" / "hparams.yaml").write_text("seed: 0\n")
    (tmp_path / "a" / "run.wandb").write_text("")
    with pytest.raises(ConfigError, match="holds runs of lightning and wandb; format= says which"):
        found(tmp_path)
    assert json.dumps(found(tmp_path, kind="lightning").runs[0].config) == '{"seed": 0}'
