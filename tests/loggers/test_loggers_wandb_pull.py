"""Between the store and W&B: what is pushed can be pulled, and anybody's runs make tables."""

import itertools
import json
import shlex
import sys
import time

import pytest

from cbam_ablate.aggregate import build_table, load_study
from cbam_ablate.cli import run
from cbam_ablate.cli import wandb as command
from cbam_ablate.config.schema import WandbConfig
from cbam_ablate.errors import ConfigError, UserError
from cbam_ablate.loggers import wandb_pull
from cbam_ablate.loggers.wandb_report import group_keys, make_report
from cbam_ablate.loggers.wandb_run import tag_of
from cbam_ablate.report import write_table
from cbam_ablate.runs import RunStore
from cbam_ablate.runs.naming import config_of
from cbam_ablate.sweep.manifest import read


@pytest.fixture
def wandb(store, cli):
    """`cbam-ablate wandb ...` in a process of its own, on the store and the stand-in server."""
    cli.store = store.root

    def run(*words):
        return cli("wandb", *words)

    return run


def numbers(table):
    return {
        tuple(row.axes.values()): {name: (cell.value, cell.n, cell.sd) for name, cell in row.cells.items()}
        for row in table.rows
    }


def sent_table(run, name):
    (body,) = [body for path, body in run["files"].items() if path.startswith(f"media/table/{name}")]
    return json.loads(body)


@pytest.mark.slow
def test_what_is_pushed_and_pulled_gives_the_same_table(store, wandb, wandb_server):
    study, runs = store.study()
    assert wandb_server.runs == {}
    pushed = wandb("push", f"study={study}")
    assert pushed.returncode == 0, pushed.stderr
    assert {run.key for run in runs.values()} == set(wandb_server.runs) - {f"study-{study}"}
    pulled = wandb("pull", "me/cbam-ablate", f"study={study}")
    assert pulled.returncode == 0, pulled.stderr
    there = store.root / "pulled" / "me" / "cbam-ablate"
    assert numbers(build_table(load_study(there, study))) == numbers(
        build_table(load_study(store.root, study))
    )
    run = runs["block", 1]
    assert RunStore(there).run(run.key).history()[0]["val_top1"] == run.history()[0]["val_top1"]


@pytest.mark.slow
def test_the_table_and_plots_of_a_study_are_sent(store, wandb, wandb_server):
    study, runs = store.study(seeds="0")
    wandb("push", f"study={study}")
    sent = wandb_server.runs[f"study-{study}"]
    table = sent_table(sent, "table")
    column = table["columns"].index("test_top1")
    assert {row[0]: row[column] for row in table["data"]} == {
        placement: run.result()["metrics"]["test_top1"] for (placement, _), run in runs.items()
    }
    assert {name for name in sent["summary"] if name.startswith("plots/")} == {
        "plots/test_top1_table",
        "plots/val_top1_table",
    }


@pytest.mark.slow
def test_the_curves_of_a_study_are_of_the_runs_that_finished(store, wandb, wandb_server):
    study, runs = store.study(placements="block")
    (runs["block", 1].path / "result.json").unlink()
    wandb("push", f"study={study}")
    curve = sent_table(wandb_server.runs[f"study-{study}"], "plots/val_top1_table")
    values = [record["val_top1"] for record in runs["block", 0].history()]
    place = {name: curve["columns"].index(name) for name in ("step", "lineVal")}
    assert [(row[place["step"]], row[place["lineVal"]]) for row in curve["data"]] == [
        (epoch, value) for epoch, value in enumerate(values, 1)
    ]


@pytest.mark.slow
def test_pushing_again_doubles_nothing(store, wandb, wandb_server):
    run = store.train(store.config())
    first, second = wandb("push", f"run={run.key}"), wandb("push", f"run={run.key[:6]}")
    assert (first.returncode, second.returncode) == (0, 0), second.stderr
    assert [row["epoch"] for row in wandb_server.rows(run.key)] == [1, 2, 3]
    assert list(wandb_server.runs) == [run.key]


@pytest.mark.slow
def test_a_push_that_fails_says_what_was_not_sent(store, wandb, wandb_server):
    run = store.train(store.config())
    wandb_server.fail = {"stream": 403}
    pushed = wandb("push", f"run={run.key}")
    assert pushed.returncode == 1
    assert f"1 of 1 were not sent\n  {run.key}: " in pushed.stderr
    assert "Traceback" not in pushed.stderr


@pytest.mark.slow
def test_a_run_whose_id_was_deleted_is_told_at_once_with_what_helps(store, wandb, wandb_server):
    run = store.train(store.config())
    wandb_server.fail = {"UpsertBucket": 409}
    wandb_server.message = f"run me/p/{run.key} was previously created and deleted; try a new run name"
    began = time.monotonic()
    pushed = wandb("push", f"run={run.key}")
    assert time.monotonic() - began < 20  # of which W&B's client would try for 30
    assert pushed.returncode == 1
    assert f"W&B has deleted {run.key} in the project cbam-ablate" in pushed.stderr
    assert "undelete" in pushed.stderr
    assert "logger.wandb.project=" in pushed.stderr
    assert "same command" not in pushed.stderr


