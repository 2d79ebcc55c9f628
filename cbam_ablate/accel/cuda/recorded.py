"""A training step recorded as one CUDA graph and replayed, so that a small network doesn't wait for Python.

Source: pytorch.org/docs/stable/notes/cuda.html, CUDA graphs.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor

from cbam_ablate.training.steps import Step

WARM_UP = 2
"""Steps that allocate what a step needs, such as momenta, before the one that is recorded."""
APART = 0.1
"""The part of a tensor's change by which a recorded step may differ: sums may be taken in another order."""
NOISE = 1e-6
"""The same for what changes by rounding errors alone, in parts of all tensors of its kind."""

Kinds = list[list[Tensor]]
"""What a step changes: weights, statistics and so on."""


class Graph(Protocol):
    """What records work on the device and does it again, on the same memory."""

    def beside(self, work: Callable[[], Any]) -> Any: ...
    def record(self, work: Callable[[], Any]) -> Any: ...
    def replay(self) -> None: ...


class CudaGraph:
    """`Graph` of the current CUDA device."""

    def __init__(self) -> None:
        self.graph = torch.cuda.CUDAGraph()
        self.stream = torch.cuda.Stream()

    def beside(self, work: Callable[[], Any]) -> Any:
        """Does the work on the stream that it will be recorded on."""
        self.stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self.stream):
            done = work()
        torch.cuda.current_stream().wait_stream(self.stream)
        return done

    def record(self, work: Callable[[], Any]) -> Any:
        """Notes what the work would do, without doing it; returns where its results will be."""
        before = torch.cuda.current_stream()
        try:
            with torch.cuda.graph(self.graph, stream=self.stream):
                return work()
        except Exception:
            # PyTorch 2.11 leaves the generator recording, so that dropout fails, until a recording ends.
            with torch.cuda.graph(torch.cuda.CUDAGraph(), stream=self.stream):
                torch.zeros((), device="cuda")
            raise
        finally:  # which a recording that was broken off leaves undone
            torch.cuda.set_stream(before)

    def replay(self) -> None:
        self.graph.replay()


class Recorded:
    """Does a step, recorded from its third call on; where it can't be, `say` hears why. Without a graph it
    does the step as it is.

    The third step is done as it is and, from the same start, as it was recorded; unless both lead to the
    same place the recording isn't used. All calls give the same step, images and labels of the same shapes
    and as many rates. What a call returns holds until the next one.
    """

    def __init__(self, device: torch.device, say: Callable[[str], None], graph: Graph | None) -> None:
        self.say, self.calls = say, 0
        self.graph = graph
        self.device = device
        self.rates: list[Tensor] = []
        self.inputs: tuple[Tensor, Tensor] | None = None
        self.loss: Tensor | None = None

    def __call__(
        self, step: Step, changed: Callable[[], Kinds], images: Tensor, labels: Tensor, rates: Sequence[float]
    ) -> Tensor:
        """The loss; `changed` says what the step changes."""
        if self.graph is None:
            return step(images, labels, rates)
        if self.inputs is None:
            self.inputs = images.clone(), labels.clone()
            self.rates = [torch.zeros((), device=self.device) for _ in rates]
        for kept, given in zip(self.inputs, (images, labels), strict=True):
            kept.copy_(given)
        for held, rate in zip(self.rates, rates, strict=True):
            held.fill_(rate)
        if self.loss is not None:
            self.graph.replay()
            return self.loss
        work = partial(step, *self.inputs, self.rates)
        self.calls += 1
        if self.calls > WARM_UP:
            return self._record(self.graph, work, changed())
        loss: Tensor = self.graph.beside(work)
        return loss

    def _record(self, graph: Graph, work: Callable[[], Tensor], changed: Kinds) -> Tensor:
        """Does the step, and keeps its recording where that does the same."""
        before, state = _copies(changed), torch.cuda.get_rng_state(self.device)
        loss: Tensor = graph.beside(work)
        expected, state_after = _copies(changed), torch.cuda.get_rng_state(self.device)
        _put(changed, before)
        torch.cuda.set_rng_state(state, self.device)
        try:
            recorded: Tensor = graph.record(work)
            graph.replay()
            if _alike(before, expected, changed):
                self.loss = recorded
                return recorded
            cause = "it does not do what it does unrecorded"
        except Exception as error:  # whatever waits for the device, and none of it is worth the run
            cause = _first_line(error.__context__ or error)
        _put(changed, expected)
        torch.cuda.set_rng_state(state_after, self.device)
        self.graph = self.inputs = None  # with the memory that they hold
        self.say(f"the step can't be recorded as a CUDA graph, so the run goes on without: {cause}")
        return loss


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


@torch.no_grad()
def _copies(changed: Kinds) -> Kinds:
    return [[tensor.clone() for tensor in kind] for kind in changed]


@torch.no_grad()
def _put(changed: Kinds, values: Kinds) -> None:
    for tensors, kept in zip(changed, values, strict=True):
        for tensor, value in zip(tensors, kept, strict=True):
            tensor.copy_(value)


@torch.no_grad()
def _alike(before: Kinds, expected: Kinds, found: Kinds) -> bool:
    """Whether each tensor has gone where it should, up to a part of its way and the noise of its kind.

    What is counted is equal, and what isn't finite the same.
    """
    alike = []
    for was, wanted, here in zip(before, expected, found, strict=True):
        noise = NOISE**2 * sum(_squares(each) for each in wanted)
        for start, goal, end in zip(was, wanted, here, strict=True):
            alike.append((goal.isfinite() == end.isfinite()).all())
            if goal.is_floating_point():
                alike.append(
                    _squares(end.double() - goal) <= APART**2 * _squares(goal.double() - start) + noise
                )
            else:
                alike.append((goal == end).all())
    return bool(torch.stack(alike).all())


def _squares(x: Tensor) -> Tensor:
    return x.double().nan_to_num(0, 0, 0).square().sum()


def recorded(how: str, device: torch.device, say: Callable[[str], None]) -> Recorded:
    """What does a run's steps where `train.compile` is `how`: recorded where that is asked for and can be."""
    if how == "graph" and device.type != "cuda":
        say("train.compile=graph is for CUDA; the run goes on without it")
    wanted = device.type == "cuda" and how != "off"
    return Recorded(device, say, CudaGraph() if wanted else None)
