"""What a network costs, without running it."""

from typing import NamedTuple

import torch
from torch.utils.flop_counter import FlopCounterMode

from cbam_ablate.config.facts import DATASETS
from cbam_ablate.config.schema import RunConfig
from cbam_ablate.models.build import build_model

CONV_AND_LINEAR = (torch.ops.aten.convolution, torch.ops.aten.addmm, torch.ops.aten.mm)


class ModelCost(NamedTuple):
    """`params`: trainable parameters. `macs`: multiply-accumulates of one image's forward pass."""

    params: int
    macs: int


def model_cost(cfg: RunConfig) -> ModelCost:
    """Parameters, and the MACs of the convolutions and linear layers for one image of the data set's size."""
    data = DATASETS[cfg.data.name]
    with torch.device("meta"):
        network = build_model(cfg).eval()
        image = torch.empty(1, data.channels, data.size, data.size)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(image)
    flops = counter.get_flop_counts()["Global"]
    macs = sum(flops.get(operator, 0) for operator in CONV_AND_LINEAR) // 2
    params = sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)
    return ModelCost(params, macs)
