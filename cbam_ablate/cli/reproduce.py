"""cbam-ablate reproduce study=NAME row=AXIS=VALUE[,AXIS=VALUE...] [seed=N] [tolerance=0.5] [store=FOLDER]
   cbam-ablate reproduce run=KEY [store=FOLDER]

Trains the runs of one row of a study's table again, in a store of their own (<store>/reproduced) and without
loggers, and compares their test top-1 with the stored ones. Exit code 0 when every run is within `tolerance`,
in points. On a CPU in fp32, with the same versions and number of threads, weights come out bit-identical.
Of one run, by its key, its first digits or its name, it prints the command that trains it again, into
<store>/reproduced, and on stderr in what code, versions and device here differ from those that trained it.
"""

import dataclasses
import shlex
import sys
from typing import Any

from cbam_ablate.cli.arguments import apply, read_arguments
from cbam_ablate.cli.studies import take_study
from cbam_ablate.config.canonical import is_run_key
from cbam_ablate.config.options import ALIASES, same, spell
from cbam_ablate.config.schema import LoggerConfig
from cbam_ablate.errors import ConfigError, StoreError
from cbam_ablate.runs import RunStore


def main(arguments: list[str]) -> int:
    values = read_arguments(arguments, ("study", "row", "seed", "tolerance", "run"))
    if "run" in values:
        return _print_command(values)
    row, seed, limit = values.pop("row", ""), values.pop("seed", None), values.pop("tolerance", "0.5")
    store, study = take_study(values)
    tolerance = _number(limit)
    from cbam_ablate.sweep.manifest import read, run_config

    manifest = read(store.study(study) / "manifest.json")
    keys = _matching(manifest, _wanted(row), seed)
    stored = {key: (store.run(key).result() or {}).get("metrics") for key in keys}
    missing = [key for key, metrics in stored.items() if metrics is None]
    if missing:
        raise StoreError(
            f"row={row}: not finished, so there is nothing to compare with: {', '.join(missing)}"
        )
    again = RunStore(store.root / "reproduced")
    worst = 0.0
    for key, metrics in stored.items():
        from cbam_ablate.sweep.job import run_one

        cfg = run_config(manifest, key)
        cfg = dataclasses.replace(cfg, store=str(again.root), logger=LoggerConfig())
        parent = cfg.train.resume_from
        if parent is not None and is_run_key(parent):
            cfg = apply(cfg, {"train.resume_from": str(store.run(parent).last)})
        threads = (store.run(key).result() or {})["provenance"].get("threads")
        again.set_aside(again.run(key))
        state = run_one(cfg, threads=threads)
        result = again.run(key).result()
        if result is None:
            raise StoreError(f"{key}: {state.failure or state.name}: {state.error}")
        before, after = (metrics or {})["test_top1"], result["metrics"]["test_top1"]
        worst = max(worst, abs(after - before))
        print(f"{key}: stored {before:.2f} %, again {after:.2f} %, difference {after - before:+.2f} points")
    told = "reproduced" if worst <= tolerance else "NOT reproduced"
    print(f"{told}: largest difference {worst:.2f} points, tolerance {tolerance:g}")
    return int(worst > tolerance)


def _print_command(values: dict[str, Any]) -> int:
    others = [name for name in values if name not in ("run", "store")]
    if others:
        raise ConfigError(f"{others[0]}={values[others[0]]}: not with run=, which prints a command")
    from cbam_ablate.cli.again import again, differences

    store = RunStore(values["store"])
    run = store.find(values["run"])
    words = again(store, run)
    for line in differences(run, words):
        print(line, file=sys.stderr)
    print(shlex.join(["cbam-ablate", "train", *words]))
    return 0


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 100:
        raise ConfigError(f"tolerance={text}: points of accuracy, from 0 to 100")
    return value


def _wanted(row: str) -> dict[str, str]:
    pairs = [part.partition("=") for part in row.split(",") if part]
    if not pairs or not all(name and found for name, found, _ in pairs):
        raise ConfigError(f"row={row}: which row? AXIS=VALUE for each axis, say row=placement=block,kernel=7")
    return {ALIASES.get(name, name): value for name, _, value in pairs}


def _matching(manifest: dict[str, Any], wanted: dict[str, str], seed: str | None) -> list[str]:
    axes, constants = manifest["axes"], manifest["constants"]
    for name in wanted:
        if name not in axes:
            raise ConfigError(f"row: {name} is not an axis of study {manifest['study']} ({', '.join(axes)})")
    if seed is not None:
        wanted = {**wanted, "seed": seed}
    found = {
        cell["key"]: None
        for cell in manifest["cells"]
        if all(same(cell["axes"].get(name, constants.get(name)), value) for name, value in wanted.items())
    }
    if not found:
        there = {name: axes.get(name, [constants.get(name)]) for name in wanted}
        values = "; ".join(f"{name}: {', '.join(map(spell, known))}" for name, known in there.items())
        raise ConfigError(f"row: no run of study {manifest['study']} has these values; there are {values}")
    return list(found)
