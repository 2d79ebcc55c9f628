"""Loggers beside a run: what each is told, and that none can hurt it."""

import itertools
import os
import time

import pytest
from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from tensorboard.context import RequestContext
from tensorboard.plugins.base_plugin import TBContext
from tensorboard.plugins.hparams.backend_context import Context
from tensorboard.plugins.hparams.metadata import SESSION_START_INFO_TAG, parse_session_start_info_plugin_data

from cbam_ablate.config.canonical import run_key
from cbam_ablate.errors import ConfigError
from cbam_ablate.loggers import beside
from cbam_ablate.loggers.follow import follow
from cbam_ablate.runs import State
from cbam_ablate.runs.claim import LostClaimError
from cbam_ablate.runs.files import write_json

OWN = """
class Kept:
    def __init__(self, run, cfg):
        self.run, self.told = run, [f"seed {cfg.seed}"]

    def epoch(self, record):
        self.told.append(f"epoch {record['epoch']}")

    def end(self):
        return ", ".join([*self.told, self.run.status()["state"]])


class Broken(Kept):
    def epoch(self, record):
        raise KeyError("broken in its first epoch")


class Stuck(Kept):
    def epoch(self, record):
        import time
        time.sleep(1000)


class Slow(Kept):
    def end(self):
        import time
        time.sleep(2)
        return "slow ended"


class Noisy(Kept):
    def epoch(self, record):
        print("something a library says")
"""


