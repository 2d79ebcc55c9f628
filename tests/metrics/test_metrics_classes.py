"""Tables and figures by class."""

import csv
import io
import re

import numpy as np
import pytest
import sklearn.metrics as sk
from matplotlib.figure import Figure

from cbam_ablate.aggregate import build_table, load_study
from cbam_ablate.errors import ConfigError
from cbam_ablate.metrics.predictions import unpack
from cbam_ablate.report.classes import class_plots, seen_rows, surest_mistakes
from cbam_ablate.report.page import write_report


def table_of(study, **options):
    return build_table(load_study(study.root, study.study), {"by": "class", **options})


def test_a_table_by_class_has_the_accuracy_of_each_class_and_differences_within_it(study):
    table = table_of(study)
    assert len(table.rows) == 30
    assert [axis.label for axis in table.axes] == ["placement", "class"]
    rows = {(row.axes["model.attention.placement"], row.axes["data.class"]): row for row in table.rows}
    keys = [key for (placement, _), key in study.keys.items() if placement == "block"]
    samples = [unpack((study.run(key) / "predictions.npz").read_bytes(), key).sample("test") for key in keys]
    recalls = np.mean([sk.recall_score(one.labels, one.predicted, average=None) for one in samples], axis=0)
    cell = rows["block", "cat"].cell("test_accuracy")
    assert cell.value == pytest.approx(100 * recalls[3], abs=1e-9)
    assert (cell.n, cell.run_keys) == (5, keys)
    base = rows["none", "cat"].cell("test_accuracy").value
    assert cell.difference.value == pytest.approx(cell.value - base, abs=1e-9)
    tested = [row.cell("test_accuracy").difference for row in table.rows if not row.baseline]
    assert len(tested) == 20
    smallest = min(tested, key=lambda one: one.p)
    assert smallest.p_holm == pytest.approx(min(1, 20 * smallest.p))
    assert table.effects == []


def test_a_table_by_class_refuses_what_a_class_has_not(study):
    with pytest.raises(ConfigError, match=r"table.metrics=test_auroc: by class there are"):
        table_of(study, metrics=["test_auroc"])
    with pytest.raises(ConfigError, match=r"table.interval=both: by class intervals are over seeds"):
        table_of(study, interval="both")
    for key in study.keys.values():
        (study.run(key) / "predictions.npz").unlink()
    with pytest.raises(ConfigError, match=r"no run has predictions to go by \(no predictions were kept\)"):
        table_of(study)


@pytest.mark.slow
def test_the_report_draws_what_was_predicted_and_writes_it_as_csv(study):
    images = np.random.default_rng(0).integers(0, 256, (2000, 32, 32, 3), dtype=np.uint8)
    page = write_report(study.root, study.study, images=lambda: images.__getitem__).read_text()
    for name in ("reliability", "confusion_1", "confusion_3", "mistakes"):
        assert (study.folder / "figures" / f"{name}.png").exists()
    assert 'id="Classes"' in page
    lines = list(csv.DictReader(io.StringIO((study.folder / "confusion.csv").read_text())))
    assert len(lines) == 3 * 100
    of_row = [float(line["percent"]) for line in lines if line["row"] == "block" and line["true"] == "cat"]
    assert sum(of_row) == pytest.approx(100, abs=1e-3)
    write_report(study.root, study.study, None)
    assert not (study.folder / "figures" / "mistakes.png").exists()


@pytest.mark.slow
def test_the_reports_table_by_class_is_written_as_the_studys_table_is(study):
    values = {"labels": {"block": "In blocks"}, "decimal": "comma"}
    page = write_report(study.root, study.study, values).read_text()
    table = page.partition('id="Classes"')[2].partition("</table>")[0]
    assert "In blocks" in table
    assert re.search(r"\d,\d ± \d", table)
    assert not re.search(r"\d\.\d ± \d", table)


def test_the_lines_of_a_reliability_diagram_are_told_apart_without_colour(study):
    loaded = load_study(study.root, study.study)
    drawn = class_plots(seen_rows(build_table(loaded), loaded), loaded, lambda: None)
    axes = Figure().add_subplot()
    next(one for one in drawn if one.name == "reliability").draw(axes)
    rows = axes.lines[1:]
    assert len({(str(line.get_linestyle()), line.get_marker()) for line in rows}) == len(rows) == 3


def test_the_surest_mistakes_are_those_of_the_mean_probability():
    from cbam_ablate.metrics import Sample
    from cbam_ablate.report.classes import Seen

    first = Sample.of_probabilities([0, 1, 2], [[0.1, 0.9, 0], [0.6, 0.4, 0], [0, 0.2, 0.8]])
    second = Sample.of_probabilities([0, 1, 2], [[0.3, 0.7, 0], [0.9, 0.1, 0], [0, 0.7, 0.3]])
    row = Seen("row", [first, second], [np.array([7, 8, 9])] * 2, ["same", "same"])
    found = surest_mistakes(row)
    assert [mistake[:3] for mistake in found] == [(7, 0, 1), (8, 1, 0)]
    assert [mistake[3] for mistake in found] == pytest.approx([0.8, 0.75])
