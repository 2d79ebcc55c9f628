"""One image through a network on the meta device: which module gave which map, and what was made of it.

Feature maps are (N, C, H, W). A value is one tensor at one moment, known by a number: a tensor that is
changed in place becomes another value.
"""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from copy import deepcopy
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from cbam_ablate.errors import ConfigError
from cbam_ablate.own import reason_of

WEIGHTED = ("conv", "linear", "addmm")
"""How the functions that multiply by weights begin their names."""


class Op(NamedTuple):
    """A function called on values made from the image; `owner` is the innermost call that it was in."""

    name: str
    inputs: tuple[int, ...]
    output: int
    owner: int
    kernel: int
    """Side of a convolution's kernel, 0 for what isn't one."""

    @property
    def weighted(self) -> bool:
        return self.name.startswith(WEIGHTED)


class Call(NamedTuple):
    """A module as it ran: the ops `first:last`, the shapes of its first argument and of what it returned.

    `order` is its place in the order of completion. `inputs` and `outputs` are None where these weren't
    tensors; `taken` are all values that it was called with, `given` is the one that came out.
    """

    name: str
    order: int
    module: nn.Module
    inputs: torch.Size | None
    outputs: torch.Size | None
    taken: frozenset[int]
    given: int | None
    first: int
    last: int


class Trace:
    """`calls` in the order in which they began, an op's owner being the place of its call.

    `last` has the last call of each name, in the order of completion, `times` how often each ran.
    """

    def __init__(self) -> None:
        self.ops: list[Op] = []
        self.calls: list[Call] = []
        self.shapes: list[torch.Size] = []
        self.last: dict[str, Call] = {}
        self.times: dict[str, int] = {}

    def close(self) -> None:
        """To be called once everything has run."""
        for call in sorted(self.calls, key=lambda call: call.order):
            self.last.pop(call.name, None)
            self.last[call.name] = call
            self.times[call.name] = self.times.get(call.name, 0) + 1

    def depths(self, call: Call) -> dict[int, int]:
        """Of each value made in a call, the most layers with weights on a way to it from the call's input."""
        found: dict[int, int] = {}
        for op in self.ops[call.first : call.last]:
            before = max((found.get(value, 0) for value in op.inputs), default=0)
            found[op.output] = max(found.get(op.output, 0), before + op.weighted)
        return found

    def is_trunk(self, value: int) -> bool:
        """Whether all that comes after a value is made from it alone."""
        made = next(index for index, op in enumerate(self.ops) if op.output == value)
        older = {op.output for op in self.ops[:made]} | {0}
        return not any(older & set(op.inputs) - {value} for op in self.ops[made + 1 :])


