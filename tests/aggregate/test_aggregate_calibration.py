"""Simulated studies: intervals cover, no winner is declared without cause, advised seeds suffice."""

import itertools

import numpy as np
import pytest

from cbam_ablate.aggregate import Record, Study, build_table, statistics
from cbam_ablate.aggregate.records import Point

pytestmark = pytest.mark.slow
PLACEMENT, REDUCTION = "model.attention.placement", "model.attention.reduction"


@pytest.mark.parametrize("n", [3, 5, 10])
def test_intervals_cover_95_percent(n):
    draws = np.random.default_rng(n).normal(93, 0.3, (40_000, n))
    intervals = [statistics.summarise(values).interval for values in draws.tolist()]
    covered = np.mean([low <= 93 <= high for low, high in intervals])
    assert covered == pytest.approx(0.95, abs=0.01)


def study_of(results):
    """A study in memory: (rows, seeds, metrics) results, the first row being the baseline."""
    names = ["test_top1", "test_top5"][: results.shape[2]]
    labels = ["none", *(f"variant {index}" for index in range(1, len(results)))]
    axes = {PLACEMENT: labels, "seed": list(range(results.shape[1]))}
    made = Study(
        name="simulated", command=["cbam-ablate", "train"], axes=axes, constants={}, runs={}, places=[],
        table={"metrics": names}, costs={},
    )  # fmt: skip
    facts = {"rule": "highest validation top-1"}
    for row, label in enumerate(labels):
        for seed in axes["seed"]:
            key = f"{row:08x}{seed:08x}"
            values = dict(zip(names, map(float, results[row, seed]), strict=True))
            made.places.append(Point({PLACEMENT: label, "seed": seed}, key))
            made.records[key] = Record(key, "finished", values=values, facts=facts)
    return made


def declares(table):
    """Whether a reader could take anything in the table for better than something else."""
    cells = [cell for row in table.rows for cell in row.cells.values() if cell.sd is not None]
    ranked = [cell.best for cell in cells]
    starred = [cell.difference is not None and cell.difference.significant for cell in cells]
    return any(starred) or (any(ranked) and not all(ranked))


@pytest.mark.parametrize(
    ("rows", "seeds", "metrics", "baseline"),
    [
        (2, 3, 1, True),
        (3, 3, 1, True),
        (3, 5, 2, True),
        (8, 5, 1, True),
        (4, 3, 1, False),
        (12, 10, 1, False),
    ],
)
def test_without_a_true_difference_few_tables_declare_a_winner(rows, seeds, metrics, baseline):
    rng = np.random.default_rng(rows * 100 + seeds)
    tables, declared = 1500, 0
    for _ in range(tables):
        luck = rng.normal(0, 0.4, (1, seeds, metrics))
        results = np.round(93 + luck + rng.normal(0, 0.2, (rows, seeds, metrics)), 2)
        made = study_of(results)
        if not baseline:
            made.axes[PLACEMENT][0] = "variant 0"
            for place in made.places:
                place.axes = {**place.axes, PLACEMENT: place.axes[PLACEMENT].replace("none", "variant 0")}
        declared += declares(build_table(made, {"costs": []}))
    # Two standard errors of the simulation itself above the promised 5 %.
    assert declared / tables <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / tables)


PLACES, RATIOS = ["none", "block", "class"], [4, 8, 16]
DESIGNS = {
    "2x2": {PLACEMENT: ["block", "class"], REDUCTION: [4, 16]},
    "3x3": {PLACEMENT: ["block", "class", "both"], REDUCTION: RATIOS},
    "3x3 with a baseline": {PLACEMENT: PLACES, REDUCTION: RATIOS},
    "zoo": {PLACEMENT: ["none", *(f"variant {index}" for index in range(1, 9))]},
}


def crossed(design, results, names):
    """A study of crossed axes: (rows, seeds, metrics) results in the order of the axes' product."""
    made = study_of(results[:, :, :1])
    made.table, made.places, made.records = {"metrics": names}, [], {}
    made.axes = {**design, "seed": list(range(results.shape[1]))}
    for row, levels in enumerate(itertools.product(*design.values())):
        axes = dict(zip(design, levels, strict=True))
        if axes[PLACEMENT] == "none" and REDUCTION in axes:
            if axes[REDUCTION] != RATIOS[0]:
                continue
            axes[REDUCTION] = None
        for seed in made.axes["seed"]:
            key = f"{row:08x}{seed:08x}"
            values = dict(zip(names, map(float, results[row, seed]), strict=True))
            made.places.append(Point({**axes, "seed": seed}, key))
            facts = {"rule": "highest validation top-1"}
            made.records[key] = Record(key, "finished", values=values, facts=facts)
    return made


def claims(table):
    """Whether the table says of anything, in marks or in sentences, that it makes a difference."""
    said = any(text.startswith(("Main effect", "Interaction")) for text in table.findings)
    return declares(table) or said or any(effect.significant for effect in table.effects)


@pytest.mark.parametrize("metrics", [1, 3, 5])
@pytest.mark.parametrize("design", list(DESIGNS))
def test_without_a_true_difference_few_tables_claim_anything(design, metrics):
    names = ["test_top1", "test_top5", "test_loss", "val_top1", "val_loss"][:metrics]
    rng = np.random.default_rng(100 * metrics + len(design))
    rows = int(np.prod([len(levels) for levels in DESIGNS[design].values()]))
    tables, false = 600, 0
    for _ in range(tables):
        luck = rng.normal(0, 0.4, (1, 5, metrics))
        results = 93 + luck + rng.normal(0, 0.2, (rows, 5, metrics))
        false += claims(build_table(crossed(DESIGNS[design], results, names), {"costs": []}))
    print(
        f"{design}, {metrics} metrics: {100 * false / tables:.1f} % of {tables} null tables claim something"
    )
    assert false / tables <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / tables)


def test_a_clear_difference_is_declared():
    results = 93 + np.random.default_rng(0).normal(0, 0.1, (3, 5, 1))
    results[1] += 2
    table = build_table(study_of(results), {"costs": []})
    assert [row.cell("test_top1").best for row in table.rows] == [False, True, False]


@pytest.mark.parametrize("effect", [0.3, 0.5, 0.7, 1.0])
@pytest.mark.parametrize("level", [0.95, 0.99])
def test_with_the_spread_known_the_advised_seeds_give_the_promised_power(effect, level):
    n = statistics.seeds_needed(effect, 1.0, level)
    draws = np.random.default_rng(n).normal(effect, 1, (8_000, n))
    zeros = [0.0] * n
    shown = np.mean([statistics.paired(values, zeros).p < 1 - level for values in draws.tolist()])
    assert shown == pytest.approx(statistics.POWER, abs=0.05)


@pytest.mark.parametrize("n", [3, 5, 10])
def test_the_range_of_seeds_holds_the_right_number_in_8_of_10_studies(n):
    right = statistics.seeds_needed(0.5, 1.0)
    draws = np.random.default_rng(n).normal(0.5, 1, (4_000, n))
    ranges = [statistics.seeds_range(0.5, sd, n) for sd in draws.std(axis=1, ddof=1)]
    held = np.mean([low is not None and low <= right <= (high or np.inf) for low, high in ranges])
    assert held == pytest.approx(0.8, abs=0.03)
