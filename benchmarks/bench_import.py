"""How fast others' results become a table: 10,000 rows of CSV, and 200 TensorBoard folders beside tbparse.

    python benchmarks/bench_import.py [--rows 10000] [--folders 200] [--points 1000] [--rounds 3]

Every way runs in a process of its own, the ways of a round one after another. `import` is the whole command,
from the file to a store with its table in five forms; `table` the whole command on as many runs of ours, in
folders. tbparse 0.0.9 (`pip install tbparse==0.0.9`, for this benchmark only) reads scalars and hparams of
all folders to DataFrames; `import` of event files does that and writes store and table too.
"""

import argparse
import csv
import itertools
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench_table import AXES, STUDY, make_store

TBPARSE = """
import sys
from tbparse import SummaryReader
reader = SummaryReader(sys.argv[1])
print(len(reader.scalars), len(reader.hparams))
"""


def write_csv(path: Path, rows: int) -> None:
    rng = random.Random(0)
    axes = {**AXES, "seed": [0, 1, 2, 3, 4]}
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*(name.rpartition(".")[2] for name in axes), "test_acc", "val_acc"])
        for values in itertools.islice(itertools.product(*axes.values()), rows):
            accuracy = round(90 + rng.gauss(0, 0.3) + (values[1] == "block"), 2)
            writer.writerow([*values, accuracy, accuracy])


def write_events(root: Path, folders: int, points: int) -> None:
    from torch.utils.tensorboard import SummaryWriter

    for number in range(folders):
        with SummaryWriter(str(root / f"run{number}")) as writer:
            for step in range(points):
                writer.add_scalar("val/acc", step / points + number / 1e4, step)
            options = {"lr": 0.1 * (1 + number % 40), "seed": number // 40}
            writer.add_hparams(options, {"test/acc": 0.9 + number / 1e4}, run_name=".")


def seconds(*command: str) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, *command], check=True, capture_output=True)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, default in (("rows", 10_000), ("folders", 200), ("points", 1000), ("rounds", 3)):
        parser.add_argument(f"--{name}", type=int, default=default)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        write_csv(root / "big.csv", asked.rows)
        make_store(root / "ours", asked.rows, 1)
        write_events(root / "events", asked.folders, asked.points)
        program = ("-m", "cbam_ablate")
        ways = {
            "import csv": (*program, "import", str(root / "big.csv"), f"store={root}"),
            "table": (*program, "table", f"study={STUDY}", f"store={root / 'ours'}"),
            "import events": (*program, "import", str(root / "events"), f"store={root}"),
            "tbparse": ("-c", TBPARSE, str(root / "events")),
        }
        taken: dict[str, list[float]] = {way: [] for way in ways}
        for _ in range(asked.rounds):
            for way, command in ways.items():
                taken[way].append(seconds(*command))
                print(f"{way:<14} {taken[way][-1]:7.2f} s", flush=True)
        for ours, theirs in (("import csv", "table"), ("import events", "tbparse")):
            ratios = [a / b for a, b in zip(taken[ours], taken[theirs], strict=True)]
            each = ", ".join(f"{ratio:.2f}" for ratio in ratios)
            print(f"{ours} over {theirs}: {statistics.median(ratios):.2f} (rounds: {each})")


if __name__ == "__main__":
    main()
