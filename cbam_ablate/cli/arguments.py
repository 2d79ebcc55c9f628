"""Reads the few `name=value` arguments of the commands that don't compose a config."""

import dataclasses
import difflib
import os
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

from cbam_ablate.config.schema import RunConfig
from cbam_ablate.errors import ConfigError

if TYPE_CHECKING:
    from cbam_ablate.config.overrides import Token


def read_arguments(
    texts: Sequence[str], own: Collection[str], sections: Collection[str] = ()
) -> dict[str, Any]:
    """The values of a command's `own` arguments as text, and of options in `sections` as the schema has them.

    `store` is always allowed; where there is such a folder it is taken as it is written. Raises `ConfigError`
    listing every bad argument.
    """
    from cbam_ablate.config.canonical import leaves
    from cbam_ablate.config.options import check_store, coerce, dotted_names
    from cbam_ablate.config.rules import wrong

    rules = {name: field.metadata for name, field, _ in leaves(RunConfig())}
    options = [name for name in dotted_names() if name.partition(".")[0] in sections or name in sections]
    allowed = [*own, "store", *options]
    found: dict[str, Any] = {}
    errors, others = [], []
    for text in texts:
        name, equals, value = text.partition("=")
        if equals and (name in own or (name == "store" and os.path.isdir(value))):
            found[name] = value
        else:
            others.append(text)
    for token in _parsed(others):
        name = token.name
        holder = next((known for known in allowed if name.startswith(f"{known}.")), None)
        if name not in allowed and holder is None:
            near = difflib.get_close_matches(name, allowed, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            errors.append(f"{token.text}: this command takes {', '.join(allowed)}{hint}")
        elif token.sweeps:
            errors.append(f"{token.text}: one value")
        elif holder is not None:
            found.setdefault(holder, {})[name.removeprefix(f"{holder}.")] = token.values[0]
        else:
            found[name] = coerce(name, token.values[0])
            errors += wrong(name, rules[name], found[name])
    if errors:
        raise ConfigError("\n".join(errors))
    found["store"] = check_store(str(found.get("store", RunConfig().store)))
    return found


def _parsed(texts: list[str]) -> "list[Token]":
    if not texts:  # for none Hydra needn't be imported
        return []
    from cbam_ablate.config.overrides import parse

    return parse(texts)


def apply(cfg: RunConfig, values: dict[str, Any]) -> RunConfig:
    """A copy of the config with these dotted names set."""
    for name, value in values.items():
        head, _, rest = name.partition(".")
        inner = getattr(cfg, head)
        new = dataclasses.replace(inner, **{rest: value}) if rest else value
        cfg = dataclasses.replace(cfg, **{head: new})
    return cfg