@pytest.mark.slow
def test_a_study_whose_name_is_too_long_for_a_tag_is_pushed_and_pulled(store, wandb, wandb_server):
    name = 70 * "a" + "-0123abcd"
    store.study(f"name={name}", seeds="0")
    assert wandb("push", f"study={name}").returncode == 0
    tags = {tag for run in wandb_server.runs.values() for tag in run["tags"]}
    assert max(map(len, tags)) <= 64
    assert 55 * "a" + "-0123abcd" in tags
    pulled = wandb("pull", "me/cbam-ablate", f"study={name}")
    assert pulled.returncode == 0, pulled.stderr
    there = store.root / "pulled" / "me" / "cbam-ablate"
    assert numbers(build_table(load_study(there, name))) == numbers(build_table(load_study(store.root, name)))


def test_long_names_have_tags_of_their_own():
    names = [80 * "a", 81 * "a", f"{70 * 'a'}-0123abcd", f"{70 * 'a'}-0123abce", 64 * "a"]
    tags = [tag_of(name) for name in names]
    assert len(set(tags)) == len(names)
    assert [len(tag) for tag in tags] == 5 * [64]
    assert tags[-1] == names[-1]
    assert [tag_of(tag) for tag in tags] == tags


@pytest.mark.slow
def test_a_result_of_another_format_is_told_like_a_failure(store, wandb, wandb_server):
    run = store.train(store.config())
    (run.path / "result.json").write_text("{}")
    pushed = wandb("push", f"run={run.key}")
    assert pushed.returncode == 1
    assert f"1 of 1 were not sent\n  {run.key}: result.json has format None" in pushed.stderr


def put(server, name, config, rows, state="finished"):
    run = server.run(name)
    run |= {"config": config, "state": state, "history": dict(enumerate(map(json.dumps, rows)))}
    run["summary"] = {key: value for key, value in rows[-1].items() if key != "_step"} | {"_runtime": 3}


@pytest.mark.slow
def test_anybodys_runs_make_a_table(store, wandb, wandb_server):
    for width in (1, 2):
        for trial in (7, 8, 9):
            row = {"_step": 10, "acc": 0.5 * width + trial / 100}
            config = {"net": {"width": width}, "rng": trial, "lr": 0.1, "clip": float("inf")}
            put(wandb_server, f"r{width}{trial}", config, [row])
    put(
        wandb_server,
        "died",
        {"net": {"width": 2}, "rng": 10, "lr": 0.1, "clip": float("inf")},
        [{"_step": 0, "acc": 0.1}],
        "crashed",
    )
    pulled = wandb("pull", "they/theirs", "seed=rng")
    assert pulled.returncode == 0, pulled.stderr
    table = write_table(store.root / "pulled" / "they" / "theirs", "theirs", {"metrics": ["acc"]})
    found = {row.axes["net.width"]: (row.cell("acc").value, row.n, row.missing) for row in table.rows}
    assert found == {1: (pytest.approx(0.58), 3, {}), 2: (pytest.approx(1.08), 3, {"killed": 1})}


@pytest.mark.slow
def test_a_metric_called_by_spaces_and_signs_has_a_table_by_the_printed_command(
    store, wandb, wandb_server, cli
):
    metric = "val acc (%) = [top-1], 'best'"
    for width, seed in itertools.product((1, 2), (0, 1)):
        row = {"_step": 0, metric: width + seed / 10}
        put(wandb_server, f"r{width}{seed}", {"width": width, "seed": seed}, [row])
    pulled = wandb("pull", "they/theirs")
    printed = shlex.split(pulled.stdout.partition("Its table: ")[2])
    assert run(printed[1], printed[2:]) == 0
    table = json.loads((store.root / "pulled/they/theirs/studies/theirs/table.json").read_text())
    assert [row["cells"][metric]["value"] for row in table["rows"]] == pytest.approx([1.05, 2.05])


@pytest.mark.slow
@pytest.mark.parametrize("word", [[], ["seed=id"]])
def test_runs_without_a_seed_are_repeats(word, store, wandb, wandb_server):
    for width in (1, 2):
        for trial in range(3):
            put(wandb_server, f"r{width}{trial}", {"width": width}, [{"_step": 0, "acc": width + trial / 10}])
    pulled = wandb("pull", "they/theirs", *word)
    assert pulled.returncode == 0, pulled.stderr
    assert "empty" not in pulled.stdout
    table = build_table(load_study(store.root / "pulled" / "they" / "theirs", "theirs"))
    cells = [row.cell("acc") for row in table.rows]
    assert [(cell.value, cell.n) for cell in cells] == [(pytest.approx(1.1), 3), (pytest.approx(2.1), 3)]
    assert cells[0].sd == pytest.approx(0.1)
    assert [axis.name for axis in table.axes] == ["width"]


