"""torch.compile for a network, tried before training so that it can't fail a run."""

from collections.abc import Callable

import torch
from torch import nn

from cbam_ablate.config.facts import DATASETS
from cbam_ablate.config.schema import RunConfig


def compiled_or_eager(
    model: nn.Module,
    cfg: RunConfig,
    device: torch.device,
    cast: torch.autocast,
    say: Callable[[str], None],
) -> nn.Module:
    """The compiled network where `train.compile` asks for it and a step of it works here; else the network.

    The trial step leaves weights, buffers and gradients as they were.
    """
    if cfg.train.compile == "off":
        return model
    facts = DATASETS[cfg.data.name]
    images = torch.zeros(cfg.train.batch_size, facts.channels, facts.size, facts.size, device=device)
    kept = [(buffer, buffer.clone()) for buffer in model.buffers()]
    network: nn.Module = torch.compile(model)  # type: ignore[assignment]
    try:
        with cast:
            network(images.contiguous(memory_format=torch.channels_last)).float().sum().backward()
    except Exception as error:  # compilers fail in every way there is, and none is worth the run
        first = (str(error).splitlines() or [type(error).__name__])[0]
        say(f"torch.compile does not work here, so the run goes on without it: {first}")
        network = model
    for buffer, before in kept:
        buffer.copy_(before)
    model.zero_grad(set_to_none=True)
    return network
