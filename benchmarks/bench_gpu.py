"""All figures that need a GPU, most wanted first, in the minutes given: `make bench-gpu`.

    python benchmarks/bench_gpu.py [--minutes 10] [--parts "batch 4" ...] [--small] [--json FILE]

Each part is one of the other benchmarks in a process of its own and is stored as it ends, so that what was
measured stays when the time is up; `--parts` adds to what is there. `--small` tries all of it with little
work, on a CPU too.
"""

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent
CIFAR = "backbone=resnet_cifar depth=20"
RESNET, VGG = "backbone=resnet depth={}", "backbone=vgg depth=19"
CBAM = " placement=block"
ARMS = ["plain", "tuned", "ours", "eager", "compiled"]


def steps(networks: list[str], arms: list[str], images: int, rounds: int, *words: str) -> list[str]:
    command = ["bench_step.py", *words, "--networks", *networks, "--arms", *arms]
    return [*command, "--images", str(images), "--rounds", str(rounds)]


def fused(width: int, batches: list[int], runs: int, steps: int, rounds: int) -> list[str]:
    command = ["bench_fused.py", "--widths", str(width), "--batches", *map(str, batches)]
    return [*command, "--runs", str(runs), "--steps", str(steps), "--rounds", str(rounds)]


def parts(small: bool) -> dict[str, list[str]]:
    """The commands by name, most wanted first."""
    if small:
        shallow = "backbone=resnet_cifar depth=8"
        less = ["model.width=4", "reduction=4", "train.batch_size=16", "data=synthetic", "data.val_size=100"]
        return {
            "networks": steps([shallow + CBAM], ARMS, 160, 1, *less),
            "fused": fused(4, [4], 2, 2, 1),
            "fused, eager": [*fused(4, [4], 2, 5, 1), "--compile", "off"],
            "sweep": [
                *("bench_sweep.py", *shallow.split(), *less, "train.epochs=1"),
                *("--runs", "2", "--sample", "1"),
            ],
            "start-up": ["bench_startup.py", *shallow.split(), *less, "data.train_size=200", "--runs", "2"],
            "accuracy": [
                *steps([shallow], ["plain"], 160, 1, *less, "optimizer.lr=0.05"),
                *("--accuracy", "--epochs", "1"),
            ],
        }
    both = [RESNET.format(18), RESNET.format(18) + CBAM]
    deep = [RESNET.format(depth) for depth in (34, 50)] + [VGG]
    eager_and_not = ["tuned", "ours", "compiled"]
    return {
        "networks": steps(both, ARMS, 12_800, 4),
        "batch 4": steps(both[1:], eager_and_not, 2000, 3, "train.batch_size=4"),
        "fused": [*fused(16, [4, 32], 8, 128, 3), "--data", "cifar10"],
        "fused, eager": [*fused(16, [4, 32], 8, 16, 3), "--data", "cifar10", "--compile", "off"],
        "sweep": ["bench_sweep.py"],
        "start-up": ["bench_startup.py"],
        "accuracy": [*steps([CIFAR], ["plain"], 10_000, 1), "--accuracy", "--epochs", "4"],
        "small": steps([CIFAR, CIFAR + CBAM], eager_and_not, 25_600, 4),
        "deep": steps(deep, ["tuned", "compiled"], 12_800, 2),
        "deepest": steps([RESNET.format(152)], ["tuned", "compiled"], 12_800, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--parts", nargs="+", help="only these")
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--json", type=Path, default=HERE / "gpu.json")
    asked = parser.parse_args()
    every = parts(asked.small)
    if unknown := set(asked.parts or ()) - set(every):
        parser.error(f"--parts {sorted(unknown)}: there are {', '.join(every)}")
    found = json.loads(asked.json.read_text()) if asked.parts and asked.json.exists() else {}
    deadline = time.monotonic() + 60 * asked.minutes
    for name in asked.parts or every:
        command = every[name]
        left = deadline - time.monotonic()
        if left < 5:
            print(f"no time left for: {name}")
            continue
        print(f"\n# {name}", flush=True)
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "found.json"
            part = subprocess.Popen(
                [sys.executable, HERE / command[0], *command[1:], "--json", file], start_new_session=True
            )
            try:
                code = part.wait(left)
                found[name] = json.loads(file.read_text()) if file.exists() else {"failed": code}
            except subprocess.TimeoutExpired:
                found[name] = {"failed": "out of time"}
            finally:  # a part has processes of its own
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(part.pid, signal.SIGKILL)
                part.wait()
        asked.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
