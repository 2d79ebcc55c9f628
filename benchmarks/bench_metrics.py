"""What stored predictions cost: in a job, in a table, and to work metrics out.

    python benchmarks/bench_metrics.py [--runs 10000] [--part job|table|metrics]

job: what keeping predictions adds (a look at the validation images, condensing, packing), as a share of a run
of ResNet-20 over 10 epochs of CIFAR-10, whose steps and evaluations are timed on 500 images each, by turns.
table: a stand-in store with a metric that is already kept and without, by turns.
metrics: five metrics of 30 runs on 10,000 images and 10 classes.
"""

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np

FIVE = ("f1_macro", "auroc", "ece", "balanced_accuracy", "kappa")


def metrics() -> dict[str, float]:
    from cbam_ablate.metrics import DEFINITIONS, Sample
    from cbam_ablate.metrics.definitions import value_of

    rng = np.random.default_rng(0)
    labels = rng.integers(0, 10, 10_000)
    runs = [rng.normal(0, 2, (10_000, 10)).astype(np.float16) for _ in range(30)]
    started = time.process_time()
    for logits in runs:
        sample = Sample.of_logits(labels, logits)
        for name in FIVE:
            value_of(DEFINITIONS[name].function, sample)
    return {"seconds_of_one_core": time.process_time() - started}


def table(runs: int, rounds: int = 5) -> dict[str, float]:
    from bench_table import STUDY, make_store

    from cbam_ablate.report.write import write_table

    found: dict[str, list[float]] = {"without": [], "with": []}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        make_store(root, runs, 1)
        for path in (root / "runs").iterdir():
            (path / "metrics").mkdir()
            value = {"schema": 1, "metric": "test_f1_macro", "value": 90.0, "unit": "%", "notes": []}
            (path / "metrics" / "test_f1_macro.json").write_text(json.dumps({**value, "source": "1"}))
        metrics = {"without": ["test_top1", "val_top1"], "with": ["test_top1", "test_f1_macro"]}
        for _ in range(rounds):
            for name, asked in metrics.items():
                started = time.perf_counter()
                write_table(root, STUDY, {"table.metrics": asked})
                found[name].append(time.perf_counter() - started)
    pairs = zip(found["with"], found["without"], strict=True)
    return {
        "without_seconds": statistics.median(found["without"]),
        "with_seconds": statistics.median(found["with"]),
        "ratio": statistics.median(a / b for a, b in pairs),
    }


def job(rounds: int = 3) -> dict[str, float]:
    import torch

    from cbam_ablate.config import load_config
    from cbam_ablate.models import build_model
    from cbam_ablate.sweep.keep import packed
    from cbam_ablate.training.evaluate import autocast, evaluate
    from cbam_ablate.training.outputs import Outputs

    torch.set_num_threads(1)
    cpu = torch.device("cpu")
    cfg = load_config(["data=cifar10", "backbone=resnet_cifar", "depth=20"])
    model = build_model(cfg)
    images, labels = torch.randn(500, 3, 32, 32), torch.randint(0, 10, (500,))
    images = images.contiguous(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)

    numbers = {"test": np.arange(10_000), "val": np.arange(5_000)}
    feed = SimpleNamespace(classes=10, sha256=64 * "0", numbers=numbers)

    def train() -> float:
        started = time.perf_counter()
        for batch, truth in zip(images.split(125), labels.split(125), strict=True):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(batch), truth).backward()
            optimizer.step()
        return (time.perf_counter() - started) / 500

    def validate() -> float:
        started = time.perf_counter()
        evaluate(model, [(images, labels)], cpu, autocast(cpu, "fp32"))
        return (time.perf_counter() - started) / 500

    def keep() -> float:
        started = time.perf_counter()
        outputs = {}
        for part, count in (("test", 20), ("last_test", 20), ("val", 10)):
            outputs[part] = Outputs("all")
            for _ in range(count):
                outputs[part].add(torch.randn(500, 10), labels)
        packed("0" * 16, feed, outputs, {"epoch": 9, "epochs": 10})  # type: ignore[arg-type]
        return time.perf_counter() - started

    train(), validate(), keep()
    shares = []
    for _ in range(rounds):
        step, look, extra = train(), validate(), keep()
        whole = 10 * (45_000 * step + 5_000 * look) + 20_000 * look
        shares.append((extra + 5_000 * look) / whole)
    return {"share_of_a_run": statistics.median(shares)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--part", choices=("job", "table", "metrics"))
    given = parser.parse_args()
    parts = {"metrics": metrics, "job": job, "table": lambda: table(given.runs)}
    for name, measure in parts.items():
        if given.part in (None, name):
            print(json.dumps({name: measure()}), flush=True)


if __name__ == "__main__":
    main()