@pytest.mark.slow
def test_tables_and_images_of_w_and_bs_are_no_metrics(store, wandb, wandb_server):
    drawn = {"_type": "table-file", "nrows": 10, "ncols": 2, "size": 1234, "path": "media/x.json"}
    for seed in (0, 1):
        shown = {"deep": drawn, "f1": 0.5, "all": {"t": drawn}}
        row = {"_step": 0, "acc": seed / 10, "eval/table": drawn, "shown": shown}
        put(wandb_server, f"r{seed}", {"seed": seed}, [row])
    assert "measured: acc, shown.f1" in wandb("pull", "they/theirs").stdout.replace("\n", " ")
    histories = [path.read_text() for path in store.root.rglob("history.jsonl")]
    assert len(histories) == 2
    assert not any("_type" in text or "nrows" in text for text in histories)


@pytest.mark.slow
def test_a_null_of_ours_is_a_value_when_pulled(store, wandb, wandb_server):
    study, _ = store.study("optimizer.clip_norm=null,0.5", placements="none", seeds="0")
    assert wandb("push", f"study={study}").returncode == 0
    assert wandb("pull", "me/cbam-ablate", f"study={study}").returncode == 0
    there = store.root / "pulled" / "me" / "cbam-ablate"
    pulled = build_table(load_study(there, study))
    assert read(RunStore(there).study(study) / "manifest.json")["constants"]["store"] == str(there)
    assert numbers(pulled).keys() == {("null",), (0.5,)}


@pytest.mark.slow
def test_history_is_read_whole_and_in_pages(store, wandb, wandb_server):
    rows = [{"_step": step, "loss": 1 / (1 + step)} for step in range(2300)]
    for number in range(wandb_pull.PAGE + 5):
        put(wandb_server, f"r{number}", {"seed": number}, rows if number == 3 else rows[:1])
    pulled = wandb("pull", "they/theirs")
    assert f"{wandb_pull.PAGE + 5} runs" in pulled.stdout
    assert wandb_server.operations.count("Runs") == 2
    lines = sorted(len(path.read_text().splitlines()) for path in store.root.rglob("history.jsonl"))
    assert lines == [1] * (wandb_pull.PAGE + 4) + [2300]


@pytest.mark.slow
@pytest.mark.parametrize(("operation", "status"), [("Runs", 429), ("HistoryPage", 500)])
def test_a_rate_limit_is_waited_out(operation, status, wandb, wandb_server):
    put(wandb_server, "r", {"seed": 0}, [{"_step": 0, "acc": 0.5}])
    wandb_server.fail, wandb_server.fails = {operation: status}, 2
    pulled = wandb("pull", "they/theirs")
    assert pulled.returncode == 0, pulled.stderr
    assert "1 run, 1 finished, 1 row of" in pulled.stdout


@pytest.mark.slow
@pytest.mark.parametrize(("project", "fail"), [("absent", {}), ("theirs", {"Runs": 403})])
def test_a_project_that_can_not_be_read_is_one_message(project, fail, wandb, wandb_server):
    wandb_server.fail = fail
    pulled = wandb("pull", f"they/{project}")
    assert pulled.returncode == 1
    assert pulled.stderr.startswith(f"cbam-ablate: wandb pull they/{project}: ")
    assert "Traceback" not in pulled.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "not one of push, pull, report"),
        (["pull", "project"], "ENTITY/PROJECT"),
        (["push", "study=none_such"], "no such study"),
        (["push", "run=abc"], "abc"),
        (["push", "logger.wandb.api_key=x"], "this command takes"),
    ],
)
def test_bad_words_are_told_what_there_is(words, said, store, tmp_path):
    with pytest.raises(UserError, match=said):
        command.main([*words, *([f"store={tmp_path}"] if words else [])])


def test_groups_are_every_axis_but_the_seed_by_the_names_that_runs_have(store):
    cfg = store.config("placement=block")

    keys = group_keys(["model.attention.placement", "model.attention.reduction", "optimizer.lr", "seed"])
    assert keys == ["config.placement", "config.reduction", "config.optimizer.lr"]
    assert {"placement", "reduction", "optimizer.lr"} <= set(config_of(cfg))


def test_a_report_without_its_package_says_what_to_install(store, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb_workspaces", None)
    with pytest.raises(ConfigError, match=r"pip install 'cbam_ablate\[wandb-report\]'"):
        make_report(store.root, "gates", WandbConfig())


@pytest.mark.slow
def test_a_report_shows_the_table_and_grouped_curves(store, wandb, wandb_server):
    study, _ = store.study(seeds="0")
    made = wandb("report", f"study={study}")
    assert made.returncode == 0, made.stderr
    assert f"/me/cbam-ablate/reports/Study-{study}" in made.stdout
    (view,) = wandb_server.views
    (grid,) = [block for block in json.loads(view["spec"])["blocks"] if block["type"] == "panel-grid"]
    (runs,) = grid["metadata"]["runSets"]
    assert [key["name"] for key in runs["grouping"]] == ["placement.value"]
    charts = [panel["config"] for panel in grid["metadata"]["panelBankSectionConfig"]["panels"]]
    assert {"val_top1", "test_top1"} <= {chart["metrics"][0] for chart in charts}
    assert {chart["groupAgg"] for chart in charts} == {"mean"}
