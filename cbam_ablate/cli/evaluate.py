"""cbam-ablate evaluate run=KEY|CHECKPOINT [checkpoint=best|last] [part=test|val] [name=value ...]
   cbam-ablate evaluate study=NAME [name=value ...]
   cbam-ablate evaluate weights=FILE [part=test|val] [name=value ...]

A stored network's loss (nats), top-1 and top-5 accuracy (percent) on the test set: the checkpoint of the
chosen epoch (best), or of the last. `run` is a run's key, its first digits, or a checkpoint's path.
Of a study it fills in the predictions (predictions.npz) of the finished runs that have only checkpoints, so
that a table can ask for any metric.
Of a file of weights in any usual form (see model.pretrained) it gives the scores in the network and on the
data that any options of `train` describe, in fp32: cbam-ablate evaluate weights=resnet20.th
backbone=resnet_cifar depth=20 model.shortcut=pad data.mean=[0.485,0.456,0.406] data.std=[0.229,0.224,0.225]
Also taken, of a run and a study: store=, data.root=, data.cache=, train.device=, train.precision=.
"""

import json
import os
from pathlib import Path
from typing import Any

from cbam_ablate.aggregate.records import load_study
from cbam_ablate.cli import fail
from cbam_ablate.cli.arguments import apply, read_arguments
from cbam_ablate.cli.studies import take_study
from cbam_ablate.cli.weights_scored import WEIGHTS, score_weights
from cbam_ablate.config.canonical import from_dict, is_run_key
from cbam_ablate.errors import ConfigError, StoreError
from cbam_ablate.runs import Run, RunStore

TAKEN = ("data.root", "data.cache", "train.device", "train.precision")


def main(arguments: list[str]) -> int:
    if any(text.startswith(WEIGHTS) for text in arguments):
        return score_weights(arguments)
    values = read_arguments(arguments, ("run", "checkpoint", "part", "study", "weights"), TAKEN)
    if "study" in values:
        return _fill_in(values)
    store, wanted = RunStore(values.pop("store")), values.pop("run", None)
    if not wanted:
        raise ConfigError("run=: which run? a key, its first digits or a checkpoint's path")
    which, part = values.pop("checkpoint", "best"), values.pop("part", "test")
    if which not in ("best", "last"):
        raise ConfigError(f"checkpoint={which}: not one of best, last")
    if part not in ("test", "val"):
        raise ConfigError(f"part={part}: not one of test, val")
    path = Path(wanted)
    if path.suffix == ".pt" or "/" in wanted:
        if os.path.isdir(path):
            path = path / "checkpoints" / f"{which}.pt"
        if not os.path.isfile(path):
            raise StoreError(f"run={wanted}: there is no {path}")
        run = Run(path.resolve().parents[1])
    else:
        run = store.find(wanted)
        path = run.best if which == "best" else run.last
    config = run.config()
    if config is None:
        raise StoreError(f"run={wanted}: there is no config.json in {run.path}, so the network isn't known")
    print(
        json.dumps(
            {
                "run": run.key,
                "checkpoint": str(path),
                "part": part,
                **_scores(config, path, part, values, run.key),
            }
        )
    )
    return 0


def _fill_in(values: dict[str, Any]) -> int:
    """Fills in the predictions of a study's runs; 0 where all its finished ones have them."""
    both = [name for name in ("run", "checkpoint", "part") if name in values]
    if both:
        raise ConfigError(
            f"{both[0]}={values[both[0]]}: not with study=, whose checkpoints are all evaluated"
        )
    store, study = take_study(values)
    runs = [
        store.run(key) for key, record in load_study(store.root, study).records.items() if record.finished
    ]

    from cbam_ablate.sweep.fill import fill_in

    failed = 0
    for one in fill_in(runs, lambda cfg: apply(cfg, values)):
        print(f"{one.key}: {one.words}", flush=True)
        failed += not one.done
    return fail(f"{failed} of {len(runs)} finished runs have no usable predictions") if failed else 0


def _scores(
    config: dict[str, Any], path: Path, part: str, values: dict[str, Any], key: str
) -> dict[str, float]:
    from cbam_ablate.accel import accelerate, allowed
    from cbam_ablate.data import make_feed
    from cbam_ablate.models import build_model
    from cbam_ablate.training import checkpoint
    from cbam_ablate.training.device import pick_device, pick_precision
    from cbam_ablate.training.evaluate import autocast, evaluate
    from cbam_ablate.training.layout import lay_out

    cfg = apply(from_dict(config), values)
    state = checkpoint.load(path, key if is_run_key(key) else None)
    device = pick_device(cfg.train.device)
    precision = pick_precision(cfg.train.precision, device)
    model = lay_out(cfg, build_model(cfg, pretrained=False), device)
    if allowed(cfg.train.accel):
        accelerate(model, device)
    checkpoint.load_weights(model, checkpoint.evaluated_weights(state), str(path))
    feed = make_feed(cfg, device, precision)
    scores = evaluate(model, feed.evaluate(part), device, autocast(device, precision))
    return {"epoch": state.get("epoch") or state["progress"]["epoch"], **scores._asdict()}
