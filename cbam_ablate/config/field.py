"""An option of the schema: its default, and beside it its unit, range and alternatives."""

from dataclasses import field
from typing import Any

from omegaconf import MISSING

from cbam_ablate.registry import Part

OFF_UNSET = object()


def option(
    default: Any = MISSING,
    help: str = "",
    *,
    choices: Any = None,
    part: type[Part] | None = None,
    low: float | None = None,
    high: float | None = None,
    above: float | None = None,
    below: float | None = None,
    identity: bool = True,
    off: Any = OFF_UNSET,
) -> Any:
    """A field with its rule: `low <= value <= high`, `above < value < below`, one of `choices`,
    or the name of a `part`.

    `identity=False` keeps it out of the run key (it doesn't change what is measured). At its `off` value
    it leaves the key alone, so that options can be added without renaming old runs.
    """
    rule = {
        "help": help, "choices": choices, "part": part, "low": low, "high": high, "above": above,
        "below": below, "identity": identity, "off": off,
    }  # fmt: skip
    if isinstance(default, list | dict):
        return field(default_factory=lambda: type(default)(default), metadata=rule)
    return field(default=default, metadata=rule)
