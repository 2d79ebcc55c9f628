"""A store as training would have left it."""

import hashlib
import itertools
import json
from pathlib import Path

CONSTANTS = {
    "model.backbone": "resnet_cifar",
    "model.depth": 20,
    "data.name": "cifar10",
    "train.epochs": 5,
    "train.batch_size": 128,
    "train.device": "cpu",
    "optimizer.name": "sgd",
    "optimizer.lr": 0.1,
    "schedule.name": "cosine",
    "store": "outputs",
}
PLACEMENT = "model.attention.placement"
WITHOUT = {"model.attention.reduction", "model.attention.kernel"}
"""What placement=none leaves without effect."""


class StandIn:
    """A store with one study. `score(axes)` gives a run's test accuracy in percent, or a status to leave."""

    def __init__(self, root: Path, study: str = "trial") -> None:
        self.root, self.study = root, study

    @property
    def folder(self) -> Path:
        return self.root / "studies" / self.study

    def run(self, key: str) -> Path:
        return self.root / "runs" / key

    def build(self, axes, score, table=None, constants=None, command=None, epochs=5):
        """Writes the manifest and every run; returns run keys by the axis values, seed last."""
        keys, cells, runs = {}, [], {}
        for values in itertools.product(*axes.values()):
            chosen = dict(zip(axes, values, strict=True))
            if chosen.get(PLACEMENT) == "none":
                chosen = {name: None if name in WITHOUT else value for name, value in chosen.items()}
            text = json.dumps(chosen, sort_keys=True)
            key = hashlib.sha256(text.encode()).hexdigest()[:16]
            if {"axes": chosen, "key": key} in cells:
                continue
            cells.append({"axes": chosen, "key": key})
            runs[key] = {name: value for name, value in chosen.items() if value is not None}
            keys[tuple(chosen.values())] = key
            outcome = score(chosen)
            if isinstance(outcome, dict):
                self.fail(key, **outcome)
            elif outcome is not None:
                self.finish(key, outcome, epochs=epochs)
        every = {**CONSTANTS, **(constants or {})}
        if "seed" not in axes:
            every["seed"] = 0
        self.write_manifest(
            {
                "schema": 1,
                "study": self.study,
                "command": command or ["cbam-ablate", "train", f"study={self.study}"],
                "axes": axes,
                "constants": every,
                "runs": runs,
                "costs": {key: {"params": 272_474, "macs": 40_813_184} for key in runs},
                "cells": cells,
                "sweep": {},
                "table": table or {},
            }
        )
        return keys

    def write_manifest(self, manifest) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "manifest.json").write_text(json.dumps(manifest))

    def manifest(self) -> dict:
        return json.loads((self.folder / "manifest.json").read_text())

    def finish(self, key, top1, epochs=5, **changes) -> dict:
        """Writes a finished run's result, history and status. `changes` replace sections or update them."""
        folder = self.run(key)
        folder.mkdir(parents=True, exist_ok=True)
        metrics = {"test_top1": top1, "test_top5": min(100.0, top1 + 4), "test_loss": 2 - top1 / 100}
        metrics |= {
            "last_test_top1": top1 - 0.1,
            "val_top1": top1 + 0.3,
            "val_loss": 1.5,
            "train_top1": top1 + 2,
        }
        result = {
            "schema": 1,
            "key": key,
            "metrics": metrics,
            "selection": {"rule": "highest validation top-1", "epoch": 4, "epochs": epochs},
            "cost": {
                "params": 272_474, "macs": 40_813_184, "train_seconds": 31.5, "images_per_second": 1234.5,
                "peak_memory_mib": 812.0,
            },
            "parent": None,
            "provenance": {
                "git_commit": "0561ceb" + 33 * "0", "git_dirty": False, "code_sha256": 64 * "a",
                "versions": {"python": "3.11.7", "torch": "2.13.0"}, "device": "cpu: Some CPU",
                "precision": "fp32", "threads": 2, "dataset_sha256": 64 * "d", "host": "somewhere",
                "command": ["cbam-ablate", "train"], "finished": "2026-11-21T10:00:00+00:00",
            },
        }  # fmt: skip
        for name, value in changes.items():
            result[name] = {**result[name], **value} if isinstance(value, dict) else value
        (folder / "result.json").write_text(json.dumps(result))
        (folder / "status.json").write_text(json.dumps({"state": "finished"}))
        (folder / "config.json").write_text(json.dumps({"seed": 0, "model": {"backbone": "resnet_cifar"}}))
        lines = [
            {
                "epoch": epoch, "train_loss": 2 / epoch, "train_top1": top1 * epoch / epochs,
                "val_loss": 2.1 / epoch, "val_top1": (top1 + 0.3) * epoch / epochs, "val_top5": 89.0,
                "lr": 0.1, "seconds": 6.0, "images_per_second": 1200.0,
            }
            for epoch in range(1, epochs + 1)
        ]  # fmt: skip
        (folder / "history.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        return result

    def fail(self, key, state="failed", failure="diverged", error="loss is nan at epoch 2, step 7") -> None:
        folder = self.run(key)
        folder.mkdir(parents=True, exist_ok=True)
        status = {"state": state, "class": failure, "error": error}
        (folder / "status.json").write_text(json.dumps(status))
