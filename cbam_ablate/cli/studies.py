"""Which study a command is about."""

import contextlib
import difflib
import os
from typing import Any

from cbam_ablate.config.where import choices
from cbam_ablate.errors import StoreError
from cbam_ablate.runs import RunStore


def take_study(values: dict[str, Any]) -> tuple[RunStore, str]:
    """Takes `store` and `study` out of a command's values; raises `StoreError` naming those there are."""
    store, study = RunStore(values.pop("store")), values.pop("study", None)
    folder = store.root / "studies"
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        os.listdir(folder)  # what may not be read isn't taken for what isn't there
    there = sorted(path.parent.name for path in folder.glob("*/manifest.json"))
    if study not in there:
        listed = f"; there are {', '.join(there)}" if there else "; it holds none"
        raise StoreError(
            f"study={study or ''}: no such study in {folder}{listed} ({_hint(study or '', there)})"
        )
    return store, str(study)


def _hint(study: str, there: list[str]) -> str:
    declared = [name for name in choices("study") if name != "none"]
    if study in declared:
        costs = f"cbam-ablate table study={study} of=plan has what its networks cost, untrained"
        return f"cbam-ablate train study={study} makes one, and {costs}"
    near = difflib.get_close_matches(study, [*there, *declared], n=1)
    return f"did you mean {near[0]}?" if near else "cbam-ablate train study=NAME makes one"
