"""A config from its options by dotted name, as manifests hold them."""

from collections.abc import Mapping
from typing import Any

from cbam_ablate.config.canonical import from_dict
from cbam_ablate.config.schema import RunConfig


def from_flat(values: Mapping[str, Any]) -> RunConfig:
    """The inverse of `flatten`; options unknown to this version are refused, missing ones take defaults."""
    nested: dict[str, Any] = {}
    for name, value in values.items():
        *path, last = name.split(".")
        section = nested
        for part in path:
            section = section.setdefault(part, {})
        section[last] = value
    return from_dict(nested)
