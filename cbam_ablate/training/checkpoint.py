"""Checkpoints: written aside and renamed, read back as plain tensors and values only."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from cbam_ablate.errors import StoreError, UserError

SCHEMA = 1
"""The version of checkpoints that is written and read; those of before say none."""


def save(path: Path, state: dict[str, Any], check: Callable[[], None] = lambda: None) -> None:
    """Replaces the checkpoint at once, also where the power fails.

    `check` is called just before; what it raises leaves the old one.
    """
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with aside.open("wb") as file:
            torch.save(_by_itself(state), file)
            file.flush()
            os.fsync(file.fileno())
        check()
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)


def coming(best: Path) -> Path:
    """Where the weights of a new best epoch wait for the last.pt that calls it so."""
    return best.with_name(f"coming_{best.name}")


def take_over(best: Path) -> None:
    """Makes the weights that wait the best."""
    if coming(best).exists():
        os.replace(coming(best), best)


def best_of(best: Path, epoch: int, key: str | None = None) -> Path | None:
    """The file of the weights of that best epoch: `best`, or what was about to replace it; None for neither.

    A run that was killed may have gone on past its last.pt, and found a best epoch that is no longer its own.
    """
    for path in (best, coming(best)):
        try:
            if load(path, key).get("epoch") == epoch:
                return path
        except UserError:
            continue
    return None


def _by_itself(value: Any) -> Any:
    """The same, with copies of tensors that are parts of larger ones, which would be written whole."""
    if isinstance(value, dict):
        return {name: _by_itself(inner) for name, inner in value.items()}
    if isinstance(value, torch.Tensor) and value.untyped_storage().nbytes() > value.nbytes:
        return value.detach().clone()
    return value


def load(path: Path, key: str | None = None) -> dict[str, Any]:
    """A checkpoint, on the CPU. Raises `StoreError` for a file that is missing, cut short or foreign.

    Foreign is also one that says it is of another run than `key`.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise StoreError(f"{path}: no such checkpoint") from None
    except Exception as error:  # what a damaged file raises is of many kinds
        why = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise StoreError(f"{path}: not a whole checkpoint ({why})") from error
    if not isinstance(state, dict) or not isinstance(state.get("model"), dict):
        raise StoreError(f"{path}: not a checkpoint of cbam_ablate: it has no weights `model`")
    if state.get("schema", SCHEMA) != SCHEMA:
        raise StoreError(f"{path}: a checkpoint of format {state['schema']}, this version reads {SCHEMA}")
    if key is not None and state.get("key", key) != key:
        raise StoreError(f"{path}: a checkpoint of run {state['key']}, not of {key}")
    return state


def load_last(path: Path, key: str | None = None) -> dict[str, Any]:
    """A checkpoint that training can go on from; raises like `load`."""
    state = load(path, key)
    if not isinstance(state.get("progress"), dict) or "optimizer" not in state:
        raise StoreError(f"{path}: holds weights only; a last.pt can be gone on from")
    return state


def load_weights(model: torch.nn.Module, state: dict[str, Any], source: str) -> None:
    """Copies a checkpoint's weights into the network. Raises `StoreError` where they don't fit."""
    try:
        model.load_state_dict(state["model"])
    except RuntimeError as error:
        first = str(error).splitlines()[1].strip() if "\n" in str(error) else str(error)
        raise StoreError(f"{source}: its weights are of another network ({first})") from error


def evaluated_weights(state: dict[str, Any]) -> dict[str, Any]:
    """A checkpoint's weights whose accuracy counts: the moving average of a last.pt that has one."""
    average = state.get("ema")
    if average is None:
        return state
    inner = {name.removeprefix("module."): value for name, value in average.items() if name != "n_averaged"}
    return {"model": inner}
