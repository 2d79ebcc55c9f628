"""Where in a network attention belongs, found by what its modules do: blocks, stages and the last map.

A residual block is a module that adds what it was given, or a projection of it, to what it made of it. All
modules of such a block's class are blocks, and so is what stands in a chain of them. Feature maps are
(N, C, H, W).
"""

from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import NamedTuple

from torch import nn

from cbam_ablate.models.say_where import SAY_WHERE, say_where
from cbam_ablate.models.trace import Call, Op, Trace, is_map, no_place

CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)
NORMS = (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm)
ADDS = {"add", "add_", "__add__", "__radd__", "__iadd__"}
JOINS = {"cat", "concat", "concatenate"}
POINTWISE = {
    "__getitem__",
    "mul",
    "mul_",
    "__mul__",
    "__rmul__",
    "__imul__",
    "dropout",
    "contiguous",
    "relu",
    "relu_",
    "relu6",
    "hardtanh",
    "leaky_relu",
    "leaky_relu_",
    "elu",
    "silu",
    "gelu",
    "hardswish",
    "mish",
}
"""What may stand between a branch's last norm and the addition: of one map, each value by itself."""

MOST_PROJECTION = 2
"""Layers with weights in a shortcut that changes the shape."""


class Blocks(NamedTuple):
    """A network's blocks in the order of completion, and of those that add, the main operand's value."""

    calls: list[Call]
    branch: dict[str, int]


def block_ends(model: nn.Module, trace: Trace) -> list[str]:
    """The modules at the ends of the residual branches, right before the addition.

    In a network without additions and joins, the modules before the poolings.
    """
    blocks = residual_blocks(model, trace)
    if blocks.calls:
        return [_end_of(model, trace, blocks, call) for call in blocks.calls]
    joining = _joining(trace)
    if joining:
        raise say_where(model, "its blocks join maps side by side and add none", joining)
    chain = _chain(trace)
    return [_end_of(model, trace, blocks, call) for call in chain] or _before_pooling(model, trace)


def stage_ends(model: nn.Module, trace: Trace) -> list[str]:
    """The modules that give a stage's last map, a stage being the blocks whose maps are of one size."""
    calls = residual_blocks(model, trace).calls or _repeated(_joining(trace)) or _chain(trace)
    if not calls:
        if _joining(trace):
            raise say_where(model, "no block of it comes twice", _joining(trace))
        return _before_pooling(model, trace)
    sizes = [_side(call) for call in calls]
    if sizes != sorted(sizes, reverse=True):
        raise say_where(model, "its blocks run in parallel, not in stages", calls)
    last = dict(zip(sizes, calls, strict=True))
    ends = [_stage_of(model, trace, calls, call) for call in last.values()]
    if len(ends) < 2:
        raise say_where(model, "its blocks are all of one stage", calls)
    return ends


def residual_blocks(model: nn.Module, trace: Trace) -> Blocks:
    """The blocks that add, those of their classes, and what stands in a chain of them.

    Raises `ConfigError` where additions are of sequences or of maps with their channels last.
    """
    branch: dict[str, int] = {}
    sums: dict[str, list[int]] = {}
    for call, op in _additions(trace):
        main = _main(trace, call, op)
        if main is not None:
            branch[call.name] = main
            sums.setdefault(call.name, []).append(op.output)
    owners = {name: trace.last[name] for name in sums if not _inside(name, sums)}
    kinds = {type(call.module) for call in owners.values()}
    parents = {_parent(name) for name in owners if _is_container(model, _parent(name))}
    chains = {_parent(parent) for parent in parents if _is_container(model, _parent(parent))}
    stem = next((op.output for op in trace.ops if op.weighted), -1)
    found = []
    for call in trace.last.values():
        siblings = _parent(call.name) in parents or _parent(_parent(call.name)) in chains
        alike = type(call.module) in kinds or (siblings and _looks_around(trace, call))
        is_stem = any(op.output == stem for op in trace.ops[call.first : call.last])
        if alike and not is_stem and _maps_one_to_one(call) and not _inside(call.name, owners):
            found.append(call)
    names = {call.name for call in found}
    for name, call in owners.items():
        if not is_map(call.outputs) and not _inside(name, names):
            raise say_where(model, f"{name} adds sequences, or maps with their channels last", [call])
        if len(sums[name]) > 1 and not _leads_to(trace, call, sums[name][-1]):
            raise say_where(model, f"{name} joins several additions", found)
    return Blocks([call for call in found if not _inside(call.name, names)], branch)


def _additions(trace: Trace) -> Iterator[tuple[Call, Op]]:
    for op in trace.ops:
        if op.name in ADDS and len(op.inputs) == 2 and op.owner >= 0:
            first, second = (trace.shapes[value] for value in op.inputs)
            if first == second and len(first) > 2:
                yield trace.calls[op.owner], op


def _main(trace: Trace, call: Call, op: Op) -> int | None:
    """Which operand is what the call made of its input, the other being the input or a projection of it."""
    if not call.taken or call.outputs is None:
        return None
    depths = trace.depths(call)
    first, second = sorted(op.inputs, key=lambda value: depths.get(value, 0))
    shallow, deep = depths.get(first, 0), depths.get(second, 0)
    from_outside = first in depths or first in call.taken
    return second if from_outside and shallow < deep and shallow <= MOST_PROJECTION else None


