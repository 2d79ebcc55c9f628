"""Checkpoints: written aside and renamed, read back as plain tensors and values only.

They are on the disk before they get their names, so that a power cut leaves the old or the new one. The disk
takes its time for that, which training doesn't wait for: files get their names one after another in a thread.
"""

import os
import uuid
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import torch

from cbam_ablate.errors import StoreError, UserError

SCHEMA = 1
"""The version of checkpoints that is written and read; those of before say none."""


_pending: dict[Path, list[Future[None]]] = {}
"""By folder, what is still to be done there, in order."""


def save(
    path: Path,
    state: dict[str, Any],
    check: Callable[[], None] = lambda: None,
    then: Callable[[], None] = lambda: None,
) -> None:
    """Replaces the checkpoint at once, some time before `wait` returns, and then does `then`.

    `check` is called just before; what it raises leaves the old one, and so does what went wrong with an
    earlier checkpoint of the folder, which is raised here or by `wait`.
    """
    earlier = _pending.setdefault(path.parent, [])
    if all(each.done() for each in earlier):
        wait(path.parent)
        earlier = _pending.setdefault(path.parent, [])
    aside = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    try:
        torch.save(_by_itself(state), aside)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
    earlier.append(_thread().submit(_replace, aside, path, list(earlier), check, then))


def _replace(
    aside: Path,
    path: Path,
    earlier: list[Future[None]],
    check: Callable[[], None],
    then: Callable[[], None],
) -> None:
    try:
        for each in earlier:
            each.result()
        with aside.open("rb") as file:
            os.fsync(file.fileno())
        check()
        os.replace(aside, path)
        then()
    finally:
        aside.unlink(missing_ok=True)


def wait(folder: Path) -> None:
    """Returns once all checkpoints in a folder have their names. Raises what went wrong with the first."""
    errors = [error for each in _pending.pop(folder, ()) if (error := each.exception()) is not None]
    if errors:
        raise errors[0]


@cache
def _thread() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, "checkpoints")


# A forked process has none of the threads, and nothing that they are at.
os.register_at_fork(after_in_child=_thread.cache_clear)
os.register_at_fork(after_in_child=_pending.clear)


def coming(best: Path) -> Path:
    """Where the weights of a new best epoch wait for the last.pt that calls it so."""
    return best.with_name(f"coming_{best.name}")


def promote_best(best: Path) -> None:
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
    wait(path.parent)
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise StoreError(f"{path}: no such checkpoint") from None
    except Exception as error:  # what a damaged file raises is of many kinds
        why = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise StoreError(f"{path}: not a whole checkpoint ({why})") from error
    if not isinstance(state, dict) or not _are_weights(state.get("model")):
        raise StoreError(f"{path}: not a checkpoint of cbam_ablate: it has no weights `model`")
    if state.get("ema") is not None and not _are_weights(state["ema"]):
        raise StoreError(f"{path}: not a whole checkpoint (its average `ema` holds no weights)")
    if state.get("schema", SCHEMA) != SCHEMA:
        raise StoreError(f"{path}: a checkpoint of format {state['schema']}, this version reads {SCHEMA}")
    if key is not None and state.get("key", key) != key:
        raise StoreError(f"{path}: a checkpoint of run {state['key']}, not of {key}")
    return state


def _are_weights(value: Any) -> bool:
    """Whether it is a dictionary of tensors by name."""
    return isinstance(value, dict) and all(
        isinstance(name, str) and isinstance(tensor, torch.Tensor) for name, tensor in value.items()
    )


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
