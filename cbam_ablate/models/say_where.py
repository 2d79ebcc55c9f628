"""What to write where a network's places for attention can't be told."""

import re
from collections.abc import Iterable

from torch import nn

from cbam_ablate.errors import ConfigError
from cbam_ablate.models.trace import Call, is_map, no_place

SAY_WHERE = "name the modules whose output it gates, model.attention.at=[...], or use placement=none"


def say_where(model: nn.Module, reason: str, blocks: Iterable[Call]) -> ConfigError:
    """The error where a place can't be told, with what to write to have attention after each block."""
    names = {call.name for call in blocks if is_map(call.outputs)}
    if not names:
        return no_place(model, reason, SAY_WHERE)
    short = patterns_of(model, names)
    shown = ",".join(short[:4]) + (",..." if len(short) > 4 else "")
    return no_place(model, reason, f"model.attention.at=[{shown}] puts it after each, placement=none nowhere")


def patterns_of(model: nn.Module, names: Iterable[str]) -> list[str]:
    """These names as few patterns that match no others, numbers given way to `*`."""
    wanted, found = set(names), dict[str, None]()
    every = [name for name, module in model.named_modules() if type(module) is not nn.Identity]
    shapes = {name: re.sub(r"(?<![^.])\d+(?![^.])", "*", name) for name in every}
    for name in every:
        if name in wanted:
            alike = {other for other in every if shapes[other] == shapes[name]}
            found[shapes[name] if alike <= wanted else name] = None
    return list(found)
