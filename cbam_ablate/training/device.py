"""Where a run computes and in which number format."""

import contextlib
import ctypes
import platform
import re
import resource
import sys
from functools import cache
from pathlib import Path

import torch

from cbam_ablate.config.schema import DEVICES
from cbam_ablate.errors import ConfigError

MALLOC = {-1: 2**31 - 1, -2: 2**26, -3: 2**25}
"""mallopt(3): trim never, grow by 64 MiB, map what is over 32 MiB (its highest bound) on its own."""
STATUS = Path("/proc/self/status")
"""What Linux knows of this process."""


def pick_device(name: str) -> torch.device:
    """The device that `train.device` names; auto is the first CUDA device, else a Mac's mps, else the CPU.

    Raises `ConfigError` where this machine has no such device.
    """
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    mps = torch.backends.mps.is_available()
    if name == "auto":
        return torch.device("cuda:0" if count else "mps" if mps else "cpu")
    if not re.fullmatch(DEVICES, name):
        raise ConfigError(f"train.device={name}: not one of auto, cpu, cuda, cuda:N, mps")
    device = torch.device(name)
    absent = (device.type == "cuda" and (device.index or 0) >= count) or (device.type == "mps" and not mps)
    if absent:
        there = ", ".join(["cpu", *["mps"] * mps, *(f"cuda:{index}" for index in range(count))])
        raise ConfigError(f"train.device={name}: this machine has {there}")
    return torch.device("cuda:0") if name == "cuda" else device


def pick_precision(name: str, device: torch.device) -> str:
    """bf16 or fp32; auto is bf16 where the device computes it in hardware."""
    if name != "auto":
        return name
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    if device.type == "mps":
        return "bf16" if _convolves_bf16(device) else "fp32"
    return "bf16" if torch.ops.mkldnn._is_mkldnn_bf16_supported() else "fp32"


def _convolves_bf16(device: torch.device) -> bool:
    """Whether the device computes a convolution in bf16, tried, since PyTorch has no question for it."""
    try:
        image = torch.ones(1, 1, 3, 3, dtype=torch.bfloat16, device=device)
        return torch.nn.functional.conv2d(image, image).item() == 9
    except (RuntimeError, TypeError):
        return False


def sum_dtype(device: torch.device) -> torch.dtype:
    """What sums over an epoch are kept in: float64, which a Mac's device lacks."""
    return torch.float32 if device.type == "mps" else torch.float64


def random_state(device: torch.device) -> torch.Tensor | None:
    """The state of the random numbers that are drawn on a GPU; None for a CPU, whose are PyTorch's."""
    if device.type == "cuda":
        return torch.cuda.get_rng_state(device)
    return torch.mps.get_rng_state() if device.type == "mps" else None


def set_random_state(state: torch.Tensor | None, device: torch.device) -> None:
    """Goes on from a `random_state`, where it is of such a device."""
    if state is not None and device.type == "cuda":
        torch.cuda.set_rng_state(state, device)
    elif state is not None and device.type == "mps":
        torch.mps.set_rng_state(state)


def use(device: torch.device, threads: int | None) -> None:
    """Makes this process compute on `device`, on a CPU with so many threads, or as many as at first."""
    at_first = _threads_at_first()
    torch.set_num_threads(threads or at_first)
    if device.type == "cpu":
        keep_freed_memory()
    if device.type == "cuda":
        torch.cuda.set_device(device)
        torch.backends.cudnn.benchmark = True


@cache
def _threads_at_first() -> int:
    """PyTorch's own number of threads, whatever jobs of this process then chose."""
    return torch.get_num_threads()


def keep_freed_memory() -> None:
    """Lets glibc keep the large blocks that it is given back, for the next step's maps.

    Otherwise each of them is unmapped, and faults in page by page when it is mapped again. Other C libraries
    are left as they are.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if sys.platform == "linux" and mallopt is not None:
        for option, value in MALLOC.items():
            mallopt(option, value)


def forget_peak(device: torch.device) -> None:
    """From here on `peak_memory_mib` is of what comes; what an earlier run left is given back."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
        return
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
    with contextlib.suppress(OSError):  # of Linux, where a process may
        Path("/proc/self/clear_refs").write_text("5")


def device_name(device: torch.device) -> str:
    """What the device is called, for people and for comparing runs."""
    if device.type == "cuda":
        return f"{device.type}: {torch.cuda.get_device_name(device)}"
    return f"{device.type}: {_processor()}"


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def peak_memory_mib(device: torch.device) -> float:
    """The most memory the run held: on a CUDA device, or else by the whole process. MiB."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    # On Linux ru_maxrss is at least what the process that started this one held.
    own = re.search(r"VmHWM:\s+(\d+) kB", STATUS.read_text()) if STATUS.exists() else None
    if own is not None:
        return int(own[1]) / 2**10
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20
