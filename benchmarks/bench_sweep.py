"""A sweep of short runs beside one command after another, whole: start-up, training, evaluation and table.

    python benchmarks/bench_sweep.py [OVERRIDES ...] [--runs 32] [--sample 3] [--rounds 1] [--json FILE]

The runs are seeds of ResNet-20 with CBAM in every block at batch 32, on generated images. One command after
another is `--sample` commands of a run each, times the number of runs: they all take as long. Ratios are of
that to the sweep's time, by the launcher.
"""

import argparse
import json
import platform
import statistics
import tempfile
from importlib import metadata
from pathlib import Path
from typing import Any

from bench_startup import merged, seconds

SHORT = ["backbone=resnet_cifar", "depth=20", "placement=block", "reduction=4", "data=synthetic"]
SHORT += ["train.batch_size=32", "train.epochs=4"]
LAUNCHERS = ("local", "fused")


def measured(words: list[str], runs: int, sample: int) -> dict[str, Any]:
    """One round: seconds of each command of the sample, of the sweep by each launcher, and the ratios."""
    with tempfile.TemporaryDirectory() as folder:
        alone = [seconds("train", *words, f"seed={seed}", f"store={folder}/alone") for seed in range(sample)]
        swept = {
            name: seconds(
                *("train", "-m", *words, f"seed=range({runs})"),
                *(f"hydra/launcher={name}", f"store={folder}/{name}"),
            )
            for name in LAUNCHERS
        }
    one_by_one = runs * statistics.mean(alone)
    return {"alone": alone, **swept, "ratios": {name: one_by_one / swept[name] for name in LAUNCHERS}}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("words", nargs="*", help="further overrides")
    parser.add_argument("--runs", type=int, default=32)
    parser.add_argument("--sample", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    if min(asked.runs, asked.sample, asked.rounds) < 1:
        parser.error("--runs, --sample and --rounds are at least 1")
    rounds = []
    for _ in range(asked.rounds):
        rounds.append(found := measured(merged([*SHORT, *asked.words]), asked.runs, asked.sample))
        alone = ", ".join(f"{took:.1f}" for took in found["alone"])
        swept = ", ".join(
            f"{name} {found[name]:.1f} s, {found['ratios'][name]:.1f} times faster" for name in LAUNCHERS
        )
        print(f"{asked.runs} runs: a command of its own {alone} s each; {swept}", flush=True)
    from cbam_ablate.training.device import device_name, pick_device

    about = {
        "device": device_name(pick_device("auto")),
        "torch": metadata.version("torch"),
        "python": platform.python_version(),
        "words": asked.words,
        "runs": asked.runs,
    }
    print(f"{about['device']}, torch {about['torch']}, Python {about['python']}")
    if asked.json:
        ratios = {name: statistics.median(one["ratios"][name] for one in rounds) for name in LAUNCHERS}
        asked.json.write_text(json.dumps({**about, "ratios": ratios, "rounds": rounds}, indent=1) + "\n")


if __name__ == "__main__":
    main()
