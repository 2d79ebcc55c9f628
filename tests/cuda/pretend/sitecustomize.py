"""Python with this folder on its path has a CUDA device to PyTorch, where PyTorch was built without.

The device is cuda.cpp; here is what torch.cuda says of it. A CUDA graph is a tape: it keeps every operator
with the tensors and numbers it was given and replays them into the same memory, so that what a real graph
freezes is frozen here. What would wait for the device fails while one is recorded, as it does on a real one.
"""

import contextlib
import ctypes
import hashlib
import importlib.metadata
import importlib.util
import os
import subprocess
import tempfile
from pathlib import Path

SOURCE = Path(__file__).with_name("cuda.cpp")
NAME = "pretended"


def load(torch_folder: Path) -> None:
    """Before torch is imported, which looks for its devices once."""
    found = SOURCE.read_bytes() + importlib.metadata.version("torch").encode() + bytes(torch_folder)
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cbam_ablate"
    file = home / f"pretend_{hashlib.sha256(found).hexdigest()[:16]}.so"
    if not file.exists():
        home.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=home) as folder:
            made, libraries = Path(folder) / file.name, torch_folder / "lib"
            command = ["c++", "-std=c++20", "-shared", "-fPIC", "-w", f"-I{torch_folder / 'include'}"]
            command += [str(SOURCE), "-o", str(made), f"-L{libraries}", f"-Wl,-rpath,{libraries}"]
            subprocess.run([*command, "-lc10", "-ltorch_cpu"], check=True)
            made.replace(file)
    ctypes.CDLL(str(file))


def install() -> None:
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils._pytree import tree_leaves

    capturing: list[object] = []

    class Tape(TorchDispatchMode):
        """Records by doing the work once, so its first replay has nothing left to do."""

        def __init__(self):
            super().__init__()
            self.calls, self.replays = [], -1

        @classmethod
        def ignore_compile_internals(cls):
            """Compiled code runs while it is recorded, as on a real one."""
            return True

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            out = func(*args, **(kwargs or {}))
            tensors = [each for each in tree_leaves((args, kwargs, out)) if isinstance(each, torch.Tensor)]
            meets_host = any(each.is_cuda for each in tensors) and any(
                each.is_cpu and each.ndim for each in tensors
            )
            if meets_host or func is torch.ops.aten._local_scalar_dense.default:
                raise RuntimeError(f"{func}: operation not permitted when stream is capturing")
            self.calls.append((func, args, kwargs or {}, out))
            return out

        @torch.no_grad()
        def replay(self):
            self.replays += 1
            for func, args, kwargs, out in self.calls if self.replays else ():
                returned = func._schema.returns
                if any(value.alias_info and not value.alias_info.is_write for value in returned):
                    continue  # a view of memory that stays where it is
                again = func(*args, **kwargs)
                for kept, new in zip(tree_leaves(out), tree_leaves(again), strict=True):
                    if isinstance(kept, torch.Tensor) and kept is not new:
                        kept.copy_(new)

    class Stream:
        def wait_stream(self, other):
            pass

    @contextlib.contextmanager
    def graph(tape, stream=None):
        capturing.append(tape)
        try:
            with tape:
                yield
        finally:
            capturing.pop()

    said = {
        "_lazy_init": lambda: None,
        "is_available": lambda: True,
        "device_count": lambda: 1,
        "current_device": lambda: 0,
        "set_device": lambda device: None,
        "get_device_name": lambda device=None: NAME,
        "is_bf16_supported": lambda including_emulation=True: True,
        "max_memory_allocated": lambda device=None: 0,
        "reset_peak_memory_stats": lambda device=None: None,
        "synchronize": lambda device=None: None,
        "get_rng_state": lambda device=None: torch.get_rng_state(),
        "set_rng_state": lambda state, device=None: None,
        "is_current_stream_capturing": lambda: bool(capturing),
        "CUDAGraph": Tape,
        "graph": graph,
        "Stream": Stream,
        "stream": lambda stream: contextlib.nullcontext(),
        "current_stream": lambda device=None: Stream(),
        "set_stream": lambda stream: None,
    }
    for name, value in said.items():
        setattr(torch.cuda, name, value)

    def clone(storage):
        whole = torch.empty(0, dtype=torch.uint8, device=storage.device).set_(storage)
        return whole.clone().untyped_storage()

    torch.UntypedStorage.clone = clone


spec = importlib.util.find_spec("torch")
if spec is not None and spec.origin is not None:
    folder = Path(spec.origin).parent
    if not list((folder / "lib").glob("libtorch_cuda*")):
        load(folder)
        install()
