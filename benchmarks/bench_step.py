"""Images a second of training, beside the loop most people write and a tuned eager one, in one run.

    python benchmarks/bench_step.py [--networks "depth=20" ...] [--arms plain ours] [--before PATH]

Every arm of every network is a process, which waits while others are measured. A round is an epoch of each,
one after another, every other round in the other order; the first epoch of each, and compiling, come before.
Two processes of one program differ by up to 5 % for as long as they live, so `--starts` makes them anew that
often, in the other order each time. Printed are medians, and medians of the ratios within a round: to the
first arm, and `of first` to the first network's same arm. `of matmul` is 6 FLOP a MAC and image over the
matrix-multiply rate that the same process measured, in bf16 where the run computes in bf16; `data` is the
part of the step that the data path takes. Arms:

    plain     PIL transforms, DataLoader with 2 workers, fp32, NCHW, eager, `.item()` every step
    tuned     data on the device, bf16, channels_last, eager, PyTorch's own operators
    ours      this package as it comes, on CUDA with recorded steps
    eager     `train.compile=off`
    off       `train.accel=off`
    before    `ours` of another checkout, `--before PATH`, to which the ratios then are
    compiled  `train.compile=on`
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
from functools import cache
from pathlib import Path
from typing import Any

NETWORKS = [
    "backbone=resnet_cifar depth=20",
    "backbone=resnet_cifar depth=20 placement=block",
    "backbone=resnet depth=18",
    "backbone=resnet depth=18 placement=block",
]
ARMS = ["plain", "tuned", "ours", "jobs"]
ALL_ARMS = [*ARMS, "eager", "compiled", "off"]
COMPILE = {"compiled": "on", "ours": "auto"}
PATIENCE = 0.05
"""Seconds of a matrix multiplication beyond which none of twice the size is measured."""
OFF = {"tuned", "off"}
"""Arms without acceleration."""


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


class Ours:
    """A run of this package's, an epoch at a time."""

    def __init__(self, cfg: Any, device: Any, folder: Path) -> None:
        import torch

        from cbam_ablate import build_model, model_cost
        from cbam_ablate.accel import accelerate_run
        from cbam_ablate.config.seeds import derive_seed
        from cbam_ablate.data import make_feed
        from cbam_ablate.training import Trainer
        from cbam_ablate.training.device import pick_precision

        self.device, self.flop = device, 6 * model_cost(cfg).macs
        precision = pick_precision(cfg.train.precision, device)
        torch.manual_seed(derive_seed(cfg.seed, "weights"))
        self.feed = make_feed(cfg, device, precision)
        model = build_model(cfg)
        make_steps = accelerate_run(cfg, model, device)
        log = Quiet(folder)
        self.trainer = Trainer(cfg, model, self.feed, log, device, precision, make_steps=make_steps)

    def epoch(self) -> dict[str, float]:
        done = self.trainer.done
        done.step = 0
        self.trainer._train_epoch()
        done.epoch += 1
        rate = done.step * self.trainer.cfg.train.batch_size / done.epoch_seconds
        began, count = time.perf_counter(), 0
        for images, _ in self.feed.train(0, 0):
            count += len(images)
        wait(self.device)
        share = rate * (time.perf_counter() - began) / count
        return {
            "rate": rate,
            "data": share,
            "of matmul": self.flop * rate / matmul_rate(self.device, self.trainer.precision),
            "recorded": float(is_recorded(self.trainer.steps)),
            "compiled": float(self.trainer.steps.network is not self.trainer.model),
        }

    def accuracy(self) -> float:
        return self.trainer.run().metrics["last_test_top1"]


@cache
def matmul_rate(device: Any, precision: str) -> float:
    """FLOP a second of matrix multiplication, the best of five of each size that doesn't take long."""
    import torch

    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    most, size, best = 8192 if device.type == "cuda" else 2048, 256, 0.0
    while size <= most:
        a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
        for _ in range(5):
            wait(device)
            began = time.perf_counter()
            a @ b
            wait(device)
            took = time.perf_counter() - began
            best = max(best, 2 * size**3 / took)
        size = 2 * size if took < PATIENCE else most + 1
    return best


def is_recorded(steps: Any) -> bool:
    return hasattr(steps, "recorded") and steps.recorded.loss is not None


def one(arm: str, words: list[str], threads: int, test: bool) -> None:
    """An arm's process: prints its test accuracy, or an epoch's speed for each line that it reads."""
    import tempfile

    import torch

    from cbam_ablate import load_config
    from cbam_ablate.training.device import pick_device, use

    if threads:
        torch.set_num_threads(threads)
    how = f"train.compile={COMPILE.get(arm, 'off')}"
    cfg = load_config(["train.log_every=0", *words, how, f"train.accel={'off' if arm in OFF else 'auto'}"])
    device = pick_device(cfg.train.device)
    if arm == "tuned":
        torch.backends.cudnn.benchmark = True
    elif arm != "plain":
        use(device, threads)
    with tempfile.TemporaryDirectory() as folder:
        if arm == "plain":
            from plain import Plain

            run: Any = Plain(cfg, device)
        else:
            run = Ours(cfg, device, Path(folder))
        if test:
            print(json.dumps({"accuracy": run.accuracy()}))
            return
        run.epoch()
        print("ready", flush=True)
        for _ in sys.stdin:
            print(json.dumps(run.epoch()), flush=True)


