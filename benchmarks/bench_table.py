"""How fast a large study becomes a table, beside reading every file with json and pandas.

    python benchmarks/bench_table.py [--runs 10000] [--epochs 200] [--store FOLDER]

Writes a stand-in store (about 0.4 GB) to a temporary folder, or uses the one given. Each way runs in a
process of its own, with the files in the page cache. Plain: config.json and result.json by json,
history.jsonl by pandas.read_json, then one DataFrame grouped by setting. Ours: `write_table`, that is
reading, statistics, all comparisons, and five files written.
"""

import argparse
import hashlib
import itertools
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

STUDY = "large"
AXES = {
    "model.depth": [20, 32, 44, 56, 110],
    "model.attention.placement": ["block", "class", "both", "stage"],
    "model.attention.reduction": [2, 4, 8, 16, 32],
    "model.attention.kernel": [3, 5, 7, 9],
    "optimizer.lr": [0.01, 0.03, 0.1, 0.2, 0.3],
}


def make_store(root: Path, runs: int, epochs: int) -> None:
    """A manifest and so many finished runs, five seeds a setting."""
    rng = random.Random(0)
    axes = {**AXES, "seed": [0, 1, 2, 3, 4]}
    constants = {"model.backbone": "resnet_cifar", "data.name": "cifar10", "train.epochs": epochs}
    cells, own = [], {}
    for values in itertools.islice(itertools.product(*axes.values()), runs):
        chosen = dict(zip(axes, values, strict=True))
        key = hashlib.sha256(repr(values).encode()).hexdigest()[:16]
        cells.append({"axes": chosen, "key": key})
        own[key] = chosen
        folder = root / "runs" / key
        folder.mkdir(parents=True)
        top1 = round(90 + rng.gauss(0, 0.3) + (chosen["model.attention.placement"] == "block"), 2)
        (folder / "config.json").write_text(json.dumps({**constants, **chosen}, indent=1))
        (folder / "result.json").write_text(json.dumps(result(key, top1, epochs), indent=1))
        (folder / "status.json").write_text('{"state": "finished"}')
        (folder / "history.jsonl").write_text("".join(map(history_line, range(1, epochs + 1))))
    folder = root / "studies" / STUDY
    folder.mkdir(parents=True)
    manifest = {
        "schema": 1,
        "study": STUDY,
        "command": ["cbam-ablate", "train", f"study={STUDY}"],
        "axes": axes,
    }
    manifest |= {"constants": constants, "runs": own, "cells": cells, "table": {}}
    (folder / "manifest.json").write_text(json.dumps(manifest))


def result(key: str, top1: float, epochs: int) -> dict[str, object]:
    metrics = {
        f"{part}_{name}": top1 for part in ("test", "last_test", "val", "train") for name in ("top1", "top5")
    }
    cost = {
        "params": 272_474,
        "macs": 40_813_184,
        "train_seconds": 600.0 + top1,
        "images_per_second": 1e4 / top1,
    }
    versions = dict.fromkeys(("python", "torch", "torchvision", "hydra-core", "omegaconf", "numpy"), "1.2.3")
    made = {"git_commit": 40 * "0", "git_dirty": False, "code_sha256": 64 * "a", "versions": versions}
    made |= {"device": "cpu: stand-in", "precision": "fp32", "threads": 2, "dataset_sha256": 64 * "d"}
    return {
        "schema": 1,
        "key": key,
        "metrics": metrics,
        "selection": {"rule": "highest validation top-1", "epoch": epochs - 1, "epochs": epochs},
        "cost": {**cost, "peak_memory_mib": 800.0},
        "parent": None,
        "provenance": made,
    }


def history_line(epoch: int) -> str:
    names = ("train_loss", "train_top1", "train_top5", "val_loss", "val_top1", "val_top5", "lr", "seconds")
    record = {
        "epoch": epoch,
        **{name: round(90 - 60 / (epoch + index), 4) for index, name in enumerate(names)},
    }
    return json.dumps({**record, "images_per_second": 9876.5}) + "\n"


def plain(root: Path) -> None:
    import pandas as pd

    start = time.perf_counter()
    rows = []
    for folder in sorted((root / "runs").iterdir()):
        config = json.loads((folder / "config.json").read_text())
        found = json.loads((folder / "result.json").read_text())
        history = pd.read_json(folder / "history.jsonl", lines=True)
        rows.append({**config, **found["metrics"], **found["cost"], "last": history["val_top1"].iloc[-1]})
    table = pd.DataFrame(rows).groupby(list(AXES))["test_top1"].agg(["mean", "std", "count"])
    print(time.perf_counter() - start, len(table))


def ours(root: Path) -> None:
    from cbam_ablate.report import write_table

    start = time.perf_counter()
    table = write_table(root, STUDY)
    print(time.perf_counter() - start, len(table.rows))


def timed(root: Path, way: str) -> float:
    """Seconds of one way in a fresh process."""
    command = [sys.executable, __file__, "--store", str(root), "--way", way]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    seconds, rows = done.stdout.split()
    print(f"{way:<8} {float(seconds):8.3f} s  {rows} rows", flush=True)
    return float(seconds)


def compare(root: Path) -> None:
    slow = timed(root, "plain")
    print(f"a table: {slow / min(timed(root, 'ours') for _ in range(3)):.1f} times faster than plain")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--epochs", type=int, default=200)
    parser.add_argument("--store", type=Path)
    parser.add_argument("--way", choices=("plain", "ours"))
    asked = parser.parse_args()
    if asked.way:
        {"plain": plain, "ours": ours}[asked.way](asked.store)
    elif asked.store:
        compare(asked.store)
    else:
        with tempfile.TemporaryDirectory() as folder:
            make_store(Path(folder), asked.runs, asked.epochs)
            compare(Path(folder))


if __name__ == "__main__":
    main()
