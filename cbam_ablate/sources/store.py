"""A folder of its own for every imported study: a store that is whole or not there."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cbam_ablate.errors import StoreError
from cbam_ablate.runs.files import make_aside, read_json
from cbam_ablate.sources.load import Study
from cbam_ablate.sources.write import write_study


def put(root: Path, study: Study, table: Mapping[str, Any]) -> None:
    """Puts a study's store at `root`, in place of what an earlier import left there.

    `table` holds table options over those that were found. Raises `StoreError` where something else is there.
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
        if root.exists():
            shutil.rmtree(root)
        aside.rename(root)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
