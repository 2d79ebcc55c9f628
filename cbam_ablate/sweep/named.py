"""Sweeps that a command names, `name=mine`: the same name goes on with them, and more seeds extend them."""

import re
from collections.abc import Iterable
from typing import Any

from cbam_ablate.config.overrides import Token, parse, single_values
from cbam_ablate.config.schema import RunConfig
from cbam_ablate.config.where import choices
from cbam_ablate.errors import ConfigError
from cbam_ablate.runs import RunStore
from cbam_ablate.runs.files import read_json
from cbam_ablate.sweep.declare import Declaration

NAME, SEED = "name", "seed"
LEGAL = r"\w[\w.-]{0,99}"


def sweep_name(tokens: Iterable[Token]) -> str | None:
    """The name that a sweep's words give it; None where they give none. Raises `ConfigError`."""
    given = {token.name: token for token in tokens if token.name in (NAME, "study")}
    if NAME not in given or given[NAME].values[0] is None:
        return None
    name, study = given[NAME].value_text, given["study"].value_text if "study" in given else None
    if not re.fullmatch(LEGAL, name):
        raise ConfigError(
            f"name={name}: names a folder: letters, digits, _, and from the second sign on . and -"
        )
    if name in ("none", *choices("study")) and name != study:
        raise ConfigError(f"name={name}: is a declared study (study={name}); give the sweep another name")
    return name


def begun_without(base: RunConfig, study: str, name: str) -> bool:
    """Whether a command with this name made the study of another: version 0.1 named but the runs so."""
    manifest = read_json(RunStore(base.store).study(study) / "manifest.json") or {}
    return study != name and f"{NAME}={name}" in (manifest.get("command") or [])


def keep_seeds(declaration: Declaration, base: RunConfig, name: str) -> list[str]:
    """Adds the seeds that the sweep of this name has already to those that are asked for now.

    Returns a sentence about it, or none. With `sweep.extend` what is asked for now is all.
    """
    before: dict[str, Any] = read_json(RunStore(base.store).study(name) / "manifest.json") or {}
    known = (before.get("axes") or {}).get(SEED) or [(before.get("constants") or {}).get(SEED)]
    zipped = any(SEED in group for group in declaration.zipped)
    if known == [None] or base.sweep.extend or zipped or SEED in declaration.around:
        return []
    kept: dict[int, None] = {}
    for grid in declaration.grids:
        asked = [token.values[0] for token in grid.get(SEED, [])] or [base.seed]
        if not all(isinstance(seed, int) for seed in asked):  # refers to another axis
            return []
        more = [seed for seed in known if seed not in asked]
        if more:
            kept |= dict.fromkeys(more)
            words = ",".join(map(str, [*more, *asked]))
            grid[SEED] = single_values(parse([f"{SEED}={words}"])[0])
    if not kept:
        return []
    return [
        f"{name} has seed {', '.join(map(str, kept))} already, which stays; sweep.extend=true would drop it"
    ]
