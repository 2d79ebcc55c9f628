"""Images a second of training, beside the loop most people write and a tuned eager one, in one run.

    python benchmarks/bench_step.py [--networks "depth=20" ...] [--arms plain ours] [--rounds 3]

Every round runs every arm of every network once, one after another, each in a process of its own, two epochs
of it, of which the second is timed; compiling comes before it. Printed are medians, and medians of the ratios
within a round: to the first arm, and `of first` to the first network's same arm. `of matmul` is 6 FLOP a MAC
and image over the bf16 matrix-multiply rate that the same process measured; `data` is the part of the step
that the data path takes. Arms:

    plain     PIL transforms, DataLoader with 2 workers, fp32, NCHW, eager, `.item()` every step
    tuned     data on the device, bf16, channels_last, eager, PyTorch's own operators
    ours      this package as it comes
    compiled  `train.compile=on`
    graph     CUDA: `train.compile=graph`
    jobs      CPU: one job of one thread on each core at the same time, their sum

`--accuracy` trains `ours` and `plain` over three seeds instead, and prints the paired difference of the test
accuracy with its 95 % interval.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

NETWORKS = [
    "backbone=resnet_cifar depth=20",
    "backbone=resnet_cifar depth=20 placement=block",
    "backbone=resnet depth=18",
    "backbone=resnet depth=18 placement=block",
]
ARMS = ["plain", "tuned", "ours", "jobs"]
COMPILE = {"compiled": "on", "graph": "graph"}
EXTRA = {"tuned": {"CBAM_ABLATE_KERNELS": "off"}}


class Quiet:
    """A run's log that keeps nothing but the history."""

    def __init__(self, folder: Path) -> None:
        self.last, self.best = folder / "last.pt", folder / "best.pt"

    def line(self, text: str) -> None:
        if "torch.compile" in text or "CUDA graph" in text:
            print(text, file=sys.stderr)

    def progress(self, **values: Any) -> None: ...
    def epoch(self, record: dict[str, Any]) -> None: ...
    def rewrite_history(self, records: list[dict[str, Any]]) -> None: ...


def one(arm: str, words: list[str], threads: int, test: bool) -> dict[str, float]:
    """What an arm's own process measures: its speed, or its accuracy on the test set."""
    import tempfile

    import torch

    from cbam_ablate import build_model, load_config, model_cost
    from cbam_ablate.config.seeds import derive_seed
    from cbam_ablate.data import make_feed
    from cbam_ablate.sweep.job import use
    from cbam_ablate.training import Trainer
    from cbam_ablate.training.device import pick_device, pick_precision

    if threads:
        torch.set_num_threads(threads)
    cfg = load_config(["train.log_every=0", *words, f"train.compile={COMPILE.get(arm, 'off')}"])
    device = pick_device(cfg.train.device)
    if arm == "plain":
        from plain import train

        rate, accuracy = train(cfg, device, test=test)
        return {"accuracy": accuracy} if test else {"rate": rate}
    if arm != "tuned":
        use(device, threads)
    precision = pick_precision(cfg.train.precision, device)
    torch.manual_seed(derive_seed(cfg.seed, "weights"))
    with tempfile.TemporaryDirectory() as folder:
        feed = make_feed(cfg, device, precision)
        trainer = Trainer(cfg, build_model(cfg), feed, Quiet(Path(folder)), device, precision)
        if test:
            return {"accuracy": trainer.run().metrics["last_test_top1"]}
        for epoch in range(cfg.train.epochs):
            trainer.done.epoch, trainer.done.step = epoch, 0
            trainer._train_epoch()
    rate = trainer.done.step * cfg.train.batch_size / trainer.done.epoch_seconds
    found = {"rate": rate}
    began, count = time.perf_counter(), 0
    for images, _ in feed.train(0, 0):
        count += len(images)
    wait(device)
    found["data"] = rate * (time.perf_counter() - began) / count
    found["of matmul"] = 6 * model_cost(cfg).macs * rate / matmul_rate(device)
    return found


def wait(device: Any) -> None:
    import torch

    if device.type == "cuda":
        torch.cuda.synchronize()


def matmul_rate(device: Any) -> float:
    """FLOP a second of bf16 matrix multiplication, the best of five."""
    import torch

    size = 8192 if device.type == "cuda" else 2048
    a, b = (torch.randn(size, size, device=device).bfloat16() for _ in range(2))
    best = 0.0
    for _ in range(5):
        wait(device)
        began = time.perf_counter()
        a @ b
        wait(device)
        best = max(best, 2 * size**3 / (time.perf_counter() - began))
    return best


