"""An accelerated network is the plain one within rounding, and behaves as any module of PyTorch."""

import copy
import io
import pickle
import subprocess
import sys

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from cbam_ablate.accel import accelerate, accelerated
from cbam_ablate.accel.cpu.blocks import SWAPPED
from cbam_ablate.accel.cpu.library import library
from cbam_ablate.config.schema import ORDERS
from cbam_ablate.models import CBAM, build_model
from cbam_ablate.models.attention import ATTENTIONS
from cbam_ablate.models.blocks import BasicBlock
from tests.composed import composed

CPU = torch.device("cpu")
needs_compiler = pytest.mark.skipif(library() is None, reason="no C compiler here")
TOLERANCE = {torch.float64: 1e-10, torch.float32: 5e-4, torch.bfloat16: 0.1}
"""Of the norm of the difference over that of the plain network's, which float64 computes."""
BLOCK = ["data=synthetic", "reduction=2", "placement=block"]
SMALL = ["backbone=resnet_cifar", "depth=14", "model.width=4", *BLOCK]
NETWORKS = [
    *(["backbone=resnet_cifar", "depth=14", f"placement={place}"] for place in ("none", "both", "stage")),
    ["backbone=resnet", "depth=18"],
    pytest.param(["backbone=resnet", "depth=50"], marks=pytest.mark.slow),
    ["backbone=resnet_preact", "depth=18"],
    pytest.param(["backbone=resnet_preact", "depth=50"], marks=pytest.mark.slow),
    ["backbone=mobilenet", "depth=28", "model.width=8"],
    ["backbone=vgg", "depth=11"],
    pytest.param(["backbone=residual_attention", "depth=56"], marks=pytest.mark.slow),
    *([*SMALL, f"model.attention.kind={name}"] for name in ATTENTIONS if name != "timm"),
    *([*SMALL, f"model.attention.order={order}"] for order in ORDERS),
    [*SMALL, "model.attention.residual=block"],
    [*SMALL, "model.attention.pool=[lp,lse]", "model.attention.descriptor=conv"],
    [*SMALL, "model.attention.conv_bias=true", "model.attention.spatial_norm=false"],
]


def build(words):
    torch.manual_seed(0)
    own = [] if any(word.startswith("model.width") for word in words) else ["model.width=4"]
    network = build_model(composed([*BLOCK, *words, *own]))
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
    return network.to(memory_format=torch.channels_last)


def images(dtype=torch.float32, count=8):
    x = torch.randn(count, 3, 32, 32, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return x.to(dtype).contiguous(memory_format=torch.channels_last)


def computed(network, dtype):
    """Logits, gradients and statistics of a step, then logits in eval mode."""
    x = images(torch.float64 if dtype == torch.float64 else torch.float32).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
        logits = network.train()(x)
    logits.double().square().sum().backward()
    gradient = torch.cat([p.grad.flatten() for p in network.parameters()])
    statistics = torch.cat([b.double().flatten() for b in network.buffers()])
    with torch.no_grad():
        return [logits.detach(), x.grad, gradient, statistics, network.eval()(x)]


@needs_compiler
@pytest.mark.parametrize("words", NETWORKS, ids=" ".join)
def test_an_accelerated_network_computes_what_the_plain_one_does(words):
    plain = build(words).double()
    fast = accelerate(copy.deepcopy(plain), CPU)
    for found, expected in zip(computed(fast, torch.float64), computed(plain, torch.float64), strict=True):
        assert (found - expected).norm() <= TOLERANCE[torch.float64] * expected.norm()


@pytest.mark.slow
@needs_compiler
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    "words", [SMALL, ["backbone=resnet", "depth=50"], ["backbone=resnet_preact", "depth=18"]], ids="-".join
)
def test_in_fewer_bits_it_is_as_near_to_the_exact_one_as_the_plain_network_is(dtype, words):
    plain = build(words)
    exact = computed(copy.deepcopy(plain).double(), torch.float64)
    fast = accelerate(copy.deepcopy(plain), CPU)
    for found, other, wanted in zip(computed(fast, dtype), computed(plain, dtype), exact, strict=True):
        allowed = max(TOLERANCE[dtype], 1.5 * ((other - wanted).norm() / wanted.norm()).item())
        assert (found - wanted).norm() <= allowed * wanted.norm()


