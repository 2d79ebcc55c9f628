"""A folder of its own for every imported study: a store that is whole or not there."""

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from cbam_ablate.errors import StoreError
from cbam_ablate.runs.files import make_aside, read_json
from cbam_ablate.sources.load import Imported
from cbam_ablate.sources.write import write_study

Made = TypeVar("Made")


def put(root: Path, study: Imported, table: Mapping[str, Any], finish: Callable[[Path], Made]) -> Made:
    """Puts a study's store at `root`, in place of what an earlier import left there; gives what `finish` did.

    `table` holds table options over those that were found. `finish` is given the store before it is put
    there: where it raises, all stays as it was. Raises `StoreError` where something else is there.
    """
    name = study.manifest["study"]
    before = read_json(root / "studies" / name / "manifest.json") or {}
    if root.exists() and (before.get("command") or [])[:2] != ["cbam-ablate", "import"]:
        raise StoreError(f"{root}: holds something else than an import; study= names another")
    manifest = {**study.manifest, "table": {**study.manifest["table"], **table}}
    try:
        root.parent.mkdir(parents=True, exist_ok=True)
        aside = make_aside(root)
    except OSError as error:
        raise StoreError(f"store={root.parent.parent}: can't be written to ({error.strerror})") from None
    try:
        write_study(aside, study.runs, manifest)
        made = finish(aside)
        if root.exists():
            shutil.rmtree(root)
        aside.rename(root)
        return made
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
