"""What loggers cost a run of about half a minute: its training, and the whole command, beside no logger.

    python benchmarks/bench_loggers.py [--epochs 60] [--rounds 3] [--threads 1]

Each round runs every way once, one after another, in a store of its own. `train` is the time within epochs,
their median times their number, since a machine's neighbours disturb single ones; `whole` the command's
wall time, from start to finish; `CPU` what it and the loggers' processes used. Printed are the medians, and
medians of the ratios to the same round without a logger.
"""

import argparse
import json
import os
import resource
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

RUN = ["data=synthetic", "backbone=resnet_cifar", "depth=20", "model.width=8", "train.batch_size=64",
       "train.precision=fp32", "train.device=cpu"]  # fmt: skip
WAYS = {
    "no logger": ["logger=none"],
    "again": ["logger=none"],
    "csv": ["logger=csv"],
    "tensorboard": ["logger=tensorboard"],
    "wandb offline": ["logger=wandb", "logger.wandb.mode=offline"],
    "wandb, server hangs": ["logger=wandb", "logger.wandb.mode=online"],
}


class Cost(NamedTuple):
    """Seconds."""

    train: float
    whole: float
    cpu: float


def measure(words: list[str], environment: dict[str, str]) -> Cost:
    with tempfile.TemporaryDirectory() as store:
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        command = [sys.executable, "-m", "cbam_ablate", "train", *RUN, *words, f"store={store}"]
        subprocess.run(command, env={**os.environ, **environment}, check=True, capture_output=True)
        whole, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
        (history,) = Path(store).glob("runs/*/history.jsonl")
        epochs = [json.loads(line)["seconds"] for line in history.read_text().splitlines()]
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Cost(statistics.median(epochs) * len(epochs), whole, cpu)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    asked = parser.parse_args()
    fixed = [f"train.epochs={asked.epochs}", f"train.threads={asked.threads}"]
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        environment = {"WANDB_BASE_URL": address, "WANDB_API_KEY": 40 * "0"}
        rounds = [
            {way: measure([*fixed, *words], environment) for way, words in WAYS.items()}
            for _ in range(asked.rounds)
        ]
    said = f"{asked.rounds} rounds, {asked.epochs} epochs, {asked.threads} threads, {os.cpu_count()} cores"
    print(f"{said}\n{'':<20} {'train':>8} {'ratio':>7} {'whole':>8} {'more':>7} {'CPU':>8}")
    for way in WAYS:
        costs = [one[way] for one in rounds]
        ratio = statistics.median(one[way].train / one["no logger"].train for one in rounds)
        more = statistics.median(one[way].whole - one["no logger"].whole for one in rounds)
        train, whole, cpu = (statistics.median(column) for column in zip(*costs, strict=True))
        print(f"{way:<20} {train:7.2f}s {ratio:7.3f} {whole:7.2f}s {more:+6.2f}s {cpu:7.2f}s")


if __name__ == "__main__":
    main()
