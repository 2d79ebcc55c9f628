"""What torch.compile makes of a training step for an H100: kernels and bytes. It needs no GPU.

    python benchmarks/bench_compiled.py [--networks "backbone=resnet depth=18" ...] [--combine]

Inductor is asked for forward and backward pass of each network, with and without CBAM in every block, in bf16
at batch 128 on CIFAR-10; its code is counted, not run. PyTorch must be built with CUDA and have Triton. Bytes
are those that kernels read and write, a convolution's too; `--combine` joins small kernels that don't depend
on each other, as Inductor's `combo_kernels` would.
"""

import argparse
import contextlib
import copy
import re
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn

from cbam_ablate.accel.cuda.compiled import as_in_eager_mode

H100 = SimpleNamespace(
    name="NVIDIA H100",
    major=9,
    minor=0,
    multi_processor_count=132,
    total_memory=80 * 2**30,
    max_threads_per_multi_processor=2048,
    max_threads_per_block=1024,
    regs_per_multiprocessor=65536,
    warp_size=32,
    shared_memory_per_block_optin=232448,
    L2_cache_size=50 * 2**20,
)
KERNELS = re.compile(r"\.run\(|extern_kernels\.|= torch\.ops\.aten\.")


class Counted(Exception):
    """Inductor's code is there; it need not be compiled."""


@contextlib.contextmanager
def an_h100() -> Iterator[None]:
    """What Inductor asks of its device is answered as an H100 would."""
    import triton
    from torch._dynamo.device_interface import CudaInterface
    from torch._inductor import scheduler
    from torch._subclasses import fake_tensor
    from triton.backends.compiler import GPUTarget
    from triton.backends.nvidia.driver import CudaDriver

    class Driver(CudaDriver):
        def __init__(self) -> None:
            pass

        def get_current_target(self) -> Any:
            return GPUTarget("cuda", 90, 32)

    def says(value: object) -> Any:
        return lambda *_: value

    cuda = {
        "is_available": True,
        "current_device": 0,
        "device_count": 1,
        "get_device_properties": H100,
        "get_device_capability": (9, 0),
        "get_device_name": H100.name,
        "get_rng_state": torch.zeros(16, dtype=torch.uint8),
        "set_rng_state": None,
        "synchronize": None,
        "_exchange_device": 0,
        "_maybe_exchange_device": 0,
    }
    interface = {"is_available": True, "current_device": 0, "get_compute_capability": 90}
    properties = staticmethod(says(H100))
    triton.runtime.driver.set_active(Driver())
    with contextlib.ExitStack() as said:
        for name, value in cuda.items():
            said.enter_context(mock.patch.object(torch.cuda, name, says(value)))
        for name, value in interface.items():
            said.enter_context(mock.patch.object(CudaInterface, name, staticmethod(says(value))))
        for place in (CudaInterface, CudaInterface.Worker):
            said.enter_context(mock.patch.object(place, "get_device_properties", properties))
        said.enter_context(mock.patch.object(scheduler, "has_triton", says(True)))
        said.enter_context(mock.patch.object(fake_tensor, "init_gpu_context", says(None)))
        yield


def for_cuda(graph: Any, inputs: list[Any], backward: bool) -> tuple[int, int]:
    """Kernels and bytes of Inductor's code for a graph traced on the CPU."""
    from torch._guards import TracingContext, tracing
    from torch._inductor.compile_fx import compile_fx_inner
    from torch._inductor.graph import GraphLowering
    from torch._inductor.virtualized import V
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.fx.passes.fake_tensor_prop import FakeTensorProp

    found = []
    codegen = GraphLowering.codegen

    def count(lowering: Any) -> Any:
        code = codegen(lowering)[0]
        body = code.value.partition("def call")[2]
        found.append((len(KERNELS.findall(body)), lowering.count_bytes()[0]))
        raise Counted

    graph = copy.deepcopy(graph)
    for node in graph.graph.nodes:
        if "device" in node.kwargs:
            node.kwargs = {**node.kwargs, "device": torch.device("cuda", 0)}
    graph.recompile()
    fake = FakeTensorMode(allow_non_fake_inputs=True)
    with an_h100():
        with fake:
            inputs = [
                torch.empty_strided(each.size(), each.stride(), dtype=each.dtype, device="cuda")
                if isinstance(each, Tensor)
                else each
                for each in inputs
            ]
        FakeTensorProp(graph, fake).propagate_dont_convert_inputs(*inputs)
        told = tracing(TracingContext(fake)), fake, V.set_fake_mode(fake)
        with contextlib.ExitStack() as stack, mock.patch.object(GraphLowering, "codegen", count):
            for each in told:
                stack.enter_context(each)
            try:
                compile_fx_inner(graph, inputs, is_backward=backward)
            except Exception:  # Inductor makes an error of its own of `Counted`
                if not found:
                    raise
    return found[0]


def step(network: nn.Module, images: Tensor) -> tuple[int, int]:
    """Kernels and bytes of the forward and backward pass together."""
    from functorch.compile import make_boxed_func
    from torch._dynamo.backends.common import aot_autograd
    from torch._functorch.partitioners import min_cut_rematerialization_partition
    from torch._inductor.decomposition import select_decomp_table
    from torch._inductor.fx_passes.joint_graph import joint_graph_passes

    found = []

    def compiler(backward: bool) -> Any:
        def compile_(graph: Any, inputs: list[Any]) -> Any:
            found.append(for_cuda(graph, inputs, backward))
            return make_boxed_func(graph.forward)

        return compile_

    def partition(joint: Any, *given: Any, **named: Any) -> Any:
        joint_graph_passes(joint)
        return min_cut_rematerialization_partition(joint, *given, **named, compiler="inductor")

    backend = aot_autograd(
        fw_compiler=compiler(False),
        bw_compiler=compiler(True),
        decompositions=select_decomp_table(),
        partition_fn=partition,
    )
    with as_in_eager_mode(), torch.autocast("cpu", torch.bfloat16):
        logits = torch.compile(network, backend=backend)(images)
    logits.float().sum().backward()
    torch._dynamo.reset()
    (before, read), (after, written) = found
    return before + after, read + written


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    networks = ["backbone=resnet depth=18", "backbone=resnet_cifar depth=20"]
    parser.add_argument("--networks", nargs="+", default=networks)
    parser.add_argument("--combine", action="store_true")
    asked = parser.parse_args()
    if torch.version.cuda is None:
        parser.error("this PyTorch was built without CUDA, whose compiler is asked; a GPU isn't needed")

    from torch._inductor import config

    from cbam_ablate.accel.cuda.blocks import prepare
    from cbam_ablate.config import load_config
    from cbam_ablate.models import build_model

    config.combo_kernels = asked.combine
    config.force_disable_caches = True
    images = torch.randn(128, 3, 32, 32, dtype=torch.bfloat16).contiguous(memory_format=torch.channels_last)
    print(f"{'network':30} {'placement':10} {'kernels':>7} {'MB':>7}")
    for words in asked.networks:
        sizes = []
        for placement in ("none", "block"):
            network = build_model(load_config([*words.split(), f"placement={placement}", "data=cifar10"]))
            network = prepare(network.to(memory_format=torch.channels_last)).train()
            kernels, size = step(network, images)
            sizes.append(size)
            print(f"{words:30} {placement:10} {kernels:7} {size / 1e6:7.0f}", flush=True)
        print(f"{words:30} {'ratio':10} {'':7} {sizes[1] / sizes[0]:7.2f}")


if __name__ == "__main__":
    main()
