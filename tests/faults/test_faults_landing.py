"""Results that land while tables are made: the next table has every one of them."""

import json
import random
import time

import pytest

RUNS, ROUNDS, EACH = 600, 6, 10


@pytest.mark.slow
def test_results_that_land_while_a_table_is_made_are_in_the_next(stand_in, command_line):
    axes = {"model.attention.placement": ["none", "block", "class"], "seed": list(range(RUNS // 3))}
    waiting = RUNS // 3 - ROUNDS * EACH // 3
    keys = stand_in.build(axes, lambda axes: 80.0 + axes["seed"] / 100 if axes["seed"] < waiting else None)
    coming = [key for (_, seed), key in keys.items() if seed >= waiting]
    cli, words = command_line(stand_in.root), ["table", f"study={stand_in.study}"]
    dice = random.Random(0)
    dice.shuffle(coming)

    def finished():
        table = json.loads((stand_in.folder / "table.json").read_text())
        return sum(row["cells"]["test_top1"]["n"] for row in table["rows"])

    assert cli(*words).returncode == 0
    began = time.monotonic()
    assert cli(*words).returncode == 0
    long = time.monotonic() - began
    for number in range(1, ROUNDS + 1):
        making = cli.start(*words)
        for _ in range(EACH):
            time.sleep(dice.uniform(0, 2 * long / EACH))
            stand_in.finish(coming.pop(), 50.0)
        making.communicate(timeout=600)
        assert making.returncode == 0
        assert cli(*words).returncode == 0
        assert finished() == RUNS - ROUNDS * EACH + number * EACH
