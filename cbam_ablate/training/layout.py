"""How a network's maps lie in memory."""

from typing import Any

import torch
from torch import nn

from cbam_ablate.config.schema import RunConfig
from cbam_ablate.registry import facts


def lay_out(cfg: RunConfig, network: nn.Module, device: torch.device) -> nn.Module:
    """The network on the device, its maps in channels_last, which is faster.

    In PyTorch's usual order where code of one's own takes no other, as `x.view(len(x), -1)`.
    """
    network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    if cfg.code and not _takes_channels_last(cfg, network, device):
        network = network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        network.register_forward_pre_hook(_contiguous)
    return network


def _takes_channels_last(cfg: RunConfig, network: nn.Module, device: torch.device) -> bool:
    data, training = facts(cfg.data), network.training
    images = torch.zeros(2, data.channels, data.size, data.size, device=device)
    try:
        with torch.no_grad(), torch.random.fork_rng([device] if device.type == "cuda" else []):
            network.eval()(images.contiguous(memory_format=torch.channels_last))
    except RuntimeError:
        return False
    finally:
        network.train(training)
    return True


def _contiguous(_: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    return (inputs[0].contiguous(), *inputs[1:])
