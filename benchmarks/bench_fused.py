"""How much faster runs train together (`hydra/launcher=fused`) than one after another.

    python benchmarks/bench_fused.py [--device cpu] [--widths 4 16] [--batches 4 8 32] [--runs 4 8]
                                     [--placements block] [--precision auto] [--threads 1] [--steps 8]
                                     [--rounds 5] [--compile auto] [--data synthetic] [--json FILE]

The training loops themselves, on ResNet-20, batches and optimiser included; whole sweeps: bench_sweep.py.
In each round both arms train the same number of steps, in turn; the ratio of a row is the median over rounds.
On a CPU with several cores give `--threads 1`: both launchers then use a process a core.
"""

import argparse
import itertools
import json
import platform
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from cbam_ablate.accel import accelerate_run
from cbam_ablate.accel.fused.trainer import FusedTrainer, Lane
from cbam_ablate.config import load_config
from cbam_ablate.config.seeds import derive_seed
from cbam_ablate.data import Feed
from cbam_ablate.data.loader import load_splits
from cbam_ablate.data.together import train_together
from cbam_ablate.models import build_model
from cbam_ablate.training import Trainer
from cbam_ablate.training.device import device_name, pick_device, pick_precision, use


class Nowhere:
    """A run's log that keeps nothing."""

    last = best = Path("/dev/null")

    def line(self, text: str) -> None:
        print(text, file=sys.stderr)

    def ignore(self, *_: Any, **__: Any) -> None:
        pass

    def stamp(self, **_: Any) -> dict[str, Any]:
        return {}

    check = progress = epoch = rewrite_history = ignore


def trainers(options: argparse.Namespace, row: dict[str, Any]) -> tuple[list[Trainer], FusedTrainer]:
    """The same runs twice, to be trained separately and together."""
    device = pick_device(options.device)
    precision = pick_precision(options.precision, device)
    words = [
        f"data={options.data}", "backbone=resnet_cifar", "reduction=4", f"model.width={row['width']}",
        f"placement={row['placement']}", f"train.batch_size={row['batch']}", "train.epochs=1000",
        f"data.train_size={max(10, row['batch'] * options.steps)}", "train.log_every=0",
        f"train.compile={options.compile}",
    ]  # fmt: skip
    splits = load_splits(load_config(words), device)
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    made: dict[type[Trainer], list[Any]] = {Trainer: [], Lane: []}
    for kind, found in made.items():
        for seed in range(row["runs"]):
            cfg = load_config([*words, f"seed={seed}"])
            torch.manual_seed(derive_seed(seed, "weights"))
            model, feed = build_model(cfg), Feed(cfg, splits, dtype)
            make_steps = accelerate_run(cfg, model, device)
            how = {"make_steps": make_steps} if kind is Trainer else {}
            found.append(kind(cfg, model, feed, Nowhere(), device, precision, **how))
    return made[Trainer], FusedTrainer(made[Lane], lambda lane, end: None, batches=train_together)


def timed(work: Callable[[], object], device: torch.device) -> float:
    """Seconds of some work, the device's included."""
    started = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started


def bench_steps(options: argparse.Namespace, row: dict[str, Any]) -> dict[str, Any]:
    """Images a second of both arms, and the median of the rounds' ratios."""
    separate, fused = trainers(options, row)
    device = separate[0].device

    def one_after_another() -> None:
        for trainer in separate:
            trainer.done.step = 0
            trainer._train_epoch()

    def together() -> None:
        for lane in fused.lanes:
            lane.done.step = 0
        fused.train_epoch()

    one_after_another(), together()
    pairs = []
    for number in range(options.rounds):
        arms = [one_after_another, together]
        times = {arm: timed(arm, device) for arm in (arms if number % 2 else arms[::-1])}
        pairs.append((times[one_after_another], times[together]))
    images = row["runs"] * row["batch"] * separate[0].feed.steps
    return {
        **row,
        "separate_images_per_second": images / statistics.median(pair[0] for pair in pairs),
        "fused_images_per_second": images / statistics.median(pair[1] for pair in pairs),
        "ratio": statistics.median(pair[0] / pair[1] for pair in pairs),
        "ratios": [pair[0] / pair[1] for pair in pairs],
        "recorded": {
            "separate": all(trainer.steps.recorded.loss is not None for trainer in separate),
            "fused": fused.recorded.loss is not None,
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="auto")
    parser.add_argument("--widths", type=int, nargs="+", default=[4, 16])
    parser.add_argument("--batches", type=int, nargs="+", default=[4, 8, 32])
    parser.add_argument("--runs", type=int, nargs="+", default=[4, 8])
    parser.add_argument("--placements", nargs="+", default=["block"])
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--compile", default="auto", help="train.compile of all runs")
    parser.add_argument("--data", default="synthetic")
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    device = pick_device(options.device)
    use(device, options.threads)
    precision = pick_precision(options.precision, device)
    print(f"{device_name(device)}, {torch.get_num_threads()} threads, {precision}, torch {torch.__version__}")
    found = []
    grid = itertools.product(options.placements, options.widths, options.batches, options.runs)
    rows = [dict(zip(("placement", "width", "batch", "runs"), values, strict=True)) for values in grid]
    print("placement width batch runs | images/s separate    fused | fused over separate (least, most)")
    for row in rows:
        done = bench_steps(options, row)
        found.append(done)
        print(
            f"{row['placement']:9} {row['width']:5} {row['batch']:5} {row['runs']:4} | "
            f"{done['separate_images_per_second']:17.0f} {done['fused_images_per_second']:8.0f} | "
            f"{done['ratio']:.2f} ({min(done['ratios']):.2f}, {max(done['ratios']):.2f})",
            flush=True,
        )
    if options.json:
        about = {
            "device": device_name(device),
            "threads": torch.get_num_threads(),
            "precision": precision,
            "versions": {"torch": torch.__version__, "python": platform.python_version()},
            "options": {name: str(value) for name, value in vars(options).items()},
        }
        options.json.write_text(json.dumps({**about, "steps": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
