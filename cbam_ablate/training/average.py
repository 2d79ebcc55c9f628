"""The exponential moving average of a network's weights and buffers."""

from collections.abc import Iterable

import torch
from torch import Tensor

Pairs = list[tuple[list[Tensor], list[Tensor]]]
"""Averages and what they follow, (...) each, one pair of lists a number format."""


def paired(averages: Iterable[Tensor], followed: Iterable[Tensor]) -> Pairs:
    """Averages with what they follow, in the same order."""
    found: dict[torch.dtype, tuple[list[Tensor], list[Tensor]]] = {}
    for average, source in zip(averages, followed, strict=True):
        into, sources = found.setdefault(average.dtype, ([], []))
        into.append(average)
        sources.append(source)
    return list(found.values())


@torch.no_grad()
def ema_update(pairs: Pairs, decay: float, first: bool) -> None:
    """Moves averages on by a step; the first time, and what is counted, they become what they follow.

    `AveragedModel.update_parameters` does the same but copies its count to the device, and waits for that.
    """
    for into, sources in pairs:
        if first or not into[0].is_floating_point():
            torch._foreach_copy_(into, sources)
        else:
            torch._foreach_lerp_(into, sources, 1 - decay)
