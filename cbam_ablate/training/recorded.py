"""A training step recorded as one CUDA graph and replayed, so that a small network doesn't wait for Python.

Source: pytorch.org/docs/stable/notes/cuda.html, CUDA graphs.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor

WARM_UP = 3
"""Steps that allocate what a step needs, such as momenta, before one is recorded."""

Step = Callable[[Tensor, Tensor, Sequence[float | Tensor]], tuple[Tensor, Tensor]]
"""From images, labels and learning rates to the loss and the logits."""


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
        finally:  # which a recording that was broken off leaves undone
            torch.cuda.set_stream(before)

    def replay(self) -> None:
        self.graph.replay()


class Recorded:
    """Does a step, recorded from its fourth call on; where it can't be, `say` hears why.

    All calls give the same step, images and labels of the same shapes and as many rates. What a call returns
    holds until the next one.
    """

    def __init__(self, device: torch.device, say: Callable[[str], None], graph: Graph) -> None:
        self.say, self.calls = say, 0
        self.graph: Graph | None = graph
        self.device = device
        self.rates: list[Tensor] = []
        self.inputs: tuple[Tensor, Tensor] | None = None
        self.results: tuple[Tensor, Tensor] | None = None

    def __call__(
        self, step: Step, images: Tensor, labels: Tensor, rates: Sequence[float]
    ) -> tuple[Tensor, Tensor]:
        if self.graph is None:
            return step(images, labels, rates)
        if self.inputs is None:
            self.inputs = images.clone(), labels.clone()
            self.rates = [torch.zeros((), device=self.device) for _ in rates]
        for kept, given in zip(self.inputs, (images, labels), strict=True):
            kept.copy_(given)
        for held, rate in zip(self.rates, rates, strict=True):
            held.fill_(rate)
        work = partial(step, *self.inputs, self.rates)
        self.calls += 1
        if self.calls <= WARM_UP:
            done: tuple[Tensor, Tensor] = self.graph.beside(work)
            return done
        if self.results is None:
            self.results = self._record(self.graph, work)
        if self.results is None:
            self.graph = self.inputs = None  # with the memory that they hold
            return step(images, labels, rates)
        self.graph.replay()
        return self.results

    def _record(self, graph: Graph, work: Callable[[], Any]) -> Any:
        try:
            return graph.record(work)
        except Exception as error:  # whatever waits for the device, and none of it is worth the run
            cause = error.__context__ or error
            first = (str(cause).splitlines() or [type(cause).__name__])[0]
            self.say(f"the step can't be recorded as a CUDA graph, so the run goes on without: {first}")
            return None


def recorded(asked: bool, device: torch.device, say: Callable[[str], None]) -> Recorded | None:
    """What records a run's steps, where that is asked for and the device can."""
    if asked and device.type == "cuda":
        return Recorded(device, say, CudaGraph())
    if asked:
        say("train.compile=graph is for CUDA; the run goes on without it")
    return None
