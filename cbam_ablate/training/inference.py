"""How fast networks answer: latency, throughput and memory in evaluation, of several by turns."""

import random
import time
import weakref
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from cbam_ablate.training.evaluate import autocast

WARM_UP = 5
"""Calls of each network before any is timed."""


class Spread(NamedTuple):
    """Median and quartiles of `calls` timed calls."""

    median: float
    low: float
    high: float
    calls: int


class Inference(NamedTuple):
    """Of one network: time for one image, images a second in batches, MiB of weights and at the peak."""

    latency_ms: Spread
    images_per_second: Spread
    weights_mib: float
    peak_mib: float


def measure(
    networks: Mapping[str, nn.Module], images: Tensor, device: torch.device, precision: str, rounds: int
) -> dict[str, Inference]:
    """Times every network in turn, in a new order each round, so that what drifts hits all alike.

    `images` (B, C, H, W) are on the device; latency is of the first alone, in `rounds` rounds, throughput of
    all, in a fifth as many. Networks are in evaluation mode on the device.
    """
    one = images[:1].contiguous(memory_format=torch.channels_last)
    with torch.inference_mode(), autocast(device, precision):
        alone = _by_turns(networks, one, device, rounds)
        together = _by_turns(networks, images, device, max(5, rounds // 5))
        peaks = {name: _peak(network, images, device) for name, network in networks.items()}
    return {
        name: Inference(
            _spread(1000 * alone[name]),
            _spread(len(images) / together[name]),
            _weights(network),
            peaks[name],
        )
        for name, network in networks.items()
    }


def _by_turns(
    networks: Mapping[str, nn.Module], images: Tensor, device: torch.device, rounds: int
) -> dict[str, np.ndarray]:
    """Seconds of each call (rounds,) by network."""
    for network in networks.values():
        for _ in range(WARM_UP):
            network(images)
    order, draw = list(networks), random.Random(0)
    seconds: dict[str, list[float]] = {name: [] for name in order}
    for _ in range(rounds):
        draw.shuffle(order)
        for name in order:
            _wait(device)
            started = time.perf_counter()
            networks[name](images)
            _wait(device)
            seconds[name].append(time.perf_counter() - started)
    return {name: np.array(found) for name, found in seconds.items()}


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _spread(values: np.ndarray) -> Spread:
    low, median, high = np.percentile(values, (25, 50, 75)).tolist()
    return Spread(median, low, high, len(values))


def _weights(network: nn.Module) -> float:
    tensors = [*network.parameters(), *network.buffers()]
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors) / 2**20


def _peak(network: nn.Module, images: Tensor, device: torch.device) -> float:
    """MiB of weights and the most that a call holds beside them, its images included."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        network(images)
        held = torch.cuda.max_memory_allocated(device) - before
    else:
        with _Held() as mode:
            network(images)
        held = mode.peak
    return _weights(network) + (held + images.numel() * images.element_size()) / 2**20


class _Held(TorchDispatchMode):
    """Counts the bytes of the tensors that operators make and that are still alive."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._known: set[int] = set()

    def __torch_dispatch__(
        self, operator: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        given = {_address(value) for value in tree_leaves((args, kwargs)) if isinstance(value, Tensor)}
        found = operator(*args, **(kwargs or {}))
        for value in tree_leaves(found):
            if isinstance(value, Tensor) and (address := _address(value)) not in given | self._known:
                size = value.untyped_storage().nbytes()
                self._known.add(address)
                self.now += size
                self.peak = max(self.peak, self.now)
                weakref.finalize(value.untyped_storage(), self._gone, address, size)
        return found

    def _gone(self, address: int, size: int) -> None:
        self._known.discard(address)
        self.now -= size


def _address(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()