@pytest.fixture
def own(store, tmp_path, monkeypatch):
    """Trains with loggers of the user's own, from a module in the working folder."""
    (tmp_path / "mine.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)

    def train(*names, **how):
        return store.train(store.config(*(f"logger.own.{name.lower()}=mine:{name}" for name in names)), **how)

    return train


def test_an_own_logger_is_told_every_epoch_and_the_end(store, own):
    own("Kept")
    assert store.lines == ["seed 0, epoch 1, epoch 2, epoch 3, finished"]


def test_a_logger_hears_nothing_of_epochs_that_resuming_takes_back(store):
    run = store.train(store.config(), epochs=3, ended="killed")
    write_json(run.path / "status.json", {"state": "running"})
    told, looks = [], itertools.count(1)

    class Told:
        def epoch(self, record):
            told.append(record["epoch"])

        def end(self):
            return None

    def over():
        look = next(looks)
        if look == 2:
            (run.path / "history.jsonl").write_text('{"epoch": 1}\n')
            write_json(run.path / "status.json", {"state": "running", "epochs": 3})
        if look == 3:
            (run.path / "history.jsonl").write_text('{"epoch": 1}\n{"epoch": 2}\n')
        return look == 4

    follow(Told(), run, over)
    assert told == [1, 2]


def test_a_logger_that_raises_hurts_neither_run_nor_others(store, own):
    run = own("Broken", "Kept", "Noisy")
    assert run.state() == State("finished")
    assert sorted(store.lines) == [
        "logger Broken: KeyError: 'broken in its first epoch'",
        "seed 0, epoch 1, epoch 2, epoch 3, finished",
        "seed 0, finished",
    ]


def test_a_logger_that_hangs_is_waited_for_a_bounded_time(store, own, monkeypatch):
    monkeypatch.setattr(beside, "PATIENCE", 1.5)
    began = time.monotonic()
    run = own("Stuck")
    assert run.state() == State("finished")
    assert store.lines == ["stuck: took more than 1.5 s after the run"]
    assert time.monotonic() - began < 60


@pytest.mark.slow
def test_a_logger_that_hangs_takes_no_time_of_the_others(store, own, monkeypatch):
    monkeypatch.setattr(beside, "PATIENCE", 15.0)
    own("Stuck", "Slow")
    assert sorted(store.lines) == ["slow ended", "stuck: took more than 15 s after the run"]


def test_the_loggers_of_a_run_that_was_taken_over_end_without_a_word(store, own):
    folder = store.root / "runs" / run_key(store.config("logger.own.kept=mine:Kept"))

    def take_over(epoch):
        (folder / "claims" / "2.json").write_text('{"host": "another", "pid": 7}')

    with pytest.raises(LostClaimError, match="taken over by another, process 7"):
        own("Kept", after=take_over)
    assert store.lines == []
    assert (folder / "history.jsonl").read_text().count("\n") == 1


def test_a_logger_that_does_not_exist_is_refused_before_anything_runs(own):
    with pytest.raises(ConfigError, match=r"logger\.own\.missing=mine:Missing: mine has no Missing"):
        own("Missing")


def test_a_log_that_can_not_be_written_does_not_undo_a_run(store, own):
    key = run_key(store.config("logger.own.kept=mine:Kept"))
    (store.root / "runs" / key / "train.log").mkdir(parents=True)
    assert own("Kept").state() == State("finished")


def read_back(store, run):
    events = EventAccumulator(str(store.root / "tensorboard" / run.key))
    events.Reload()
    return events


def test_tensorboard_holds_each_epoch_once_and_the_final_metrics(store):
    cfg = store.config("logger=tensorboard")
    store.train(cfg, epochs=2, ended="killed")
    run = store.train(cfg)
    events = read_back(store, run)
    assert [event.step for event in events.Scalars("val_top1")] == [1, 2, 3]
    wanted = [record["val_top1"] for record in run.history()]
    assert [event.value for event in events.Scalars("val_top1")] == pytest.approx(wanted)
    assert events.Scalars("test_top1")[0].value == pytest.approx(run.result()["metrics"]["test_top1"])
    steps = {tag: [event.step for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
    assert "images_per_second" in steps
    assert [tag for tag, each in steps.items() if len(set(each)) < len(each)] == []
    assert store.lines == []


def test_tensorboard_has_the_hyperparameters(store):
    run = store.train(store.config("logger=tensorboard", "placement=block"))
    content = read_back(store, run).SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    assert b"model.attention.reduction" in content
    assert b"block" in content


def hyperparameters(folder):
    """What TensorBoard's own plugin shows of a folder: columns, metrics, and each run's values."""
    runs = EventMultiplexer().AddRunsFromDirectory(str(folder))
    runs.Reload()
    provider = MultiplexerDataProvider(runs, str(folder))
    context = Context(TBContext(data_provider=provider))
    asked, there = RequestContext(), context.hparams_metadata(RequestContext(), "")
    experiment = context.experiment_from_metadata(asked, "", True, there, [])
    started = [tags[SESSION_START_INFO_TAG] for tags in there.values() if SESSION_START_INFO_TAG in tags]
    values = [dict(parse_session_start_info_plugin_data(content).hparams) for content in started]
    metrics = [metric.name.tag for metric in experiment.metric_infos]
    return [column.name for column in experiment.hparam_infos], metrics, values


@pytest.mark.slow
def test_tensorboard_has_a_column_for_every_option_of_a_study(store):
    _, runs = store.study("logger=tensorboard", "reduction=2,4", seeds="0")
    columns, metrics, values = hyperparameters(store.root / "tensorboard")
    assert len(values) == len(runs) + 1  # reduction=2 and 4 have one baseline, and share a place in `runs`
    assert {f"model.attention.{name}" for name in ("kind", "placement", "reduction", "kernel")} < set(columns)
    assert set(columns) == {name for run in values for name in run}
    assert "test_top1" in metrics


@pytest.mark.slow
def test_tensorboard_has_the_columns_of_each_study_whichever_came_first(store):
    store.train(store.config("logger=tensorboard", "placement=none"))
    store.study("logger=tensorboard", placements="none", seeds="0")
    before = hyperparameters(store.root / "tensorboard")[0]
    assert "model.attention.kernel" not in before
    store.study("logger=tensorboard", "optimizer=adamw", placements="none,block", seeds="0")
    after = hyperparameters(store.root / "tensorboard")[0]
    assert {"model.attention.kernel", "optimizer.beta2"} <= set(after)
    assert set(before) < set(after)


def test_without_tensorboard_the_run_is_whole_and_the_extra_is_named(store, tmp_path, monkeypatch):
    (tmp_path / "tensorboard.py").write_text("raise ModuleNotFoundError(\"No module named 'tensorboard'\")")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    run = store.train(store.config("logger=tensorboard"))
    assert run.state() == State("finished")
    (line,) = store.lines
    assert "pip install 'cbam_ablate[tensorboard]'" in line


@pytest.mark.slow
def test_several_loggers_at_once(store, wandb_server):
    run = store.train(store.config("logger=[wandb,tensorboard]"))
    assert len(wandb_server.rows(run.key)) == len(read_back(store, run).Scalars("val_top1")) == 3


def test_a_package_that_is_not_there_is_told_by_name(store, tmp_path, monkeypatch, capsys):
    (tmp_path / "without" / "wandb").mkdir(parents=True)
    raises = "raise ModuleNotFoundError('No module named wandb', name='wandb')\n"
    (tmp_path / "without" / "wandb" / "__init__.py").write_text(raises)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "without"))
    run = store.train(store.config("logger=wandb"))
    assert "the package wandb isn't installed: pip install wandb" in (run.path / "train.log").read_text()