def wait(device: Any) -> None:
    import torch

    if device.type == "cuda":
        torch.cuda.synchronize()


class Arm:
    """The processes of one arm: one, or of `jobs` one a core."""

    def __init__(self, arm: str, network: str, words: list[str], asked: argparse.Namespace) -> None:
        self.name = f"{arm}, {network}"
        cores = len(os.sched_getaffinity(0)) if arm == "jobs" else 1
        threads = 1 if arm == "jobs" else asked.threads
        script, environment, which = __file__, {**os.environ}, arm
        if arm == "before":
            script, which = str(asked.before / "benchmarks" / Path(__file__).name), "ours"
            environment["PYTHONPATH"] = str(asked.before)
        command = [sys.executable, "-W", "ignore", script, "--one", which, "--threads", str(threads)]
        command += ["--accuracy"] * asked.accuracy
        self.processes = [
            subprocess.Popen(
                [*command, *network.split(), *words],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment,
            )
            for _ in range(cores)
        ]  # fmt: skip

    def heard(self) -> list[str]:
        """The next line of each process."""
        lines = [process.stdout.readline() for process in self.processes]  # type: ignore[union-attr]
        if not all(lines):
            raise SystemExit(f"{self.name}: ended too soon")
        return lines

    def round(self) -> dict[str, float]:
        for process in self.processes:
            print(file=process.stdin, flush=True)
        found = [json.loads(line) for line in self.heard()]
        return {
            name: (sum if name == "rate" else statistics.mean)(each[name] for each in found)
            for name in found[0]
        }

    def end(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()


def speed(asked: argparse.Namespace) -> list[dict[str, Any]]:
    size = [f"data.train_size={asked.images}", "data.val_size=500", f"train.epochs={asked.rounds + 1}"]
    rounds: list[dict[tuple[str, str], dict[str, float]]] = []
    names = [(arm, network) for arm in asked.arms for network in asked.networks]
    for _ in range(asked.starts):
        running: dict[tuple[str, str], Arm] = {}
        names.reverse()
        try:
            for arm, network in names:
                running[arm, network] = Arm(arm, network, [*size, *asked.words], asked)
                running[arm, network].heard()
            for _ in range(asked.rounds):
                rounds.append({})
                order = list(running) if len(rounds) % 2 else list(reversed(running))
                for arm, network in order:
                    rounds[-1][arm, network] = found = running[arm, network].round()
                    print(f"round {len(rounds)}, {network}, {arm}: {found['rate']:.0f}", file=sys.stderr)
        finally:
            for one_of in running.values():
                one_of.end()
    rows = []
    for network in asked.networks:
        print(f"\n{network}: median of {len(rounds)} rounds")
        print(f"{'':<10}{'images/s':>10}{'ratio':>8}{'of first':>10}{'of matmul':>11}{'data':>8}")
        for arm in asked.arms:
            found_here = [each[arm, network] for each in rounds]
            row: dict[str, Any] = {"network": network, "arm": arm, "rounds": found_here}
            for name in found_here[0]:
                row[name] = statistics.median(each[name] for each in found_here)
            row["ratio"] = ratio(rounds, (arm, network), (asked.arms[0], network))
            row["of first"] = ratio(rounds, (arm, network), (arm, asked.networks[0]))
            rows.append(row)
            shares = [f"{100 * row[name]:.1f} %" if name in row else "" for name in ("of matmul", "data")]
            ratios = f"{row['ratio']:8.2f}{row['of first']:10.2f}"
            print(f"{arm:<10}{row['rate']:10.0f}{ratios}{shares[0]:>11}{shares[1]:>8}", flush=True)
    return rows


def ratio(rounds: list[dict[Any, dict[str, float]]], one: Any, other: Any) -> float:
    return statistics.median(each[one]["rate"] / each[other]["rate"] for each in rounds)


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
                process = Arm(arm, network, [*words, f"seed={seed}"], asked)
                scores.append(json.loads(process.heard()[0])["accuracy"])
                process.end()
        gaps = [ours - plain for ours, plain in zip(found["ours"], found["plain"], strict=True)]
        mean, half = statistics.mean(gaps), stats.t.ppf(0.975, 2) * statistics.stdev(gaps) / 3**0.5
        print(f"{network}: plain {found['plain']}, ours {found['ours']}, difference {mean:+.2f} ± {half:.2f}")
        rows.append({"network": network, **found, "difference": mean, "half": half})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("words", nargs="*", help="further overrides")
    parser.add_argument("--networks", nargs="+", default=NETWORKS)
    parser.add_argument("--arms", nargs="+", choices=ALL_ARMS, default=ARMS, metavar="ARM")
    parser.add_argument("--before", type=Path, help="another checkout, whose `ours` becomes the first arm")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--starts", type=int, default=1, help="how often, each with processes of its own")
    parser.add_argument("--images", type=int, default=2560, help="training images an epoch")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads; 0 is all cores")
    parser.add_argument("--accuracy", action="store_true")
    parser.add_argument("--epochs", type=int, default=4, help="with --accuracy")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.before is not None:
        asked.before, asked.arms = asked.before.resolve(), ["before", *asked.arms]
    if asked.one:
        one(asked.one, asked.words, asked.threads, asked.accuracy)
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
