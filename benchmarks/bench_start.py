"""What commands take to start: a run of one step, and a sweep of many such, this build beside another one.

    python benchmarks/bench_start.py PYTHON [--rounds 5] [--runs 32] [--json FILE]

PYTHON is that of the other build's environment. In each round either build runs each command once, one right
after the other, in a folder of its own. A ratio is the other's seconds over ours; CPU seconds are of the
command and its children, which other work on the machine changes less.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TINY = [
    *("data=synthetic", "data.train_size=32", "data.val_size=32", "train.epochs=1", "train.batch_size=32"),
    *("backbone=resnet_cifar", "depth=20", "model.width=8", "reduction=2", "train.threads=1"),
]


def seconds(python: str, words: list[str]) -> tuple[float, float]:
    """Wall and CPU seconds of a command in an empty folder."""
    with tempfile.TemporaryDirectory() as folder:
        began, before = time.perf_counter(), os.times()
        command = [python, "-m", "cbam_ablate", "train", *words]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        wall, after = time.perf_counter() - began, os.times()
    if done.returncode:
        raise SystemExit(f"{python}: {done.stderr}")
    used = after.children_user + after.children_system - before.children_user - before.children_system
    return wall, used


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("python")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--runs", type=int, default=32)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    sweep = ["-m", *TINY, f"seed=range(0,{options.runs // 2})", "placement=none,block"]
    commands = {
        "one run": [*TINY, "placement=block"],
        f"a sweep of {options.runs // 2 * 2}": sweep,
    }
    found: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for name, words in commands.items():
        rounds = found[name] = {"ours": [], "theirs": []}
        for _ in range(options.rounds):
            for arm, python in (("ours", sys.executable), ("theirs", options.python)):
                rounds[arm].append(seconds(python, words))
        for place, kind in enumerate(("wall", "CPU")):
            ours, theirs = (statistics.median(one[place] for one in rounds[arm]) for arm in rounds)
            print(
                f"{name}: {ours:.2f} s, the other build {theirs:.2f} s ({kind}): {theirs / ours:.2f}",
                flush=True,
            )
    if options.json is not None:
        options.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
