"""A run's curves: there after each epoch, of a run that diverged too, and never worth a run."""

import itertools
import math
import xml.etree.ElementTree as ElementTree

import pytest

from cbam_ablate import load_config
from cbam_ablate.config.canonical import run_key
from cbam_ablate.runs import RunStore
from cbam_ablate.runs.claim import acquire
from cbam_ablate.runs.curves import curves_svg, nice_ticks
from cbam_ablate.runs.writer import RunWriter

SVG = "{http://www.w3.org/2000/svg}"


def history(epochs):
    return [
        {"epoch": e, "train_loss": 2 / e, "val_loss": 2.2 / e, "train_top1": 90.0 - 80 / e, "val_top1": 50.0}
        for e in range(1, epochs + 1)
    ]


def lines(text):
    """The points of each curve."""
    found = ElementTree.fromstring(text).iter(f"{SVG}polyline")
    return [[tuple(map(float, point.split(","))) for point in line.get("points").split()] for line in found]


@pytest.fixture
def writer(tmp_path, tiny):
    cfg = load_config([*tiny, "logger=csv", f"store={tmp_path}"])
    run = RunStore(tmp_path).run(run_key(cfg))
    with RunWriter(run, acquire(run.path), cfg) as writer:
        yield writer


def test_curves_and_csv_have_every_epoch_as_soon_as_it_has_ended(writer):
    for epoch, record in enumerate(history(4), start=1):
        writer.epoch(record)
        assert [len(line) for line in lines((writer.run.path / "curves.svg").read_text())] == [epoch] * 4
        assert len((writer.run.path / "history.csv").read_text().splitlines()) == epoch + 1


def test_a_run_that_goes_on_draws_what_it_goes_on_from(writer):
    writer.rewrite_history(history(3))
    writer.epoch({**history(4)[3]})
    assert [len(line) for line in lines((writer.run.path / "curves.svg").read_text())] == [4] * 4


def test_curves_that_can_not_be_written_are_a_line_in_the_log_and_the_run_goes_on(writer):
    (writer.run.path / "curves.svg").mkdir()
    writer.epoch(history(1)[0])
    assert "its curves can't be written" in (writer.run.path / "train.log").read_text()
    assert writer.run.history() == history(1)


@pytest.mark.parametrize("epochs", [0, 1, 2, 30, 1000])
def test_curves_rise_and_fall_with_their_values_inside_the_picture(epochs):
    curves = lines(curves_svg(history(epochs), "a < b & c"))
    for curve in curves:
        assert all(0 <= x <= 380 and 0 <= y <= 270 for x, y in curve)
        assert [x for x, _ in curve] == sorted(x for x, _ in curve)
    if epochs > 1:
        loss, accuracy = curves[0], curves[2]
        assert loss[0][1] < loss[-1][1]
        assert accuracy[0][1] > accuracy[-1][1]


def test_values_that_are_missing_are_left_out():
    records = [*history(2), {"epoch": 3, "val_loss": None}]
    assert [len(line) for line in lines(curves_svg(records, ""))] == [2] * 4


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0.013, 0.0131), (-5, 3), (99.5, 99.5), (0, 0), (3, 1e9)])
def test_ticks_are_few_round_and_around_the_range(low, high):
    ticks = nice_ticks(low, high)
    steps = {round((b - a) / (ticks[1] - ticks[0]), 6) for a, b in itertools.pairwise(ticks)}
    assert 2 <= len(ticks) <= 9
    assert steps == {1}
    assert ticks[0] <= low + 1e-9 * abs(low)
    assert ticks[-1] >= high - 1e-9 * abs(high)
    first = (ticks[1] - ticks[0]) / 10 ** math.floor(math.log10(ticks[1] - ticks[0]) + 1e-9)
    assert round(first, 6) in (1, 2, 5, 10)
