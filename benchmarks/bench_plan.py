"""Planning 1,000 cells against Hydra's own composition of each: seconds a cell and their ratio, one run.

python benchmarks/bench_plan.py
"""

import argparse
import itertools
import json
import platform
import statistics
import sys
import time

from hydra import compose, initialize_config_dir

from cbam_ablate.config.overrides import conf_dir, parse
from cbam_ablate.sweep.plan import make_plan

AXES = {
    "placement": ["none", "block", "class", "both", "stage"],
    "kernel": ["3", "7"],
    "optimizer.lr": ["0.02", "0.05", "0.1", "0.2"],
    "optimizer.weight_decay": ["1e-4", "5e-4"],
    "train.batch_size": ["64", "128"],
    "seed": [str(seed) for seed in range(7)],
}
ROUNDS, SAMPLE = 3, 40


def hydra_seconds(assignments: list[tuple[str, ...]]) -> float:
    """Seconds a cell that Hydra needs to compose a sample of the cells, as its basic sweeper does each."""
    words = [[f"{name}={value}" for name, value in zip(AXES, cell, strict=True)] for cell in assignments]
    spelled = [[word.for_hydra for word in parse(cell)] for cell in words]
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        started = time.perf_counter()
        for cell in spelled:
            compose("config", ["data=synthetic", *cell], return_hydra_config=True)
        return (time.perf_counter() - started) / len(spelled)


def plan_seconds(cells: int) -> float:
    """Seconds a cell of the whole plan: composed, checked, each network built on the meta device."""
    words = [f"{name}={','.join(values)}" for name, values in AXES.items()]
    started = time.perf_counter()
    plan = make_plan(["data=synthetic", *words])
    if len(plan.cells) != cells:
        raise RuntimeError(f"{len(plan.cells)} cells, expected {cells}")
    return (time.perf_counter() - started) / cells


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    every = list(itertools.product(*AXES.values()))
    sample = every[:: len(every) // SAMPLE]
    plan_seconds(len(every))
    rounds = [(hydra_seconds(sample), plan_seconds(len(every))) for _ in range(ROUNDS)]
    hydra, ours = (statistics.median(column) for column in zip(*rounds, strict=True))
    print(f"{len(every)} cells, median of {ROUNDS} rounds, {platform.processor() or platform.machine()}")
    print(f"Hydra, one composition a cell: {1000 * hydra:7.2f} ms a cell")
    print(f"ours, the whole plan:          {1000 * ours:7.2f} ms a cell   {hydra / ours:.1f} times faster")
    json.dump({"cells": len(every), "hydra_s": hydra, "plan_s": ours, "ratio": hydra / ours}, sys.stdout)
    print()


if __name__ == "__main__":
    main()