@needs_compiler
def test_state_dict_copies_averages_and_pickles_are_those_of_the_plain_network():
    plain = build(SMALL).eval()
    fast = accelerate(copy.deepcopy(plain), CPU)
    assert accelerated(fast)
    assert not accelerated(plain)
    assert list(fast.state_dict()) == list(plain.state_dict())
    whole = io.BytesIO()
    torch.save(fast, whole)
    whole.seek(0)
    copies = [
        copy.deepcopy(fast),
        AveragedModel(fast).module,
        pickle.loads(pickle.dumps(fast)),
        torch.load(whole, weights_only=False),
    ]
    for each in copies:
        each.load_state_dict(plain.state_dict())
        with torch.no_grad():
            assert accelerated(each)
            assert torch.equal(each(images()), fast(images()))
            next(each.parameters()).mul_(2)
            assert not torch.equal(each(images()), fast(images()))


@needs_compiler
def test_a_subclass_is_left_alone():
    class Mine(BasicBlock):
        def forward(self, x):
            return super().forward(x) + 1

    network = build(SMALL)
    network.stages[0][0].__class__ = Mine
    accelerate(network, CPU)
    assert type(network.stages[0][0]) is Mine
    assert type(network.stages[0][1]) is SWAPPED[BasicBlock]


@needs_compiler
@pytest.mark.parametrize("part", ["bn2", "attention.channel.mlp.2", "attention", "bn1"])
def test_a_hook_that_is_set_later_is_called(part):
    network, seen = accelerate(build(SMALL), CPU), []
    without = copy.deepcopy(network)(images())
    network.get_submodule(f"stages.1.0.{part}").register_forward_hook(lambda *_: seen.append(part))
    torch.testing.assert_close(network(images()), without, rtol=1e-3, atol=1e-4)
    assert seen == [part]


@needs_compiler
def test_a_hook_on_every_module_is_called_for_each():
    network, seen = accelerate(build(SMALL), CPU), []
    handle = nn.modules.module.register_module_forward_hook(lambda module, *_: seen.append(module))
    try:
        network(images())
    finally:
        handle.remove()
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    assert all(any(norm is each for each in seen) for norm in norms)


@needs_compiler
def test_gradients_by_torch_func_are_those_of_autograd():
    network = accelerate(build(SMALL), CPU).eval()
    parameters = {name: p.detach() for name, p in network.named_parameters()}

    def loss(parameters):
        return torch.func.functional_call(network, parameters, (images(),)).square().sum()

    found = torch.func.grad(loss)(parameters)
    loss(dict(network.named_parameters())).backward()
    for name, parameter in network.named_parameters():
        torch.testing.assert_close(found[name], parameter.grad, rtol=1e-3, atol=1e-3)


@pytest.mark.slow
@needs_compiler
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
@pytest.mark.parametrize("fast", [False, True], ids=["plain", "accelerated"])
def test_a_network_compiles_and_exports(fast):
    network = build(SMALL).eval()
    network.stages = nn.Sequential(*(stage[:1] for stage in network.stages))
    with torch.no_grad():
        expected = network(images())
        if fast:
            accelerate(network, CPU)
        compiled = torch.compile(network, backend="aot_eager", fullgraph=True)(images())
        exported = torch.export.export(network, (images(),)).module()(images())
    torch._dynamo.reset()
    for found in (compiled, exported):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@needs_compiler
def test_a_profiler_sees_the_passes():
    network = accelerate(build(SMALL), CPU)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profiler:
        network(images()).square().sum().backward()
    names = {event.key for event in profiler.key_averages()}
    assert {f"cbam_ablate::{name}" for name in ("batch_norm", "cbam", "cbam_backward", "add")} <= names


def test_elsewhere_than_on_a_cpu_nothing_is_swapped():
    assert not accelerated(accelerate(CBAM(8, 2).to("meta"), torch.device("meta")))


@pytest.mark.slow
def test_nothing_is_compiled_before_a_network_is_accelerated():
    """Importing the models and all of accel doesn't look for a C compiler."""
    code = (
        "import shutil\n"
        "shutil.which = lambda name: 1 / 0\n"
        "import cbam_ablate.accel.cpu.blocks, cbam_ablate.accel.fused.trainer\n"
        "from cbam_ablate.models import CBAM\n"
        "CBAM(8, 2)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
