"""A training step recorded as one CUDA graph and replayed, so that a small network doesn't wait for Python.

Source: pytorch.org/docs/stable/notes/cuda.html, CUDA graphs.
"""

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor

WARM_UP = 3
"""Steps that allocate what a step needs, such as momenta, before one is recorded."""

Step = Callable[[Tensor, Tensor, Any], tuple[Tensor, Tensor]]
"""From images, labels and the learning rate to the loss and the logits."""


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
        with torch.cuda.graph(self.graph, stream=self.stream):
            return work()

    def replay(self) -> None:
        self.graph.replay()


class Recorded:
    """A step that is recorded at its fourth call; where it can't be, `say` hears why and it stays as it is.

    All calls give images and labels of the same shapes. What a call returns holds until the next one.
    """

    def __init__(self, step: Step, device: torch.device, say: Callable[[str], None], graph: Graph) -> None:
        self.step, self.say, self.graph = step, say, graph
        self.calls, self.fails = 0, False
        self.lr = torch.zeros((), device=device)
        self.inputs: tuple[Tensor, Tensor] | None = None
        self.results: tuple[Tensor, Tensor] | None = None

    def __call__(self, images: Tensor, labels: Tensor, lr: float) -> tuple[Tensor, Tensor]:
        if self.fails:
            return self.step(images, labels, lr)
        self.lr.fill_(lr)
        if self.inputs is None:
            self.inputs = images.clone(), labels.clone()
        for kept, given in zip(self.inputs, (images, labels), strict=True):
            kept.copy_(given)
        self.calls += 1
        if self.calls <= WARM_UP:
            done: tuple[Tensor, Tensor] = self.graph.beside(self._work)
            return done
        if self.results is None:
            try:
                self.results = self.graph.record(self._work)
            except Exception as error:  # whatever waits for the device, and none of it is worth the run
                first = (str(error).splitlines() or [type(error).__name__])[0]
                self.say(f"the step can't be recorded as a CUDA graph, so the run goes on without: {first}")
                self.fails = True
                return self.step(images, labels, lr)
        self.graph.replay()
        return self.results

    def _work(self) -> tuple[Tensor, Tensor]:
        assert self.inputs is not None
        return self.step(*self.inputs, self.lr)
