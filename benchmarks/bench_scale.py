"""How far a study grows: planned, frozen, submitted in arrays, run by a body that only writes, and exported.

python benchmarks/bench_scale.py [CELLS ...] [--slurm] [--pack N]

Each size runs in a process of its own, so that its peak memory is its own. Slurm is a stand-in, scripts that
hand out numbers; with --slurm it is the real one, whose jobs run the bodies. Metadata operations are those
that Python reports to audit hooks: open, listdir, scandir, mkdir, link, rename, remove, chmod (not stat).
"""

import argparse
import collections
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SIZES = (1000, 3000, 10_000)
PACK = 10
STAND_IN = {
    "srun": "true",
    "sbatch": 'n=$(($(cat {here}/n) + 1)); echo $n >{here}/n\n'
    'sed -n "s/^#SBATCH --array=0-\\([0-9]*\\).*/\\1/p" "$1" >{here}/array-$n; echo "Submitted batch job $n"',
    "squeue": 'for f in {here}/array-*; do n=${{f##*-}}\n'
    'for i in $(seq 0 $(cat $f)); do echo "${{n}}_$i PENDING"; done; done',
    "scontrol": 'echo "MaxArraySize = 1001"',
    "scancel": "true",
}  # fmt: skip
COUNTED = ("open", "os.listdir", "os.scandir", "os.mkdir", "os.link", "os.rename", "os.remove", "os.chmod")


def measure(cells: int, pack: int, real: bool) -> dict[str, float]:
    """Seconds, CPU seconds, MiB and bytes of each stage for a study of so many cells, in this process."""
    from cbam_ablate.report import write_table
    from cbam_ablate.report.export import export_study
    from cbam_ablate.sweep import submit
    from cbam_ablate.sweep.ledger import Ledger
    from cbam_ablate.sweep.manifest import freeze
    from cbam_ablate.sweep.plan import make_plan

    counts: collections.Counter[str] = collections.Counter()
    sys.addaudithook(lambda event, _: counts.update([event]) if event in COUNTED else None)
    found: dict[str, float] = {"cells": cells, "start_mib": mib()}
    axes = ["placement=block,class", "kernel=3,7", "optimizer.lr=0.01,0.02,0.05,0.1,0.2"]
    started, worked = time.perf_counter(), time.process_time()

    def stage(name: str) -> None:
        nonlocal started, worked
        found[f"{name}_s"], found[f"{name}_cpu_s"] = (
            time.perf_counter() - started,
            time.process_time() - worked,
        )
        found[f"{name}_mib"] = mib()
        started, worked = time.perf_counter(), time.process_time()

    with tempfile.TemporaryDirectory() as name:
        words = [f"store={name}/store", "data=synthetic", *axes, f"seed=range(0,{cells // 20})"]
        plan = make_plan(words)
        stage("plan")
        manifest = freeze(plan, ["cbam-ablate", "train", "-m", *words])
        found["manifest_bytes"] = manifest.stat().st_size
        stage("freeze")
        if not real:
            stand_in(Path(name))
        keys = list(plan.runs)
        packs = [Writes(manifest, keys[at : at + pack]) for at in range(0, len(keys), pack)]
        submit.submit_slurm(manifest, packs, 60, 64, {"max_num_timeout": 1, "cpus_per_task": 1})
        stage("submit")
        Ledger(manifest).live("slurm")
        stage("ask")
        if real:
            submit.wait(manifest, "slurm", keys)
        else:
            counts.clear()
            for body in packs:
                body()
            found["operations_a_run"] = sum(counts.values()) / len(keys)
            found |= {f"{event}_a_run": count / len(keys) for event, count in counts.items()}
        stage("run")
        plan.refresh()
        stage("states")
        table = write_table(plan.store.root, plan.study)
        stage("table")
        if sum(row.expected for row in table.rows) != len(keys):
            raise RuntimeError("the table doesn't hold every run")
        make_plan(words)
        stage("replan")
        export_study(plan.store.root, plan.study, f"{name}/export")
        stage("export")
        found["files_a_run"] = sum(len(files) for _, _, files in os.walk(f"{name}/store/runs")) / len(keys)
    return found


