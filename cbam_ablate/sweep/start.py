"""Where a run starts from: its own last checkpoint, its parent's, or nothing."""

import os
import shutil
from pathlib import Path
from typing import Any

from cbam_ablate.config.canonical import effective, from_dict, is_run_key
from cbam_ablate.config.options import spell
from cbam_ablate.config.schema import RunConfig
from cbam_ablate.errors import ConfigError, StoreError, UserError
from cbam_ablate.runs import Run, RunStore
from cbam_ablate.runs.writer import RunWriter
from cbam_ablate.training import checkpoint

OWN = "its own last.pt"
KEPT = ("model.", "data.", "optimizer.name", "optimizer.decay_norm_bias")
"""What a run has in common with the one it goes on from, by how the options' names begin."""


def starting_point(cfg: RunConfig, writer: RunWriter) -> tuple[dict[str, Any] | None, str]:
    """The checkpoint to go on from and what to call it: this run's own, else its parent's, else none.

    best.pt is then of the epoch that the checkpoint takes for the best, and nothing is left of a run that
    starts over.
    """
    if writer.last.exists():
        try:
            state = checkpoint.load_last(writer.last, writer.run.key)
            best = state["progress"].get("best_epoch")
            found = checkpoint.best_of(writer.best, best, writer.run.key)
            if found is not None:
                os.replace(found, writer.best)
            elif best:
                raise StoreError(f"{writer.best}: not of epoch {best}, its best")
            return state, OWN
        except UserError as error:
            writer.line(f"starts over: {error}")
    writer.start_over()
    parent = cfg.train.resume_from
    if parent is None:
        return None, ""
    source = _last_of(parent, cfg)
    state = checkpoint.load_last(source, parent if is_run_key(parent) else None)
    found = checkpoint.best_of(source.with_name("best.pt"), state["progress"]["best_epoch"])
    if found is not None:
        shutil.copyfile(found, writer.best)
    else:
        state["progress"] |= {"best_epoch": 0, "best_top1": -1.0}
    return state, str(parent)


def check_parent(cfg: RunConfig) -> None:
    """Raises `ConfigError` where the run can't go on from the one it names.

    Of a checkpoint outside a run's folder nothing is known before it is loaded.
    """
    parent = cfg.train.resume_from
    if parent is None:
        return
    last = _last_of(parent, cfg)
    if is_run_key(parent) and not last.is_file():
        raise StoreError(f"train.resume_from={parent}: this run has no checkpoints/last.pt in the store")
    run = Run(last.absolute().parents[1])
    config = run.config()
    if config is None:
        return
    try:
        theirs = effective(from_dict(config))
    except (ValueError, KeyError, TypeError):  # of another version
        return
    if run.result() is None:
        raise ConfigError(
            f"train.resume_from={parent}: this run isn't finished ({run.state().name}), so where it stands "
            "may change; train it to its end first"
        )
    ours = effective(cfg)
    names = sorted(name for name in {*ours, *theirs} - {"model.pretrained"} if name.startswith(KEPT))
    other = [name for name in names if ours.get(name) != theirs.get(name)]
    if other:
        # What has no effect in one of them follows from another difference.
        name = next((name for name in other if name in ours and name in theirs), other[0])
        raise ConfigError(
            f"{name}={spell(ours.get(name))}: train.resume_from={parent} began with "
            f"{spell(theirs.get(name))}, and a run goes on with the same network, data and optimizer; "
            "model.pretrained=FILE starts from weights alone"
        )
    done = (run.result() or {"selection": {}})["selection"].get("epochs", 0)
    if done > cfg.train.epochs:
        raise ConfigError(
            f"train.epochs={cfg.train.epochs}: train.resume_from={parent} has trained {done} epochs already"
        )


def _last_of(parent: str, cfg: RunConfig) -> Path:
    return RunStore(cfg.store).run(parent).last if is_run_key(parent) else Path(parent)
