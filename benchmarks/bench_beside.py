"""plan, table and export of a study of finished runs: this build beside another one.

python benchmarks/bench_beside.py PYTHON [--runs 20000] [--seeds 10] [--json FILE]

PYTHON is that of the other build's environment. Each build makes a store of its own; then each command runs
once by either, one right after the other. A ratio is the other's seconds over ours.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench_scale import result

COMMANDS = ("plan", "table", "export")
EPOCHS = 30


def words_of(store: str, runs: int, seeds: int) -> list[str]:
    """Arguments of a sweep of so many runs: `runs / seeds` rows."""
    rates = ",".join(f"{(1 + number) / 1000:.3f}" for number in range(runs // seeds // 4))
    axes = ["placement=block,class", "kernel=3,7", f"optimizer.lr={rates}", f"seed=range(0,{seeds})"]
    return [f"store={store}", "data=synthetic", *axes]


def fill(words: list[str]) -> None:
    """Writes the store of a sweep whose runs have all finished, and prints the study's name."""
    from cbam_ablate.config.canonical import to_dict
    from cbam_ablate.sweep.manifest import freeze
    from cbam_ablate.sweep.plan import make_plan

    plan = make_plan(words)
    costs = json.loads(freeze(plan, ["cbam-ablate", "train", "-m", *words]).read_text())["costs"]
    epochs = [{"epoch": at, "train_loss": 1 / at, "val_top1": 50.0 + at} for at in range(1, EPOCHS + 1)]
    history = "".join(json.dumps(epoch) + "\n" for epoch in epochs)
    status = json.dumps({"state": "finished", "epoch": EPOCHS, "epochs": EPOCHS})
    for key, cfg in plan.runs.items():
        folder = plan.store.run(key).path
        folder.mkdir(parents=True)
        (folder / "config.json").write_text(json.dumps(to_dict(cfg), indent=1))
        (folder / "history.jsonl").write_text(history)
        (folder / "status.json").write_text(status)
        (folder / "result.json").write_text(json.dumps(result(key, costs[key]), indent=1))
    print(plan.study)


def timed(words: list[str], folder: str) -> dict[str, float]:
    """Wall and CPU seconds and peak MiB of a command that is run in `folder`."""
    began = time.perf_counter()
    process = subprocess.Popen(words, cwd=folder, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"{' '.join(words)[:200]}: exit code {os.waitstatus_to_exitcode(status)}")
    wall = time.perf_counter() - began
    return {"wall_s": wall, "cpu_s": used.ru_utime + used.ru_stime, "mib": used.ru_maxrss / 1024}


def measure(pythons: dict[str, str], runs: int, seeds: int) -> dict[str, dict[str, dict[str, float]]]:
    """Seconds of each command by each build."""
    found: dict[str, dict[str, dict[str, float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        words, studies = {}, {}
        for build, python in pythons.items():
            words[build] = words_of(f"{folder}/{build}", runs, seeds)
            filled = [python, str(Path(__file__).absolute()), "--fill", *words[build]]
            done = subprocess.run(filled, cwd=folder, check=True, text=True, stdout=subprocess.PIPE)
            studies[build] = done.stdout.split()[-1]
        for command in COMMANDS:
            for build, python in pythons.items():
                study = [f"study={studies[build]}", f"store={folder}/{build}"]
                given = {
                    "plan": ["-m", *words[build]],
                    "table": study,
                    "export": [*study, f"to={folder}/{build}-export"],
                }[command]
                found.setdefault(command, {})[build] = timed(
                    [python, "-m", "cbam_ablate", command, *given], folder
                )
    return found


def main() -> None:
    if sys.argv[1:2] == ["--fill"]:
        fill(sys.argv[2:])
        return
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("python", help="the other build's")
    parser.add_argument("--runs", type=int, default=20_000)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    if given.runs % (4 * given.seeds):
        parser.error(f"--runs {given.runs}: no multiple of 4 times {given.seeds} seeds")
    found = measure({"other": given.python, "ours": sys.executable}, given.runs, given.seeds)
    print(f"{given.runs} runs, {given.runs // given.seeds} rows: the other build, ours, ratio")
    for command, builds in found.items():
        other, ours = builds["other"], builds["ours"]
        for name, unit in (("cpu_s", "s of the CPU"), ("wall_s", "s"), ("mib", "MiB")):
            print(
                f"  {command:7} {other[name]:8.1f} {ours[name]:8.1f} {other[name] / ours[name]:6.1f}  {unit}"
            )
    if given.json:
        given.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
