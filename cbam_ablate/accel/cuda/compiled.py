"""torch.compile for a network, where it pays, tried before it is used so that it can't fail a run.

On CUDA its kernels then become part of the recorded step (`recorded.py`), as an eager network's do.
"""

import contextlib
import time
from collections.abc import Callable

import torch
from torch import nn

from cbam_ablate.accel.cuda.blocks import prepare
from cbam_ablate.config.canonical import network_of
from cbam_ablate.config.schema import RunConfig
from cbam_ablate.registry import facts

COST = 60.0
"""Seconds that `auto` reckons for compiling a network."""
GAIN = 0.25
"""The part of the time on CUDA, of steps recorded as a graph, that `auto` reckons to save."""


def pays(device: torch.device, seconds: float) -> bool:
    """Whether compiling would save more of these seconds to go than it costs.

    Never on a CPU, where the networks' own passes are as fast (`benchmarks/README.md`).
    """
    return device.type == "cuda" and GAIN * seconds > COST


def as_in_eager_mode() -> contextlib.AbstractContextManager[None]:
    """While a graph is made: its backward pass is not under autocast, as an eager one isn't.

    Of itself it would be, and so compute the gradients of what the forward pass computes in full in bf16.
    """
    import torch._functorch.config as settings

    patch: contextlib.AbstractContextManager[None] = settings.patch(backward_pass_autocast="off")
    return patch


_shelf: dict[str, nn.Module] = {}
"""The network that the last run of this process compiled, by what its graph depends on."""


def shelve(network: nn.Module, cfg: RunConfig, device: torch.device, dtype: torch.dtype) -> None:
    """Keeps the compiled network of a run that is over for the next one of this process."""
    _shelf[_graph(cfg, device, dtype)] = network


def shelved(model: nn.Module, cfg: RunConfig, device: torch.device, dtype: torch.dtype) -> nn.Module | None:
    """The network of an earlier run whose graph this one shares, with the weights of `model`."""
    network = _shelf.pop(_graph(cfg, device, dtype), None)
    _shelf.clear()
    if network is not None:
        network._orig_mod.load_state_dict(model.state_dict())  # type: ignore[union-attr]
        network.zero_grad(set_to_none=True)
    return network


def _graph(cfg: RunConfig, device: torch.device, dtype: torch.dtype) -> str:
    return f"{network_of(cfg)} {cfg.code} {cfg.train.batch_size} {device} {dtype}"


def compiled_or_eager(
    model: nn.Module,
    cfg: RunConfig,
    device: torch.device,
    cast: torch.autocast,
    dtype: torch.dtype,
    say: Callable[[str], None],
) -> nn.Module:
    """The compiled network where a step of it works here, else the network.

    `dtype` is that of the images it will be given. The trial leaves weights, buffers and gradients as they
    were.
    """
    known = facts(cfg.data)
    shape = (cfg.train.batch_size, known.channels, known.size, known.size)
    images = torch.zeros(shape, dtype=dtype, device=device)
    kept = [(buffer, buffer.clone()) for buffer in model.buffers()]
    started = time.perf_counter()
    try:
        # PyTorch keeps eight graphs of a function, and from then on runs it eagerly without a word.
        torch.compiler.reset()
        network: nn.Module = torch.compile(prepare(model) if device.type == "cuda" else model)  # type: ignore[assignment]
        with as_in_eager_mode(), cast:
            logits = network(images.contiguous(memory_format=torch.channels_last))
        logits.float().sum().backward()
        say(f"compiled in {time.perf_counter() - started:.0f} s, which the training time leaves out")
    except Exception as error:  # compilers fail in every way there is, and none is worth the run
        lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
        cause = " ".join(lines[: 2 if lines[0].endswith(":") else 1])
        say(f"torch.compile does not work here, so the run goes on without it: {cause}")
        network = model
    for buffer, before in kept:
        buffer.copy_(before)
    model.zero_grad(set_to_none=True)
    return network