def _leads_to(trace: Trace, call: Call, value: int) -> bool:
    """Whether what a call gives is made from a value, one map after the other."""
    made_by = {op.output: op for op in trace.ops[call.first : call.last]}
    given = call.given
    while given is not None and given != value:
        op = made_by.get(given)
        given = op.inputs[0] if op is not None and len(op.inputs) == 1 else None
    return given == value


def _end_of(model: nn.Module, trace: Trace, blocks: Blocks, block: Call) -> str:
    """The last norm, if only factors and activations follow it, or the module that gives what is added.

    In a block that doesn't add, that is what the block gives.
    """
    value = blocks.branch.get(block.name, block.given)
    made_by = {op.output: op for op in trace.ops[block.first : block.last]}
    inside = [call for call in trace.last.values() if call.name.startswith(f"{block.name}.")]
    inside = [call for call in inside if call.first < call.last and is_map(call.outputs)]
    last = None
    while value is not None:
        givers = [call.name for call in inside if call.given == value]
        norms = [name for name in givers if is_norm(trace.last[name].module)]
        if norms:
            return norms[-1]
        last = last or (givers[-1] if givers else None)
        op = made_by.get(value)
        # Of two, the older: a map that is multiplied by what a gate of the network's own made of it.
        value = min(op.inputs) if op is not None and op.name in POINTWISE else None
    if last is not None:
        return last
    reason = f"no module of {block.name} gives the map that it adds at its end"
    raise say_where(model, reason, blocks.calls)


def _stage_of(model: nn.Module, trace: Trace, blocks: list[Call], block: Call) -> str:
    """The block, or the first module around it that gives what leaves the stage."""
    found: list[Call] = []
    call: Call | None = block
    while call is not None:
        inside = [other for other in blocks if other.name.startswith(f"{call.name}.")]
        if any(_side(other) != _side(block) for other in (*inside, call)):
            break
        plain = call.name != block.name and isinstance(call.module, CONTAINERS)
        if not plain and call.given is not None and trace.is_trunk(call.given):
            found.append(call)
        call = trace.last.get(_parent(call.name))
    if not found:
        raise say_where(model, f"no one map leaves the stage that ends in {block.name}", blocks)
    ends = [call for call in found if call.given == found[-1].given]
    # A block of one convolution leaves it to the module around it.
    return next((call.name for call in ends if _convolutions(call.module) > 1), ends[0].name)


def _joining(trace: Trace) -> list[Call]:
    """The modules that join maps side by side, one map in and one out, but those inside others."""
    owners = {trace.calls[op.owner].name for op in trace.ops if _joins(trace, op)}
    found = {name: trace.last[name] for name in owners if _maps_one_to_one(trace.last[name])}
    return [call for call in trace.last.values() if call.name in found and not _inside(call.name, found)]


def _joins(trace: Trace, op: Op) -> bool:
    return op.name in JOINS and op.owner >= 0 and len(op.inputs) > 1 and is_map(trace.shapes[op.output])


def _repeated(calls: list[Call]) -> list[Call]:
    kinds = [type(call.module) for call in calls]
    return [call for call in calls if kinds.count(type(call.module)) > 1]


def _chain(trace: Trace) -> list[Call]:
    """The modules of a class of which there are many, each with several convolutions, in a plain network."""
    units = [
        call
        for call in trace.last.values()
        if _convolutions(call.module) > 1
        and not isinstance(call.module, CONTAINERS)
        and _maps_one_to_one(call)
        and call.given is not None
        and trace.is_trunk(call.given)
    ]
    names = {call.name for call in units}
    return _repeated([call for call in units if not _inside(call.name, names)])


def _before_pooling(model: nn.Module, trace: Trace) -> list[str]:
    """In a plain network: what runs right before each pooling that makes a map smaller."""
    leaves = [call for call in trace.last.values() if not any(call.module.children())]
    ends = [
        before.name
        for before, call in pairwise(leaves)
        if isinstance(call.module, nn.MaxPool2d | nn.AvgPool2d) and call.inputs != call.outputs
    ]
    if len(ends) < 2:
        raise no_place(model, "neither a series of blocks nor poolings that divide it into stages", SAY_WHERE)
    return ends


def is_norm(module: nn.Module) -> bool:
    """Whether a module normalises and does nothing else that has weights."""
    named = "norm" in type(module).__name__.lower() and not _convolutions(module)
    return isinstance(module, NORMS) or (named and any(True for _ in module.parameters(recurse=False)))


def _maps_one_to_one(call: Call) -> bool:
    return call.inputs is not None and len(call.inputs) == 4 and is_map(call.outputs)


def _looks_around(trace: Trace, call: Call) -> bool:
    """Whether it has modules inside and its convolutions see more than a pixel."""
    if isinstance(call.module, CONTAINERS) or not any(call.module.children()):
        return False
    return any(op.kernel > 1 for op in trace.ops[call.first : call.last])


def _side(call: Call) -> int:
    return call.outputs[2] if call.outputs is not None and len(call.outputs) == 4 else 0


def _convolutions(module: nn.Module) -> int:
    return sum(isinstance(inner, nn.Conv2d) for inner in module.modules())


def _parent(name: str) -> str:
    return name.rpartition(".")[0]


def _inside(name: str, others: Iterable[str]) -> bool:
    """Whether a module is inside another of these."""
    found = set(others)
    parts = name.split(".")
    return any(".".join(parts[:end]) in found for end in range(1, len(parts)))


def _is_container(model: nn.Module, name: str) -> bool:
    return bool(name) and isinstance(model.get_submodule(name), CONTAINERS)
