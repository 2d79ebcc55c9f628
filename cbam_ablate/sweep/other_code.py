"""Runs of other code of one's own: the same configs, but for the source of their own parts."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from cbam_ablate.config.canonical import from_dict, run_key
from cbam_ablate.config.schema import RunConfig
from cbam_ablate.errors import UserError
from cbam_ablate.runs import RunStore


def whatever_code(cfg: RunConfig) -> RunConfig:
    """The config without what its own parts' source was."""
    return dataclasses.replace(cfg, code={})


def done_with_other_code(store: RunStore, runs: Mapping[str, RunConfig]) -> int:
    """How many of these runs have finished with other source of one's own parts than the present one."""
    wanted = {run_key(whatever_code(cfg)) for cfg in runs.values() if cfg.code}
    found = set()
    for run in store.runs() if wanted else ():
        config = None if run.key in runs else run.config()
        key = _key(config) if config and config.get("code") else None
        if key in wanted and run.result() is not None:
            found.add(key)
    return len(found)


def _key(config: dict[str, Any]) -> str | None:
    try:
        return run_key(whatever_code(from_dict(config)))
    except (UserError, ValueError, KeyError, TypeError):  # of another version, or its parts are gone
        return None
