"""Files of weights in the forms that people have: `.pt`, `.pth`, `.th`, `.pth.tar`, safetensors."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from cbam_ablate.errors import ConfigError, DataError

WRAPPERS = ("state_dict", "model", "net", "model_state_dict", "state_dict_ema", "model_ema")
PREFIXES = ("module.", "model.", "net.", "_orig_mod.")
"""DataParallel's, Lightning's and torch.compile's."""
SCALAR = np.float64(0).__reduce__()[0]
HARMLESS: list[Any] = [
    argparse.Namespace,
    np.dtype,
    type(np.dtype("float64")),
    type(np.dtype("float32")),
    SCALAR,
    (SCALAR, "numpy.core.multiarray.scalar"),
]
"""What training scripts store beside the weights, their arguments and best score, and that runs nothing."""


class Weights(NamedTuple):
    """Tensors by their bare names, and the names of those that stand beside the network."""

    tensors: dict[str, Tensor]
    beside: list[str]


def read_weights(path: Path, shown: str) -> Weights:
    """The tensors of a file by name, without what wraps them. `shown` names the file in errors.

    Pickles are read with `weights_only`: nothing of them is run. Raises `ConfigError` where there is no file
    and `DataError` where it holds no weights.
    """
    if not path.is_file():
        raise ConfigError(f"{shown}: no such file; give a file of weights, or imagenet")
    try:
        state = _safetensors(path) if path.suffix == ".safetensors" else _pickled(path)
        found = unwrapped(state)
    except ConfigError:
        raise
    except Exception as error:  # torch.load raises whatever its unpickler met
        reason = (str(error).splitlines() or [""])[0].partition(". ")[0]
        reason = "of no form that is known" if isinstance(error, KeyError) or not reason else reason
        raise DataError(f"{shown}: not a file of weights ({reason})") from error
    if not found.tensors:
        raise DataError(f"{shown}: not a file of weights (it holds no tensors)")
    return found


def _pickled(path: Path) -> Any:
    with torch.serialization.safe_globals(HARMLESS):
        return torch.load(path, map_location="cpu", weights_only=True)


def _safetensors(path: Path) -> Any:
    try:
        from safetensors.torch import load_file
    except ModuleNotFoundError as error:
        raise ConfigError(
            "safetensors isn't installed: pip install 'cbam_ablate[safetensors]', or give a .pt file"
        ) from error
    return load_file(path)


def unwrapped(state: Any) -> Weights:
    """The tensors by their bare names. Raises `TypeError` where something else is among them."""
    while isinstance(state, Mapping):
        inner = next((state[name] for name in WRAPPERS if isinstance(state.get(name), Mapping)), None)
        if inner is None:
            break
        state = inner
    if not isinstance(state, Mapping):
        raise TypeError(f"it holds a {type(state).__name__}, not tensors by name")
    found = {str(name): value for name, value in state.items()}
    if not all(isinstance(value, Tensor) for value in found.values()):
        raise TypeError("what it holds are not all tensors")
    beside: list[str] = []
    while prefix := _prefix(found):
        beside += [name for name in found if not name.startswith(prefix)]
        found = {name.removeprefix(prefix): value for name, value in found.items() if name.startswith(prefix)}
    return Weights(found, beside)


def _prefix(found: Mapping[str, Tensor]) -> str | None:
    """What most of the names begin with: Lightning keeps tensors of losses and metrics beside the network."""
    for prefix in PREFIXES:
        if 2 * sum(name.startswith(prefix) for name in found) > len(found):
            return prefix
    return None
