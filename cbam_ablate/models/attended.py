"""A module and attention after or before it, as modules of the network that they are put into.

Maps are (N, C, H, W).
"""

from typing import Any

from torch import Tensor, nn

ATTENTION = "attention"
INNER = "module."


class Attended(nn.Module):
    """`attention(module(x))`, or `module(attention(x))` with `before`, in the place of `module`.

    In a state dict the module's own tensors keep the names that they had, so that weights saved without
    attention, or by earlier versions of this package, load; the attention's begin with `attention.`.
    """

    def __init__(self, module: nn.Module, attention: nn.Module, *, before: bool = False) -> None:
        super().__init__()
        if before:
            self.attention = attention
        self.module = module
        if not before:
            self.attention = attention
        self.before = before
        # A module that has an `attention` of its own keeps its tensors apart from ours.
        self.transparent = not hasattr(module, ATTENTION)
        self.register_state_dict_post_hook(_as_before)
        self.register_load_state_dict_pre_hook(_as_here)

    def forward(self, x: Tensor, *more: Any, **named: Any) -> Tensor:
        if self.before:
            made: Tensor = self.module(self.attention(x), *more, **named)
            return made
        attended: Tensor = self.attention(self.module(x, *more, **named))
        return attended


def _as_before(module: nn.Module, state: dict[str, Any], prefix: str, metadata: Any) -> None:
    for name in list(state) if module.transparent else ():
        if name.startswith(prefix + INNER):
            # Taken out and put back, each of them, so that the order stays.
            state[prefix + name[len(prefix + INNER) :]] = state.pop(name)
        elif name.startswith(prefix):
            state[name] = state.pop(name)


def _as_here(module: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    for name in list(state) if module.transparent else ():
        own = name[len(prefix) :]
        if name.startswith(prefix) and not own.startswith((f"{ATTENTION}.", INNER)):
            state[f"{prefix}{INNER}{own}"] = state.pop(name)


def insert(network: nn.Module, name: str, attention: nn.Module, *, before: bool = False) -> None:
    """Puts attention after (or before) the module called `name`, in place."""
    module = network.get_submodule(name)
    if not before and type(module).forward is nn.Sequential.forward and _free(module):
        module.add_module(ATTENTION, attention)
        return
    parent, _, own = name.rpartition(".")
    network.get_submodule(parent).register_module(own, Attended(module, attention, before=before))


def gates_in(network: nn.Module) -> dict[str, nn.Module]:
    """The attention modules that were put into a network, by their names, but those inside others."""
    found: dict[str, nn.Module] = {}
    for name, module in network.named_modules():
        if hasattr(module, "is_gate") and not name.startswith(tuple(f"{outer}." for outer in found)):
            found[name] = module
    return found


def module_of(network: nn.Module, gate: str) -> str:
    """The module whose output or input a gate attends to; the gate's own name where a block calls it."""
    parent, _, own = gate.rpartition(".")
    put = isinstance(network.get_submodule(parent), Attended | nn.Sequential)
    return parent if put and own == ATTENTION else gate


def _free(sequence: nn.Module) -> bool:
    """Whether its last place is for attention, and free: there is nothing, or the identity."""
    children = dict(sequence.named_children())
    return ATTENTION not in children or (
        list(children)[-1] == ATTENTION and type(children[ATTENTION]) is nn.Identity
    )
