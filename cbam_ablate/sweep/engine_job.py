"""A job of an engine: one run, in a process that the engine has made, whichever engine that is."""

from pathlib import Path

from cbam_ablate.lazy_compiler import leave_out_compiler
from cbam_ablate.runs import State


def train_cell(
    manifest: Path, key: str, device: str | None = None, threads: int | None = None, tell: bool = True
) -> State:
    """`run_cell` where torch isn't imported yet: it is now, without its compiler."""
    leave_out_compiler()
    from cbam_ablate.sweep.job import run_cell

    return run_cell(manifest, key, device, threads, tell)
