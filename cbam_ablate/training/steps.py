"""How a run's steps are done."""

from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from cbam_ablate.config.schema import RunConfig

Step = Callable[[Tensor, Tensor, Sequence[float | Tensor]], Tensor]
"""From images, labels and learning rates, one a part of the run, to the loss."""


class Steps(Protocol):
    """Does a run's steps. `model` holds the weights; `network`, which a step calls, it or a faster form."""

    model: nn.Module
    network: nn.Module

    def __call__(
        self,
        step: Step,
        changed: Callable[[], list[list[Tensor]]],
        images: Tensor,
        labels: Tensor,
        rates: Sequence[float],
    ) -> Tensor:
        """Does the step and returns its loss, which holds until the next call.

        `changed` says which tensors the step changes: weights, statistics, the optimiser's state and totals.
        """
        ...

    def epoch_done(self, seconds_to_go: float) -> None:
        """Hears after each epoch how long the rest of the run will take, in seconds."""

    def close(self) -> None:
        """Hears that the run is over."""


StepMaker = Callable[[RunConfig, nn.Module, torch.device, str, Callable[[str], None]], Steps]
"""From a run's config, network, device, precision and log to what does its steps."""


class PlainSteps:
    """Every step as it is written."""

    def __init__(
        self,
        cfg: RunConfig,
        model: nn.Module,
        device: torch.device,
        precision: str,
        say: Callable[[str], None],
    ) -> None:
        self.model = self.network = model

    def __call__(
        self,
        step: Step,
        changed: Callable[[], list[list[Tensor]]],
        images: Tensor,
        labels: Tensor,
        rates: Sequence[float],
    ) -> Tensor:
        return step(images, labels, rates)

    def epoch_done(self, seconds_to_go: float) -> None:
        pass

    def close(self) -> None:
        pass
