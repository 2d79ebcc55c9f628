"""Speed, and nothing but speed. Off, everything still works.

`accelerate` swaps a built network's forwards on a CPU (`cpu`). `FastSteps` compiles a network and records its
steps on CUDA (`cuda`). Many runs are trained as one network (`fused`).
"""

import os
from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    from cbam_ablate.config.schema import RunConfig
    from cbam_ablate.training.steps import StepMaker

ENVIRONMENT = ("CBAM_ABLATE_ACCEL", "CBAM_ABLATE_KERNELS")
"""Either of them at `off` switches all of this off, as `train.accel=off` does for a run."""


def allowed(choice: str = "auto") -> bool:
    """Whether a run with this `train.accel` may be accelerated in this process."""
    return choice != "off" and not any(os.environ.get(name) == "off" for name in ENVIRONMENT)


def accelerate(network: nn.Module, device: torch.device) -> nn.Module:
    """Has the blocks that are known here computed in few passes, in place, and returns the network.

    On a CPU with a C compiler: `ConvNorm`, the residual blocks and CBAM, whose forwards are swapped by giving
    the modules another class; the names of weights, deep copies and what a block computes stay. Subclasses
    of them are left alone, and a call that the passes can't do (see `accel.cpu.blocks`) is done by the
    plain forward. Elsewhere, and where the environment says off, nothing changes.
    """
    if device.type == "cpu" and allowed():
        from cbam_ablate.accel.cpu.blocks import SWAPPED, library

        if library() is not None:
            for module in network.modules():
                module.__class__ = SWAPPED.get(type(module), type(module))
    return network


def accelerate_run(cfg: "RunConfig", network: nn.Module, device: torch.device) -> "StepMaker":
    """Accelerates a run's network, in place, and returns what makes its steps.

    With `train.accel=off` the network stays as it is and the steps are plain.
    """
    from cbam_ablate.accel.cuda.steps import FastSteps
    from cbam_ablate.training.steps import PlainSteps

    if not allowed(cfg.train.accel):
        return PlainSteps
    accelerate(network, device)
    return FastSteps


def accelerated(network: nn.Module) -> bool:
    """Whether any of its blocks is computed in passes."""
    return any(type(module).__module__.startswith(f"{__name__}.") for module in network.modules())
