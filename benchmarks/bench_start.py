"""What commands take to start: a run of one step, and a sweep of many such, this build beside another one.

    python benchmarks/bench_start.py PYTHON [--rounds 5] [--runs 32] [--json FILE]

PYTHON is that of the other build's environment. In each round either build runs each command once, one right
after the other, in a folder of its own; before the first, once to compile Python's files, which then are kept
in a folder of the benchmark's whatever the shell says of them. A ratio is the other's seconds over ours; CPU
seconds are of the command and its children, which other work on the machine changes less, but without a
sweep's jobs, whose parent is another.
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


def seconds(python: str, words: list[str], compiled: str) -> tuple[float, float]:
    """Wall and CPU seconds of a command in an empty folder; Python's compiled files are in `compiled`."""
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    env["PYTHONPYCACHEPREFIX"] = compiled
    with tempfile.TemporaryDirectory() as folder:
        began, before = time.perf_counter(), os.times()
        command = [python, "-m", "cbam_ablate", "train", *words]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=env)
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
    arms = {"ours": sys.executable, "theirs": options.python}
    found: dict[str, dict[str, list[tuple[float, float]]]] = {}
    compiled = tempfile.TemporaryDirectory()
    for name, words in commands.items():
        rounds = found[name] = {arm: [] for arm in arms}
        for number in range(options.rounds + 1):
            for arm, python in arms.items():
                taken = seconds(python, words, compiled.name)
                if number:
                    rounds[arm].append(taken)
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
