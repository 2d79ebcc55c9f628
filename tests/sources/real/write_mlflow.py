"""Wrote `mlflow.sql` here, by MLflow itself: python write_mlflow.py (mlflow 3.17.2).

It holds the tables that are read, as SQLite dumps them; of the tags only those of parent runs.
"""

import os
import re
import sqlite3
import tempfile
from pathlib import Path

import mlflow

HERE = Path(__file__).parent.resolve()
TABLES = ("experiments", "runs", "params", "metrics", "tags")

with tempfile.TemporaryDirectory() as folder:
    os.chdir(folder)
    mlflow.set_tracking_uri(f"sqlite:///{folder}/mlflow.db")
    mlflow.set_experiment("gates")
    with mlflow.start_run(run_name="sweep"):
        for kernel in (3, 7):
            for seed in (0, 1):
                with mlflow.start_run(run_name=f"k{kernel}s{seed}", nested=True):
                    mlflow.log_params({"kernel": kernel, "seed": seed, "lr": 0.1})
                    for step in range(3):
                        mlflow.log_metric("val_acc", 0.8 + (0, 0.05, 0.02)[step] + kernel / 1000, step=step)
                    mlflow.log_metric("test_acc", 0.85 + kernel / 1000 + seed / 500)
    with mlflow.start_run(run_name="diverged"):
        mlflow.log_params({"kernel": 7, "seed": 2, "lr": 0.1})
        mlflow.log_metric("test_acc", float("nan"))
    with mlflow.start_run(run_name="deleted") as run:
        mlflow.log_params({"kernel": 9, "seed": 0, "lr": 0.1})
    mlflow.delete_run(run.info.run_id)
    base = sqlite3.connect(f"{folder}/mlflow.db")
    lines = [
        line
        for line in base.iterdump()
        if (match := re.match(r'(?:CREATE TABLE|INSERT INTO) "?(\w+)', line)) and match[1] in TABLES
    ]
    kept = [line for line in lines if not line.startswith('INSERT INTO "tags"') or "parentRunId" in line]
    (HERE / "mlflow.sql").write_text("\n".join(kept).replace(folder, "") + "\n")
