"""What loggers cost a run of about half a minute: its training, and the whole command, beside no logger.

    python benchmarks/bench_loggers.py [--epochs 60] [--rounds 3] [--threads 1]

Each round runs every way once, one after another, in a store of its own. `train` is the time within epochs,
their median times their number, since a machine's neighbours disturb single ones; `whole` the command's wall
time, from start to finish; `CPU` what it and the loggers' processes used. `beside` is what those processes
alone used from the end of the first epoch to the last, in percent of that time: what a logger can cost a run
whose cores are all at work, free of the machine's noise (Linux only). Printed are the medians, and medians of
the ratios to the same round without a logger.
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
    beside: float


def beside(process: "subprocess.Popen[bytes]", store: Path, epochs: int) -> float:
    """Waits for a run; returns the share of its time between epochs 1 and `epochs` that others' CPU took."""
    looks: list[tuple[float, float]] = []
    done = 0
    while process.poll() is None:
        done = sum(path.read_bytes().count(b"\n") for path in store.glob("runs/*/history.jsonl"))
        if 1 <= done < epochs:
            looks.append((time.perf_counter(), descendants_cpu(process.pid)))
        time.sleep(0.1)
    (started, least), (ended, most) = looks[0], looks[-1]
    return (most - least) / (ended - started)


def descendants_cpu(root: int) -> float:
    """Seconds of CPU that the living descendants of a process have used."""
    parents, used = {}, {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        pid = int(path.parent.name)
        parents[pid], used[pid] = (
            int(fields[1]),
            (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK"),
        )
    found = {root}
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return sum(used.get(pid, 0.0) for pid in found - {root})


def measure(words: list[str], environment: dict[str, str], epochs: int) -> Cost:
    with tempfile.TemporaryDirectory() as store:
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        command = [sys.executable, "-m", "cbam_ablate", "train", *RUN, *words, f"store={store}"]
        process = subprocess.Popen(
            command, env={**os.environ, **environment}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        share = beside(process, Path(store), epochs)
        if process.returncode:
            raise SystemExit(f"exit code {process.returncode}: {' '.join(command)}")
        whole, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
        (history,) = Path(store).glob("runs/*/history.jsonl")
        seconds = [json.loads(line)["seconds"] for line in history.read_text().splitlines()]
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Cost(statistics.median(seconds) * epochs, whole, cpu, share)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    asked = parser.parse_args()
    if asked.epochs < 3:
        parser.error("--epochs: at least 3, since what is measured lies between the first and the last")
    fixed = [f"train.epochs={asked.epochs}", f"train.threads={asked.threads}"]
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        environment = {"WANDB_BASE_URL": address, "WANDB_API_KEY": 40 * "0"}
        rounds = [
            {way: measure([*fixed, *words], environment, asked.epochs) for way, words in WAYS.items()}
            for _ in range(asked.rounds)
        ]
    said = f"{asked.rounds} rounds, {asked.epochs} epochs, {asked.threads} threads, {os.cpu_count()} cores"
    print(f"{said}\n{'':<20} {'train':>8} {'ratio':>7} {'whole':>8} {'more':>7} {'CPU':>8} {'beside':>8}")
    for way in WAYS:
        costs = [one[way] for one in rounds]
        ratio = statistics.median(one[way].train / one["no logger"].train for one in rounds)
        more = statistics.median(one[way].whole - one["no logger"].whole for one in rounds)
        train, whole, cpu, share = (statistics.median(column) for column in zip(*costs, strict=True))
        told = f"{train:7.2f}s {ratio:7.3f} {whole:7.2f}s {more:+6.2f}s {cpu:7.2f}s"
        print(f"{way:<20} {told} {100 * share:6.2f} %")


if __name__ == "__main__":
    main()
