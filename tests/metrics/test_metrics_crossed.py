"""Intervals over seeds and test images: calibrated by simulation; McNemar's test against statsmodels."""

import numpy as np
import pytest
from statsmodels.stats.contingency_tables import mcnemar as oracle

from cbam_ablate.aggregate import build_table, load_study
from cbam_ablate.config.output import BOTH_FROM
from cbam_ablate.metrics import Sample
from cbam_ablate.metrics.crossed import (
    draws_of,
    interval_of,
    mcnemar,
    of_draws,
    of_means,
    p_of,
    per_image,
)
from cbam_ablate.metrics.definitions import DEFINITIONS, definition
from cbam_ablate.metrics.ranking import auroc_of_draws
from cbam_ablate.report import markdown
from tests.metrics.conftest import content, made_up


def crossed(rng, seeds, images, by_seed, by_image=0.3, own=0.25):
    """(S, N) numbers whose true mean is zero, with the spread of each source."""
    seed = rng.normal(0, 1, (seeds, 1)) * by_seed
    return seed + rng.normal(0, by_image, (1, images)) + rng.normal(0, own, (seeds, images))


@pytest.mark.parametrize("seeds", [BOTH_FROM, pytest.param(10, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "by_seed", [0.01, *(pytest.param(spread, marks=pytest.mark.slow) for spread in (0.02, 0.1))]
)
def test_an_interval_over_both_covers_95_percent(seeds, by_seed):
    rng = np.random.default_rng(seeds)
    hits = []
    for _ in range(3000):
        low, high = interval_of(of_means(crossed(rng, seeds, 300, by_seed)), "both")
        hits.append(low <= 0 <= high)
    assert 0.935 <= np.mean(hits) <= 0.965


def test_right_or_wrong_images_are_covered_too_and_seeds_alone_fall_short():
    rng, both, seeds_only = np.random.default_rng(0), [], []
    difficulty = rng.beta(4, 1, 200_000)  # of all the images that there are
    shifts = rng.normal(0, 0.02, 100_000)  # of all the seeds
    truth = np.clip(difficulty[:20_000] + shifts[:20_000], 0, 1).mean()
    for _ in range(1500):
        chance = np.clip(rng.choice(difficulty, 500) + rng.choice(shifts, BOTH_FROM)[:, None], 0, 1)
        values = (rng.random((BOTH_FROM, 500)) < chance).astype(float)
        found = of_means(values)
        low, high = interval_of(found, "both")
        both.append(low <= truth <= high)
        half = 2.776 * np.sqrt(found.seeds)
        seeds_only.append(abs(found.mean - truth) <= half)
    assert 0.935 <= np.mean(both) <= 0.965
    assert np.mean(seeds_only) < 0.93


def test_the_test_over_both_rejects_5_percent_of_true_nulls():
    rng = np.random.default_rng(3)
    p = [p_of(of_means(crossed(rng, BOTH_FROM, 300, 0.02))) for _ in range(3000)]
    assert 0.035 <= np.mean(np.array(p) < 0.05) <= 0.065


def test_bootstrap_draws_give_the_variances_that_are_known_for_a_mean():
    samples = [Sample.of_logits(*made_up(80 + seed, seed)) for seed in range(6)]
    values = np.array([per_image(sample, "accuracy") for sample in samples])
    exact = of_means(values)
    draws = draws_of(samples, DEFINITIONS["accuracy"].function, np.random.default_rng(0))
    found = of_draws(values.mean(axis=1), draws)
    assert found.mean == pytest.approx(exact.mean, abs=1e-12)
    assert found.seeds == pytest.approx(exact.seeds, rel=1e-9)
    assert found.images == pytest.approx(exact.images, rel=0.35)
    assert found.both == pytest.approx(exact.both, rel=0.35)


def test_aurocs_of_draws_are_those_of_the_images_drawn():
    labels, logits = made_up(60, images=200)
    sample, rng = Sample.of_logits(labels, np.round(logits)), np.random.default_rng(0)
    chosen = rng.integers(0, 200, (3, 200))
    counts = np.array([np.bincount(draw, minlength=200) for draw in chosen], dtype=float)
    expected = [DEFINITIONS["auroc"].function(sample.take(draw)).value for draw in chosen]
    assert auroc_of_draws(sample, counts) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("name", ["accuracy", "top3", "log_loss", "brier"])
def test_numbers_of_images_average_to_the_metric(name):
    sample = Sample.of_logits(*made_up(70))
    assert per_image(sample, name).mean() == pytest.approx(definition(name).function(sample).value, abs=1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_mcnemar_is_that_of_statsmodels(seed):
    rng = np.random.default_rng(seed)
    first, second = rng.random(300) < 0.8, rng.random(300) < 0.75 + 0.02 * seed
    table = [[np.sum(first & second), np.sum(first & ~second)], [np.sum(~first & second), 0]]
    ours, theirs, p = mcnemar(first, second)
    assert (ours, theirs) == (table[0][1], table[1][0])
    assert p == pytest.approx(oracle(table, exact=True).pvalue, abs=1e-12)
    assert mcnemar(first, first) == (0, 0, 1.0)


def table_of(study, **options):
    return build_table(load_study(study.root, study.study), options)


def test_a_table_takes_its_intervals_over_seeds_images_or_both(study):
    found = {
        over: table_of(study, interval=over, metrics=["test_top1", "test_f1_macro", "test_loss"])
        for over in ("t", "seeds", "images", "both")
    }
    assert found["t"].rows == found["seeds"].rows

    def width(over, metric, difference=False):
        cell = found[over].rows[1].cell(metric)
        low, high = cell.difference.interval if difference else cell.interval
        return high - low

    for metric in ("test_top1", "test_f1_macro"):
        assert width("both", metric) > max(width("seeds", metric), 0.9 * width("images", metric))
    # Differences of top-1 have no spread over these seeds, and so no interval over them.
    assert width("both", "test_f1_macro", True) > width("seeds", "test_f1_macro", True)
    assert found["seeds"].rows[1].cell("test_top1").difference.interval is None
    assert any("over seeds and test images" in sentence for sentence in found["both"].caption)
    assert any("of these trained networks" in sentence for sentence in found["images"].caption)
    assert found["both"].rows[1].cell("test_top1").value == found["t"].rows[1].cell("test_top1").value


@pytest.mark.parametrize(
    ("over", "test"), [("t", "paired t-test"), ("both", "t-test over seeds and test images")]
)
def test_the_mark_of_a_difference_names_its_test(study, over, test):
    table = table_of(study, interval=over, metrics=["test_f1_macro"])
    assert table.rows[1].cell("test_f1_macro").difference.significant
    assert f"({test}, Holm, 5 %)" in markdown.render(table)


def test_too_few_seeds_have_no_interval_over_both_and_it_says_so(study):
    for seed in (3, 4):
        (study.run(study.keys["block", seed]) / "result.json").unlink()
    table = table_of(study, interval="both")
    rows = {row.axes["model.attention.placement"]: row.cell("test_top1") for row in table.rows}
    assert rows["block"].interval is None
    assert rows["none"].interval is not None
    assert rows["block"].difference.p is None
    assert any("over seeds and test images needs 5 seeds" in note for note in table.notes)


def test_a_run_with_another_order_of_images_is_left_out_of_intervals_over_images(study):
    key = study.keys["class", 4]
    order = np.random.default_rng(0).permutation(2000)
    (study.run(key) / "predictions.npz").write_bytes(content(key, 81.2, order=order))
    table = table_of(study, interval="both")
    assert any(f"Run {key} is in no interval over test images: it has others" in note for note in table.notes)
    rows = {row.axes["model.attention.placement"]: row.cell("test_top1") for row in table.rows}
    assert (rows["class"].interval, rows["class"].n) == (None, 5)


def test_two_single_runs_are_told_apart_by_mcnemar_as_networks(stand_in):
    keys = stand_in.build({"model.attention.placement": ["none", "block"], "seed": [0]}, lambda axes: 80.0)
    for place, key in enumerate(keys.values()):
        (stand_in.run(key) / "predictions.npz").write_bytes(content(key, 80.0, seed=place))
    (note,) = [n for n in table_of(stand_in, interval="images").notes if "McNemar" in n]
    assert "of these two networks, not of the architectures" in note