def start(arm: str, network: str, words: list[str], threads: int, test: bool) -> subprocess.Popen[str]:
    command = [sys.executable, "-W", "ignore", __file__, "--one", arm, "--threads", str(threads)]
    command += ["--accuracy"] if test else []
    environment = {**os.environ, **EXTRA.get(arm, {})}
    return subprocess.Popen(
        [*command, *network.split(), *words], stdout=subprocess.PIPE, text=True, env=environment
    )


def measure(arm: str, network: str, words: list[str], threads: int, test: bool = False) -> dict[str, float]:
    """One round of one arm."""
    cores = len(os.sched_getaffinity(0)) if arm == "jobs" else 1
    running = [start(arm, network, words, 1 if arm == "jobs" else threads, test) for _ in range(cores)]
    found = [json.loads(job.communicate()[0].splitlines()[-1]) for job in running]
    return {
        name: (sum if name == "rate" else statistics.mean)(each[name] for each in found) for name in found[0]
    }


def speed(asked: argparse.Namespace) -> list[dict[str, Any]]:
    rows = []
    words = [f"data.train_size={asked.images}", "data.val_size=500", "train.epochs=2", *asked.words]
    found: dict[str, list[dict[str, dict[str, float]]]] = {network: [] for network in asked.networks}
    for number in range(asked.rounds):
        for network, rounds in found.items():
            rounds.append({arm: measure(arm, network, words, asked.threads) for arm in asked.arms})
            said = ", ".join(f"{arm} {each['rate']:.0f}" for arm, each in rounds[-1].items())
            print(f"round {number + 1}, {network}: {said}", file=sys.stderr)
    first = found[asked.networks[0]]
    for network, rounds in found.items():
        print(f"\n{network}: median of {asked.rounds} rounds")
        print(f"{'':<10}{'images/s':>10}{'ratio':>8}{'of first':>10}{'of matmul':>11}{'data':>8}")
        for arm in asked.arms:
            row: dict[str, Any] = {"network": network, "arm": arm, "rounds": [each[arm] for each in rounds]}
            for name in rounds[0][arm]:
                row[name] = statistics.median(each[arm][name] for each in rounds)
            row["ratio"] = statistics.median(
                each[arm]["rate"] / each[asked.arms[0]]["rate"] for each in rounds
            )
            row["of first"] = statistics.median(
                each[arm]["rate"] / plain[arm]["rate"] for each, plain in zip(rounds, first, strict=True)
            )
            rows.append(row)
            shares = [f"{100 * row[name]:.1f} %" if name in row else "" for name in ("of matmul", "data")]
            ratios = f"{row['ratio']:8.2f}{row['of first']:10.2f}"
            print(f"{arm:<10}{row['rate']:10.0f}{ratios}{shares[0]:>11}{shares[1]:>8}", flush=True)
    return rows


def accuracy(asked: argparse.Namespace) -> list[dict[str, Any]]:
    from scipy import stats

    rows = []
    for network in asked.networks:
        words = [
            f"data.train_size={asked.images}",
            "data.val_size=500",
            f"train.epochs={asked.epochs}",
            *asked.words,
        ]
        found: dict[str, list[float]] = {"plain": [], "ours": []}
        for seed in range(3):
            for arm, scores in found.items():
                found_here = measure(arm, network, [*words, f"seed={seed}"], asked.threads, True)
                scores.append(found_here["accuracy"])
        gaps = [ours - plain for ours, plain in zip(found["ours"], found["plain"], strict=True)]
        mean, half = statistics.mean(gaps), stats.t.ppf(0.975, 2) * statistics.stdev(gaps) / 3**0.5
        print(f"{network}: plain {found['plain']}, ours {found['ours']}, difference {mean:+.2f} ± {half:.2f}")
        rows.append({"network": network, **found, "difference": mean, "half": half})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("words", nargs="*", help="further overrides")
    parser.add_argument("--networks", nargs="+", default=NETWORKS)
    parser.add_argument("--arms", nargs="+", default=ARMS)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--images", type=int, default=2560, help="training images an epoch")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads; 0 is all cores")
    parser.add_argument("--accuracy", action="store_true")
    parser.add_argument("--epochs", type=int, default=4, help="with --accuracy")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        print(json.dumps(one(asked.one, asked.words, asked.threads, asked.accuracy)))
        return
    import torch

    device = torch.cuda.get_device_name() if torch.cuda.is_available() else platform.processor() or "cpu"
    print(f"{device}, {os.cpu_count()} cores, torch {torch.__version__}, Python {platform.python_version()}")
    rows = (accuracy if asked.accuracy else speed)(asked)
    if asked.json:
        asked.json.write_text(
            json.dumps({"device": device, "torch": torch.__version__, "rows": rows}, indent=1)
        )


if __name__ == "__main__":
    main()
