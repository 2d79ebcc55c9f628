"""Checkpoints: written aside and renamed, read back as plain tensors and values only."""

import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch

from cbam_ablate.config.errors import ConfigError, UserError


def save(path: Path, state: dict[str, Any]) -> None:
    """Replaces the checkpoint at once."""
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        torch.save(_by_itself(state), aside)
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


def best_of(best: Path, epoch: int) -> Path | None:
    """The file of the weights of that best epoch: `best`, or what was about to replace it; None for neither.

    A run that was killed may have gone on past its last.pt, and found a best epoch that is no longer its own.
    """
    for path in (best, coming(best)):
        try:
            if load(path).get("epoch") == epoch:
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


def load(path: Path) -> dict[str, Any]:
    """A checkpoint, on the CPU. Raises `ConfigError` for a file that is missing, cut short or foreign."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such checkpoint") from None
    except (RuntimeError, EOFError, pickle.UnpicklingError, zipfile.BadZipFile, OSError, ValueError) as error:
        why = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ConfigError(f"{path}: not a whole checkpoint ({why})") from error
    if not isinstance(state, dict) or "model" not in state:
        raise ConfigError(f"{path}: not a checkpoint of cbam_ablate: it has no entry `model`")
    return state


def load_weights(model: torch.nn.Module, state: dict[str, Any], source: str) -> None:
    """Copies a checkpoint's weights into the network. Raises `ConfigError` where they don't fit."""
    try:
        model.load_state_dict(state["model"])
    except RuntimeError as error:
        first = str(error).splitlines()[1].strip() if "\n" in str(error) else str(error)
        raise ConfigError(f"{source}: its weights are of another network ({first})") from error


def evaluated_weights(state: dict[str, Any]) -> dict[str, Any]:
    """A checkpoint's weights whose accuracy counts: the moving average of a last.pt that has one."""
    average = state.get("ema")
    if average is None:
        return state
    inner = {name.removeprefix("module."): value for name, value in average.items() if name != "n_averaged"}
    return {"model": inner}
