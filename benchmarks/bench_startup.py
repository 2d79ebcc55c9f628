"""Start-up: of commands, and of the jobs that a warm process trains one after another.

    python benchmarks/bench_startup.py [OVERRIDES ...] [--runs 12] [--json FILE]

Trains short runs of ResNet-20 with CBAM in every block on CIFAR-10 in this process (`hydra.launcher.jobs=0`),
then some more in a process each. What a job takes beyond training is its time less that of training,
validation and testing; the first job of the process, which has more to set up, doesn't count.
"""

import argparse
import contextlib
import io
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

PROGRAM = [sys.executable, "-m", "cbam_ablate"]
SHORT = ["backbone=resnet_cifar", "depth=20", "placement=block", "data=cifar10", "data.train_size=640"]
SHORT += ["data.val_size=500", "train.epochs=1"]


def merged(words: Sequence[str]) -> list[str]:
    """The words with one value for each option, the last that was said."""
    return list({word.partition("=")[0]: word for word in words}.values())


def seconds(*words: str) -> float:
    """What a command takes."""
    began = time.perf_counter()
    done = subprocess.run([*PROGRAM, *words], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    return time.perf_counter() - began


@contextlib.contextmanager
def timed(place: Any, name: str) -> Iterator[list[float]]:
    """The seconds that each call of a function takes."""
    function: Callable[..., Any] = getattr(place, name)
    found: list[float] = []

    def call(*given: Any, **named: Any) -> Any:
        began = time.perf_counter()
        try:
            return function(*given, **named)
        finally:
            found.append(time.perf_counter() - began)

    setattr(place, name, call)
    try:
        yield found
    finally:
        setattr(place, name, function)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("words", nargs="*", help="further overrides")
    parser.add_argument("--runs", type=int, default=12)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    runs = asked.runs
    times = 3 if runs > 2 else 1

    from cbam_ablate.cli import main as program
    from cbam_ablate.sweep import job
    from cbam_ablate.training import Trainer
    from cbam_ablate.training.device import device_name, pick_device

    with tempfile.TemporaryDirectory() as folder:
        words = ["train", *merged([*SHORT, *asked.words]), f"store={folder}"]
        sys.argv = ["cbam-ablate", *words, "-m", f"seed=range({runs})", "hydra.launcher.jobs=0"]
        quiet = contextlib.redirect_stdout(io.StringIO())
        ends = contextlib.suppress(SystemExit)
        with quiet, ends, timed(job, "run_cell") as jobs, timed(Trainer, "run") as training:
            program()
        if len(training) < 2:
            raise SystemExit("this takes at least two runs that end")
        (study,) = (path.name for path in Path(folder, "studies").iterdir())
        commands = {"--help": ["--help"], "table": ["table", f"study={study}", f"store={folder}"]}
        least = {name: min(seconds(*command) for _ in range(times)) for name, command in commands.items()}
        for name, found in least.items():
            print(f"cbam-ablate {name}: {found:.2f} s")
        alone = [seconds(*words, f"seed={runs + number}") for number in range(times)]
    beyond = [job - trained for job, trained in zip(jobs[1:], training[1:], strict=True)]
    inside = statistics.median(beyond)
    outside = statistics.median(alone) - statistics.median(training[1:])
    print(
        f"a job beyond training: {1e3 * inside:.0f} ms in a warm process ({1e3 * min(beyond):.0f} at least),"
    )
    print(f"  {1e3 * outside:.0f} ms in one of its own, {outside / inside:.1f} times as long")
    if asked.json:
        measured = {"commands": least, "beyond training": beyond, "in a process of its own": outside}
        about = {"device": device_name(pick_device("auto")), "torch": metadata.version("torch"), "unit": "s"}
        asked.json.write_text(json.dumps({**about, **measured}, indent=1) + "\n")


if __name__ == "__main__":
    main()
