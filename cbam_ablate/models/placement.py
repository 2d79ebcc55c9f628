"""Puts attention into anybody's network: where it is asked for by name, or where it is found to belong.

Feature maps are (N, C, H, W).
"""

import difflib
from collections.abc import Callable, Iterable, Sequence
from fnmatch import fnmatchcase
from typing import NamedTuple

from torch import nn

from cbam_ablate.config.schema import AttentionConfig
from cbam_ablate.errors import ConfigError
from cbam_ablate.models.attended import gates_in, insert
from cbam_ablate.models.final_map import before_classifier
from cbam_ablate.models.gates import Gates
from cbam_ablate.models.places import block_ends, is_norm, stage_ends
from cbam_ablate.models.trace import Trace, no_place, watch

PLACES = ("block", "class", "both", "stage")
POSITIONS = ("after", "before")
WILD = set("*?[")


class Place(NamedTuple):
    """The module whose output is attended to, with position=before its input. `kind`: block, class, stage."""

    module: str
    channels: int
    kind: str


def attach(
    model: nn.Module,
    make: Callable[[int], nn.Module],
    where: str = "block",
    *,
    at: Sequence[str] = (),
    position: str = "after",
    size: int = 224,
) -> nn.Module:
    """Inserts `make(C)` into `model`, in place, and returns it: `attach(net, lambda c: CBAM(c), "class")`.

    `where`: `block` is at the end of each residual block's branch, right before the addition (in a plain
    network before each pooling), `class` on the last feature map, `both`, or `stage`, after each stage but
    the last. `at` takes the place of the search: patterns of module names (`layer3.*`), whose outputs are
    attended to. `position=before` attends to what the module at the end of the branch, which must be a
    normalisation, or the one named by `at`, takes. The names of the network's own weights in a state dict
    stay. `size` is the side of the images it is watched with, in pixels.
    Raises `ConfigError` where blocks, stages or the last map can't be told, saying what to write instead, and
    for a network that has attention already.
    """
    for place in find_places(model, where, at=at, position=position, size=size):
        put(model, place, make(place.channels), position=position)
    return model


def put(model: nn.Module, place: Place, attention: nn.Module, *, position: str = "after") -> None:
    """Inserts one attention module at a place found before, in place."""
    attention.is_gate = True  # type: ignore[assignment]
    insert(model, place.module, attention, before=position == "before" and place.kind == "block")


def put_all(model: nn.Module, cfg: AttentionConfig, size: int) -> nn.Module:
    """Attention as a config has it, in place: where `at` names modules, or where the placement is found."""
    gates, where = Gates(cfg), "block" if cfg.placement == "at" else cfg.placement
    for place in find_places(model, where, at=cfg.at, position=cfg.position, size=size):
        put(model, place, gates.make(place.kind, place.channels), position=cfg.position)
    return model


def find_places(
    model: nn.Module,
    where: str = "block",
    *,
    at: Sequence[str] = (),
    position: str = "after",
    size: int = 224,
) -> list[Place]:
    """The places that `attach` would put attention at, in the order of the network. Raises as it does."""
    if where not in PLACES:
        raise ConfigError(f"where={where!r}: must be one of {', '.join(PLACES)}")
    if position not in POSITIONS:
        raise ConfigError(f"position={position!r}: must be one of {', '.join(POSITIONS)}")
    there = list(gates_in(model))
    if there:
        raise ConfigError(
            f"{type(model).__name__} has attention already ({len(there)} modules, the first at {there[0]}); "
            "attach once, with where=both or at=[...] for several places, or build the network anew"
        )
    trace = watch(model, size)
    if at:
        return [_place(model, trace, name, "block", position) for name in named(model, at)]
    found = []
    if where in ("block", "both"):
        ends = dict.fromkeys(block_ends(model, trace))
        found += [_place(model, trace, name, "block", position, searched=True) for name in ends]
    if where in ("class", "both"):
        found.append(_place(model, trace, before_classifier(model, trace), "class"))
    if where == "stage":
        found += [_place(model, trace, name, "stage") for name in stage_ends(model, trace)[:-1]]
    return found


def named(model: nn.Module, patterns: Iterable[str]) -> list[str]:
    """The modules that patterns name, in the network's order; `*` stands for a part between two dots.

    A pattern that ends in `*` leaves out the identity, which is where a network has nothing.
    Raises `ConfigError` for a pattern that matches nothing, with names like it.
    """
    modules = dict(model.named_modules())
    modules.pop("")
    found: set[str] = set()
    for pattern in patterns:
        matched = {name for name in modules if _matches(name, pattern)}
        if WILD & set(pattern.rpartition(".")[2]):
            matched = {name for name in matched if type(modules[name]) is not nn.Identity}
        if not matched:
            raise ConfigError(
                f"model.attention.at: {pattern} names no module of {type(model).__name__}; "
                f"{_like(pattern, list(modules))}"
            )
        found |= matched
    return [name for name in modules if name in found]


def _matches(name: str, pattern: str) -> bool:
    parts, wanted = name.split("."), pattern.split(".")
    return len(parts) == len(wanted) and all(map(fnmatchcase, parts, wanted))


def _like(pattern: str, names: list[str]) -> str:
    near = difflib.get_close_matches(pattern, names, n=4, cutoff=0.5)
    if near:
        return f"near it are {', '.join(near)}"
    top = [name for name in names if "." not in name]
    return f"at the top are {', '.join(top[:12])}"


def _place(
    model: nn.Module,
    trace: Trace,
    name: str,
    kind: str,
    position: str = "after",
    *,
    searched: bool = False,
) -> Place:
    call, before = trace.last.get(name), position == "before"
    if call is None:
        raise no_place(model, f"its {name} doesn't run by itself", "name a module inside or around it")
    if trace.times[name] > 1:
        reason = f"its {name} runs more than once, so attention after it would too"
        raise no_place(model, reason, "name another in model.attention.at, or use placement=none")
    if before and searched and not is_norm(call.module):
        raise no_place(
            model,
            f"position=before: a branch ends in {name}, a {type(call.module).__name__}, not in a norm",
            "name the norms in model.attention.at=[...]",
        )
    shape = call.inputs if before else call.outputs
    if shape is None or len(shape) != 4:
        what = "takes" if before else "gives"
        given = "several tensors" if shape is None else f"a tensor of shape {tuple(shape)}"
        raise no_place(model, f"its {name} {what} {given}, not one map (N, C, H, W)", "name another module")
    return Place(name, shape[1], kind)
