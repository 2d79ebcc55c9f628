"""Planning a sweep against Hydra's own composition of each cell, and against another build of this package.

python benchmarks/bench_plan.py [--cells 1120] [--rounds 3] [--before PATH]

PATH is a clone with another build; its plans are made by its own Python (PATH/.venv) in turn with ours.
"""

import argparse
import itertools
import json
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

from hydra import compose, initialize_config_dir

from cbam_ablate.config.overrides import parse
from cbam_ablate.config.where import conf_dir

AXES = {
    "placement": ["none", "block", "class", "both", "stage"],
    "kernel": ["3", "7"],
    "optimizer.lr": ["0.02", "0.05", "0.1", "0.2"],
    "optimizer.weight_decay": ["1e-4", "5e-4"],
    "train.batch_size": ["64", "128"],
}
SAMPLE = 20
WORKER = """
import sys, time
from cbam_ablate.sweep.plan import make_plan
for line in sys.stdin:
    started = time.perf_counter()
    cells = len(make_plan(line.split()).cells)
    print(cells, time.perf_counter() - started, flush=True)
"""


class Planner:
    """A process that plans sweeps with one build, and has planned once."""

    def __init__(self, clone: Path, tokens: list[str]) -> None:
        self.tokens = tokens
        self.process = subprocess.Popen(
            [clone / ".venv" / "bin" / "python", "-c", WORKER],
            cwd=clone,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.seconds(["seed=0"])

    def seconds(self, tokens: list[str]) -> float:
        """Seconds of the whole plan: composed, checked, each network built on the meta device, keyed."""
        print(*self.tokens, *tokens, file=self.process.stdin, flush=True)
        cells, seconds = self.process.stdout.readline().split()
        if int(cells) != count(tokens):
            raise RuntimeError(f"{cells} cells, expected {count(tokens)}")
        return float(seconds)


def count(tokens: list[str]) -> int:
    total = 1
    for token in tokens:
        total *= len(token.partition("=")[2].split(","))
    return total


def hydra_seconds(tokens: list[str]) -> float:
    """Seconds a cell that Hydra needs to compose a sample of the cells, as its basic sweeper does each."""
    axes = [[f"{name}={value}" for value in values.split(",")] for name, _, values in
            (token.partition("=") for token in tokens)]  # fmt: skip
    every = list(itertools.product(*axes))
    lines = [[token.for_hydra for token in parse(cell)] for cell in every[:: max(1, len(every) // SAMPLE)]]
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        started = time.perf_counter()
        for cell in lines:
            compose("config", ["data=synthetic", *cell], return_hydra_config=True)
        return (time.perf_counter() - started) / len(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, default=1120)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--before", type=Path)
    given = parser.parse_args()
    swept = [f"{name}={','.join(values)}" for name, values in AXES.items()]
    seeds = -(-given.cells // count(swept))
    tokens = [*swept, f"seed={','.join(map(str, range(seeds)))}"]
    clones = {"now": Path(__file__).parents[1], **({"before": given.before} if given.before else {})}
    planners = {name: Planner(clone, ["data=synthetic"]) for name, clone in clones.items()}
    arms = {"hydra": lambda: hydra_seconds(tokens)}
    arms |= {name: lambda one=one: one.seconds(tokens) / count(tokens) for name, one in planners.items()}
    rounds = [{name: arm() for name, arm in arms.items()} for _ in range(given.rounds)]
    found = {name: statistics.median(one[name] for one in rounds) for name in arms}
    ratios = [one["hydra"] / one["now"] for one in rounds]
    print(f"{count(tokens)} cells, median of {given.rounds} rounds, {platform.machine()}")
    print(f"Hydra, one composition a cell: {1000 * found['hydra']:8.2f} ms a cell")
    print(f"the whole plan:                {1000 * found['now']:8.2f} ms a cell, "
          f"{statistics.median(ratios):.0f} times less ({min(ratios):.0f} to {max(ratios):.0f})")  # fmt: skip
    if given.before:
        gains = [one["before"] / one["now"] for one in rounds]
        factor = f"{statistics.median(gains):.0f} times ours ({min(gains):.0f} to {max(gains):.0f})"
        print(f"the build before:              {1000 * found['before']:8.2f} ms a cell, {factor}")
    json.dump({"cells": count(tokens), "rounds": rounds}, sys.stdout)
    print()


if __name__ == "__main__":
    main()