class _Recorder(TorchFunctionMode):
    def __init__(self, trace: Trace, image: Tensor) -> None:
        super().__init__()
        self.trace, self.stack = trace, list[int]()
        self.value_of: dict[int, int] = {}
        self.alive: list[Tensor] = []  # an id must name one tensor
        self.done = 0
        self.new(image)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        inputs = self.known((args, kwargs))
        name = getattr(func, "__name__", "")
        # On the meta device a batch norm takes longer than all else, and gives the shape that it is given.
        out = args[0].clone() if name == "batch_norm" and args else func(*args, **kwargs)
        if inputs:
            self.note(name, inputs, out, _kernel(name, args, kwargs))
        return out

    def note(self, name: str, inputs: tuple[int, ...], out: Any, kernel: int = 0) -> None:
        owner = self.stack[-1] if self.stack else -1
        for tensor in _tensors(out):
            self.trace.ops.append(Op(name, inputs, self.new(tensor), owner, kernel))

    def new(self, tensor: Tensor) -> int:
        value = len(self.trace.shapes)
        self.trace.shapes.append(tensor.shape)
        self.value_of[id(tensor)] = value
        self.alive.append(tensor)
        return value

    def known(self, nested: Any) -> tuple[int, ...]:
        found = [self.value_of[id(tensor)] for tensor in _tensors(nested) if id(tensor) in self.value_of]
        return tuple(dict.fromkeys(found))

    def watch(self, name: str, module: nn.Module) -> None:
        begun: list[tuple[int, int, tuple[int, ...]]] = []

        def enter(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            number = len(self.trace.calls)
            begun.append((number, len(self.trace.ops), self.known((args, kwargs))))
            self.stack.append(number)
            self.trace.calls.append(
                Call(
                    name=name,
                    order=-1,
                    module=module,
                    inputs=None,
                    outputs=None,
                    taken=frozenset(),
                    given=None,
                    first=0,
                    last=0,
                )
            )

        def leave(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> None:
            number, first, taken = begun.pop()
            self.stack.pop()
            if taken and not all(id(tensor) in self.value_of for tensor in _tensors(out)):
                self.note("unseen", taken, out)
            inputs = args[0].shape if args and isinstance(args[0], Tensor) else None
            single = isinstance(out, Tensor)
            given = self.value_of.get(id(out)) if single else None
            order, self.done = self.done, self.done + 1
            self.trace.calls[number] = Call(
                name=name,
                order=order,
                module=module,
                inputs=inputs,
                outputs=out.shape if single else None,
                taken=frozenset(taken),
                given=given,
                first=first,
                last=len(self.trace.ops),
            )

        module.register_forward_pre_hook(enter, with_kwargs=True)
        module.register_forward_hook(leave, with_kwargs=True)


def watch(model: nn.Module, size: int) -> Trace:
    """Runs one image through a copy on the meta device, where it costs nothing.

    `size` is the side of the image, in pixels. Raises `ConfigError` where that doesn't work.
    """
    first = next((module for module in model.modules() if isinstance(module, nn.Conv2d)), None)
    if first is None:
        raise no_place(model, "it has no convolution")
    # What timm says of a network, where it is one of timm's.
    own = (getattr(model, "pretrained_cfg", None) or {}).get("input_size")
    try:
        return _run(model, (first.in_channels, size, size))
    except Exception as error:  # timm's, torchvision's and one's own code raise errors of many kinds
        if own is not None:
            with suppress(Exception):
                return _run(model, own)
        raise no_place(model, f"it doesn't run on {size}x{size} images ({reason_of(error)})") from error


def _run(model: nn.Module, shape: tuple[int, ...]) -> Trace:
    copy = deepcopy(model).to("meta").eval()
    image = torch.empty(1, *shape, device="meta")
    trace = Trace()
    recorder = _Recorder(trace, image)
    for name, module in copy.named_modules():
        if name:
            recorder.watch(name, module)
    with torch.no_grad(), recorder:
        copy(image)
    trace.close()
    return trace


def is_map(shape: torch.Size | None) -> bool:
    """Whether it is (N, C, H, W) of square images; with the channels last H isn't the last but one."""
    return shape is not None and len(shape) == 4 and shape[2] == shape[3]


def no_place(model: nn.Module, reason: str, instead: str = "use placement=none") -> ConfigError:
    """The error where a network has no place for attention, or none that can be told."""
    return ConfigError(f"no place for attention in {type(model).__name__}: {reason}; {instead}")


def _tensors(nested: Any) -> Iterator[Tensor]:
    if isinstance(nested, Tensor):
        yield nested
    elif isinstance(nested, dict):
        yield from _of_each(nested.values())
    elif isinstance(nested, list | tuple):
        yield from _of_each(nested)


def _of_each(items: Iterable[Any]) -> Iterator[Tensor]:
    for item in items:
        yield from _tensors(item)


def _kernel(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> int:
    if not name.startswith("conv"):
        return 0
    weight = kwargs.get("weight", args[1] if len(args) > 1 else None)
    return int(weight.shape[-1]) if isinstance(weight, Tensor) and weight.ndim == 4 else 0
