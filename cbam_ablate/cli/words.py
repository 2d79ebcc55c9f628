"""Reads the few name=value words of the commands that don't compose a config."""

import dataclasses
import difflib
from collections.abc import Collection
from pathlib import Path
from typing import Any

from cbam_ablate.config.errors import ConfigError
from cbam_ablate.config.schema import RunConfig


def read_words(words: list[str], own: Collection[str], sections: Collection[str] = ()) -> dict[str, Any]:
    """The values of a command's `own` words as text, and of options in `sections` as the schema types them.

    `store` is always allowed; where there is such a folder it is taken as it is said. Raises `ConfigError`
    listing every bad word.
    """
    from cbam_ablate.config.canonical import leaves
    from cbam_ablate.config.overrides import coerce, dotted_names, parse
    from cbam_ablate.config.rules import wrong

    rules = {name: field.metadata for name, field, _ in leaves(RunConfig())}
    allowed = [
        *own,
        "store",
        *(n for n in dotted_names() if n.partition(".")[0] in sections or n in sections),
    ]
    found: dict[str, Any] = {}
    errors = []
    others = []
    for said in words:
        name, equals, text = said.partition("=")
        if equals and (name in own or (name == "store" and Path(text).is_dir())):
            found[name] = text
        else:
            others.append(said)
    for word in parse(others):
        name = word.name
        holder = next((known for known in allowed if name.startswith(f"{known}.")), None)
        if name not in allowed and holder is None:
            near = difflib.get_close_matches(name, allowed, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            errors.append(f"{word.said}: this command takes {', '.join(allowed)}{hint}")
        elif word.override.is_sweep_override():
            errors.append(f"{word.said}: one value")
        elif holder is not None:
            found.setdefault(holder, {})[name.removeprefix(f"{holder}.")] = word.values[0]
        else:
            found[name] = coerce(name, word.values[0])
            errors += wrong(name, rules[name], found[name])
    if errors:
        raise ConfigError("\n".join(errors))
    found.setdefault("store", RunConfig().store)
    return found


def apply(cfg: RunConfig, values: dict[str, Any]) -> RunConfig:
    """A copy of the config with these dotted names set."""
    for name, value in values.items():
        head, _, rest = name.partition(".")
        inner = getattr(cfg, head)
        new = dataclasses.replace(inner, **{rest: value}) if rest else value
        cfg = dataclasses.replace(cfg, **{head: new})
    return cfg
