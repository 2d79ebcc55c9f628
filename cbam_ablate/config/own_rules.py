"""Rules for the options of one's own parts, which their signatures make."""

import difflib
from collections.abc import Collection, Iterable
from typing import Any

from cbam_ablate.config.canonical import NAMING, OPTIONS, inert_in, value_of
from cbam_ablate.config.schema import RunConfig
from cbam_ablate.errors import ConfigError
from cbam_ablate.registry import code_of, find, own_target

WITH_OPTIONS = tuple(dict.fromkeys(option.partition(".")[0] for option in OPTIONS))
"""The sections that hold options of one's own parts."""


def refuse_changed_code(cfg: RunConfig, sections: Collection[str] = ()) -> None:
    """Raises `ConfigError` where the source of one's own parts isn't what it was when the run was planned.

    With `sections` only their parts count.
    """
    for option, kind in NAMING.items():
        name, section = value_of(cfg, option), option.partition(".")[0]
        if name in cfg.code and (not sections or section in sections):
            if code_of(kind, name) == cfg.code[name]:
                continue
            raise ConfigError(
                f"{option}={name}: its source has changed since this run was planned, so it is another run; "
                "the command that planned it plans it anew, and the old one needs the old source"
            )


def own_options(*sections: Any) -> list[str]:
    """Options of one's own parts that their signatures type otherwise, or that are missing."""
    cfg, found = RunConfig(**dict(zip(WITH_OPTIONS, sections, strict=True))), list[str]()
    for option, kind in OPTIONS.items():
        section, name = option.partition(".")[0], value_of(cfg, kind.option)
        if own_target(kind, name or "") and kind.option not in inert_in(section, getattr(cfg, section)):
            try:
                find(kind, name).typed_options(value_of(cfg, option))
            except ConfigError as error:
                found += str(error).splitlines()
    return found


def unread_options(cfgs: Iterable[RunConfig]) -> list[str]:
    """Options of one's own parts that none of these runs reads: what they are, and what could be."""
    given: dict[tuple[str, str], set[str]] = {}
    for cfg in cfgs:
        for option, kind in OPTIONS.items():
            for name in value_of(cfg, option):
                given.setdefault((option, name), set()).add(value_of(cfg, kind.option) or "none")
    found = []
    for (option, name), parts in given.items():
        kind = OPTIONS[option]
        takes = {part: find(kind, part).takes for part in sorted(parts) if own_target(kind, part)}
        if any(name in known or "**" in known for known in takes.values()):
            continue
        near = difflib.get_close_matches(name, [one for known in takes.values() for one in known], n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        listed = [
            f"{part} takes {', '.join(map(str, known.values())) or 'none'}" for part, known in takes.items()
        ] or [
            f"{kind.option}={', '.join(sorted(parts))} has none; module:Name of your own has its signature's"
        ]
        found.append(f"{option}.{name}: no such option; {'; '.join(listed)}{hint}")
    return found
