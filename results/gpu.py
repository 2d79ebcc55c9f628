"""Studies that want a GPU, most wanted first, in the hours given: `make results-gpu HOURS=0.4`.

Each has a store of its own, outputs/gpu/<name>, and is exported to results/<name> when it ends or the time is
up. The same command goes on where it stopped; finished runs that results/ holds are not trained again.
"""

import argparse
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

RESULTS = Path(__file__).parent
SHORT = ("train.epochs=30", "schedule.warmup_epochs=2")
STUDIES = {
    "placement_resnet18": ("study=placement", *SHORT),
    "seed_resnet18": ("study=seed_resnet18", "hydra/launcher=fused"),
    "seed_vgg19_cifar10": ("study=seed_vgg19", "data=cifar10"),
    "residual_attention56": ("study=residual_attention", "depth=56", "train.epochs=40"),
    "cbam_table1_resnet18": ("study=cbam_table1", "depth=18", *SHORT),
    "cbam_table2_resnet18": ("study=cbam_table2", "depth=18", *SHORT),
    "cbam_table3_resnet18": ("study=cbam_table3", "depth=18", *SHORT),
}
LEAST = 60
"""Seconds below which a study isn't begun."""
CTRL_C = 130
PATIENCE = 120
"""Seconds that runs at work have to save when the time is up."""


def train(words: list[str], seconds: float) -> int:
    """Runs a sweep for so long at most, then as Ctrl-C does; returns its exit code."""
    process = subprocess.Popen([sys.executable, "-m", "cbam_ablate", "train", *words])
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGINT)
        process.wait(PATIENCE)
    return process.returncode


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--hours", type=float, default=0.4)
    parser.add_argument("--only", nargs="+", choices=STUDIES, default=list(STUDIES), metavar="NAME")
    parser.add_argument("--to", type=Path, default=RESULTS, help="where exports go")
    parser.add_argument("words", nargs="*", help="further overrides of every study")
    asked = parser.parse_args()
    deadline = time.monotonic() + 3600 * asked.hours
    for name in asked.only:
        left = deadline - time.monotonic()
        if left < LEAST:
            print(f"no time left for {name}")
            break
        store = Path("outputs/gpu") / name
        for run in (asked.to / name / "runs").glob("*"):
            if not (store / "runs" / run.name).exists():
                shutil.copytree(run, store / "runs" / run.name)
        print(f"\n# {name}: at most {left / 60:.0f} min", flush=True)
        words = {word.partition("=")[0]: word for word in (*STUDIES[name], *asked.words, f"store={store}")}
        code = train([*words.values()], left)
        if code == CTRL_C:
            print(f"{name}: the time is up; the same command goes on")
        if not list(store.glob("studies/*/manifest.json")):
            raise SystemExit(code)
        study = STUDIES[name][0]
        export = [sys.executable, "-m", "cbam_ablate", "export", study, f"store={store}"]
        subprocess.run([*export, f"to={asked.to / name}"], check=True)


if __name__ == "__main__":
    main()
