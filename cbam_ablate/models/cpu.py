"""Passes over a map on a CPU of which PyTorch makes too many, or slow ones: passes/*.h, called by name.

They are compiled by the machine's own compiler at first use and kept in the cache. Where there is none,
`suits` is False for every map and networks are computed by PyTorch's own operators alone.
"""

import contextlib
import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

SOURCES = Path(__file__).with_name("passes")
NAMES = {torch.bfloat16: "bf16", torch.float32: "f32", torch.float64: "f64"}
COMPILE_SECONDS = 60


def suits(x: Tensor) -> bool:
    """Whether x (N, C, H, W) is a map that `run` reads, on a machine where it can.

    That is on the CPU, in channels_last, outside torch.compile, torch.jit.trace and torch.func.
    `CBAM_ABLATE_KERNELS=off` in the environment says no to all.
    """
    if torch.compiler.is_compiling() or torch.jit.is_tracing():
        return False
    if x.device.type != "cpu" or x.dtype not in NAMES or x.ndim != 4:
        return False
    try:
        x.data_ptr()
        laid_out = x.numel() > 0 and x.is_contiguous(memory_format=torch.channels_last)
    except RuntimeError:  # as in vmap, where a tensor stands for several
        return False
    return laid_out and _library() is not None


def watched(module: nn.Module) -> bool:
    """Whether the module has hooks, which the passes, that don't call it, would leave out."""
    return bool(
        module._forward_hooks
        or module._forward_pre_hooks
        or module._backward_hooks
        or module._backward_pre_hooks
    )


def accumulated(dtype: torch.dtype) -> torch.dtype:
    """What is computed in, and sums kept in, for maps of this type."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def counted(dtype: torch.dtype) -> torch.dtype:
    """What places in maps of this type are kept in."""
    return torch.int64 if dtype == torch.float64 else torch.int32


def run(name: str, dtype: torch.dtype, *arguments: Tensor | int | float | None) -> None:
    """Calls one function of passes/*.h for maps of this type, on as many threads as PyTorch has.

    `arguments` are those after `threads`: numbers, and tensors, contiguous and of the right type, or None.
    """
    function = getattr(_library(), f"{NAMES[dtype]}_{name}")
    function(ctypes.c_long(torch.get_num_threads()), *map(_given, arguments))


def _given(value: Tensor | int | float | None) -> Any:
    if isinstance(value, int):
        return ctypes.c_long(value)
    if isinstance(value, float):
        return ctypes.c_double(value)
    return ctypes.c_void_p(None if value is None else value.data_ptr())


@cache
def _library() -> ctypes.CDLL | None:
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None or os.name != "posix" or os.environ.get("CBAM_ABLATE_KERNELS") == "off":
        return None
    # PyTorch's own OpenMP is used where the compiler's code finds it: a second one would compete with it for
    # the cores.
    shared = hasattr(ctypes.CDLL(None), "GOMP_parallel")
    for openmp in ("-fopenmp", "-fopenmp-simd") if shared else ("-fopenmp-simd",):
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            return _loaded(compiler, ["-O3", "-march=native", "-fPIC", "-w", openmp])
    return None


def _loaded(compiler: str, flags: list[str]) -> ctypes.CDLL:
    processor = Path("/proc/cpuinfo")
    told = processor.read_text() if processor.exists() else platform.processor()
    features = next((line for line in told.splitlines() if line.startswith(("flags", "Features"))), told)
    sources = [file.read_text() for file in sorted(SOURCES.iterdir())]
    made_from = [*sources, compiler, *flags, platform.machine(), features]
    digest = hashlib.sha256("\0".join(made_from).encode()).hexdigest()[:16]
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    file = home / "cbam_ablate" / "kernels" / f"cpu_{digest}.so"
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=file.parent) as folder:
            _compile(compiler, flags, Path(folder)).replace(file)
    return ctypes.CDLL(str(file))


def _compile(compiler: str, flags: list[str], folder: Path) -> Path:
    compiled, linked = folder / "cpu.o", folder / "cpu.so"
    # Linked without OpenMP's library: its names are found in PyTorch's.
    for command in (
        [compiler, *flags, "-c", str(SOURCES / "passes.c"), "-o", str(compiled)],
        [compiler, "-shared", str(compiled), "-lm", "-o", str(linked)],
    ):
        subprocess.run(command, check=True, capture_output=True, timeout=COMPILE_SECONDS)
    return linked