class Writes:
    """The body of a job: what a real one writes to the store, without the training between."""

    def __init__(self, manifest: Path, keys: list[str]) -> None:
        self.manifest, self.keys = manifest, keys

    def __call__(self) -> None:
        from cbam_ablate.runs import RunStore
        from cbam_ablate.runs.claim import acquire
        from cbam_ablate.runs.writer import RunWriter
        from cbam_ablate.sweep.manifest import read, run_config

        for key in self.keys:
            frozen = read(self.manifest)
            cfg = run_config(frozen, key)
            run = RunStore(cfg.store).run(key)
            claim = acquire(run.path)
            if run.result() is not None or claim is None:
                continue
            with RunWriter(run, claim, cfg, frozen["study"]) as writer:
                for epoch in range(1, 6):
                    writer.epoch({"epoch": epoch, "val_top1": 50.0 + epoch, "train_loss": 1 / epoch})
                writer.finish(result(key, frozen["costs"][key]))


def result(key: str, cost: dict[str, int]) -> dict[str, object]:
    top1 = 50 + int(key[:4], 16) / 65536
    metrics = {
        **dict.fromkeys(["test_top1", "last_test_top1", "val_top1", "train_top1"], top1),
        **dict.fromkeys(["test_top5", "last_test_top5", "val_top5", "train_top5"], top1 + 20),
        **dict.fromkeys(["test_loss", "last_test_loss", "val_loss", "train_loss"], 1.0),
    }
    where = {"device": "cpu: stand-in", "precision": "fp32", "threads": 1, "code_sha256": 64 * "a"}
    versions = {"python": "3.11", "torch": "2.13"}
    more = {"git_commit": None, "git_dirty": None, "versions": versions, "dataset_sha256": 64 * "d"}
    return {
        "schema": 1,
        "key": key,
        "metrics": metrics,
        "selection": {"rule": "highest validation top-1, the first of equals", "epoch": 5, "epochs": 5},
        "cost": {**cost, "train_seconds": 30.0, "images_per_second": 1000.0, "peak_memory_mib": 500.0},
        "parent": None,
        "provenance": {**where, **more, "command": [], "host": "", "finished": "2026-11-21T10:00:00+00:00"},
    }


def stand_in(folder: Path) -> None:
    """Puts scripts before Slurm's commands on the path."""
    here = folder / "bin"
    here.mkdir()
    (here / "n").write_text("0")
    for name, text in STAND_IN.items():
        (here / name).write_text("#!/bin/bash\n" + text.format(here=here) + "\n")
        (here / name).chmod(0o755)
    os.environ["PATH"] = f"{here}{os.pathsep}{os.environ['PATH']}"


def mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("cells", nargs="*", type=int, default=SIZES)
    parser.add_argument("--slurm", action="store_true")
    parser.add_argument("--pack", type=int, default=PACK)
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if odd := [cells for cells in given.cells if cells < 20 or cells % 20]:
        parser.error(f"cells: {odd[0]} is no multiple of 20")
    if given.one:
        print(json.dumps(measure(given.cells[0], given.pack, given.slurm)))
        return
    for cells in given.cells:
        words = [str(cells), "--one", "--pack", str(given.pack), *(["--slurm"] if given.slurm else [])]
        done = subprocess.run([sys.executable, __file__, *words], capture_output=True, text=True)
        if done.returncode:
            sys.exit(done.stderr)
        found = json.loads(done.stdout.splitlines()[-1])
        print(f"{cells} cells, {found['manifest_bytes'] / cells:.0f} bytes of manifest each")
        for name in ("plan", "freeze", "submit", "ask", "run", "states", "table", "replan", "export"):
            wall, cpu, peak = (found[f"{name}_{part}"] for part in ("s", "cpu_s", "mib"))
            print(
                f"  {name:7} {wall:8.2f} s, of the CPU {cpu:7.2f} s, {1000 * cpu / cells:7.3f} ms a cell; "
                f"peak {peak:6.0f} MiB"
            )
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
