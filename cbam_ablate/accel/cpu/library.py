"""The C functions of passes/*.h: compiled by the machine's own compiler at first use, kept in the cache."""

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
from platformdirs import user_cache_path
from torch import Tensor

SOURCES = Path(__file__).with_name("passes")
NAMES = {torch.bfloat16: "bf16", torch.float32: "f32", torch.float64: "f64"}
COMPILE_SECONDS = 60


def accumulated(dtype: torch.dtype) -> torch.dtype:
    """What is computed in, and sums kept in, for maps of this type."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def counted(dtype: torch.dtype) -> torch.dtype:
    """What places in maps of this type are kept in."""
    return torch.int64 if dtype == torch.float64 else torch.int32


def call(name: str, dtype: torch.dtype, *arguments: Tensor | int | float | None) -> None:
    """Calls one function of passes/*.h for maps of this type, on as many threads as PyTorch has.

    `arguments` are those after `threads`: numbers, and tensors or None, of which only the address is taken.
    """
    function = _function(f"{NAMES[dtype]}_{name}")
    if function.argtypes is None:
        function.argtypes = [ctypes.c_long, *map(_kind, arguments)]
    addresses = [value.data_ptr() if isinstance(value, Tensor) else value for value in arguments]
    function(torch.get_num_threads(), *addresses)


def _kind(value: Tensor | int | float | None) -> type:
    if isinstance(value, int):
        return ctypes.c_long
    return ctypes.c_double if isinstance(value, float) else ctypes.c_void_p


@cache
def _function(name: str) -> Any:
    compiled = library()
    if compiled is None:
        raise RuntimeError(
            "the passes need a C compiler (cc, gcc or clang), and this machine has none that works"
        )
    function = getattr(compiled, name)
    function.restype = None
    return function


@cache
def library() -> ctypes.CDLL | None:
    """The compiled functions; None where there is no compiler, or none that works."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None or os.name != "posix":
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
    described = processor.read_text() if processor.exists() else platform.processor()
    features = next((line for line in described.splitlines() if line.startswith(("flags", "Features"))), "")
    sources = [file.read_text() for file in sorted(SOURCES.iterdir())]
    made_from = [*sources, compiler, *flags, platform.machine(), features or described]
    digest = hashlib.sha256("\0".join(made_from).encode()).hexdigest()[:16]
    file = user_cache_path("cbam_ablate", appauthor=False) / "kernels" / f"cpu_{digest}.so"
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
