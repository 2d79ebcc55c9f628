"""The words of a command line that make a config: `load_config(words_of(cfg))` has its run key."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from hydra.core.override_parser.types import Quote, QuotedString

from cbam_ablate.config.canonical import OUTSIDE, SECTIONS, flatten, inert, resolved_model, with_stem
from cbam_ablate.config.compose import compose, typed
from cbam_ablate.config.options import ALIASES
from cbam_ablate.config.overrides import parse
from cbam_ablate.config.schema import RunConfig
from cbam_ablate.config.where import choices

PLAIN = re.compile(r"[A-Za-z_./][\w./:-]*")
"""Text that Hydra reads as it stands, unless it is a word for another value."""
VALUES = re.compile(r"null|true|false|nan|inf|infinity", re.IGNORECASE)


def words_of(cfg: RunConfig) -> list[str]:
    """The groups that a config's options are choices of, and each other option that differs from theirs.

    Options without effect are left out, and so is what says how a run is watched or swept.
    """
    without, values = inert(cfg), flatten(cfg)
    named = {
        group: str(values[option])
        for group, option in ALIASES.items()
        if option not in without and str(values[option]) in choices(group)
    }
    words = [f"{group}={choice}" for group, choice in named.items()]
    made = typed(compose(parse(words)))
    made.model = with_stem(resolved_model(made.model), cfg.data)
    plain = flatten(made)
    for name, value in values.items():
        ours = name.partition(".")[0] in SECTIONS or name == "seed"
        if ours and name.partition(".")[0] not in OUTSIDE and name not in without and value != plain[name]:
            words += _words(name, value, plain[name])
    return words


def _words(name: str, value: Any, plain: Any) -> Iterator[str]:
    if isinstance(value, Mapping) and isinstance(plain, Mapping):
        yield from (f"{name}.{key}={literal(one)}" for key, one in value.items() if plain.get(key) != one)
    else:
        yield f"{name}={literal(value)}"


def literal(value: Any) -> str:
    """A value as Hydra's grammar has it."""
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    if isinstance(value, list | tuple):
        return f"[{','.join(map(literal, value))}]"
    if isinstance(value, Mapping):
        return f"{{{','.join(f'{literal(str(key))}:{literal(one)}' for key, one in value.items())}}}"
    if isinstance(value, str) and not (PLAIN.fullmatch(value) and not VALUES.fullmatch(value)):
        return QuotedString(value, Quote.single).with_quotes()
    return str(value)
