"""What torch.compile is given: the same numbers, in a form of which it makes few passes."""

import copy
import dataclasses
from types import SimpleNamespace

import pytest
import torch
from functorch.compile import make_boxed_func
from torch._dynamo.backends.common import aot_autograd

from cbam_ablate.accel.cuda.blocks import CompiledBasicBlock, prepare
from cbam_ablate.accel.cuda.compiled import as_in_eager_mode, shelve, shelved
from cbam_ablate.models import CBAM, ChannelAttention, SpatialAttention, build_model
from tests.composed import composed

# Dynamo's own, of a custom gradient.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning"),
]
SMALL = ["backbone=resnet_cifar", "depth=20", "model.width=4", "reduction=2", "data=synthetic"]


@pytest.fixture(autouse=True)
def forget_graphs():
    yield
    torch._dynamo.reset()


@pytest.fixture
def kept_backward():
    """A compiler that leaves graphs as they are and keeps the nodes of that of the backward pass."""
    kept = SimpleNamespace(nodes=[])

    def compiler(graph, _):
        kept.nodes = list(graph.graph.nodes)
        return make_boxed_func(graph.forward)

    kept.backend = aot_autograd(fw_compiler=compiler, bw_compiler=compiler)
    return kept


def shortened(network):
    """A network with the first block of each stage: the compiler's time is that of the blocks."""
    network.stages = torch.nn.Sequential(*(stage[:1] for stage in network.stages))
    return network


def gradients(module, x):
    x = x.clone().requires_grad_()
    module.zero_grad()
    module(x).square().sum().backward()
    return [x.grad, *(parameter.grad for parameter in module.parameters())]


@pytest.mark.parametrize("how", [lambda network: network, prepare], ids=["plain", "prepared"])
@pytest.mark.parametrize("placement", ["none", "block"])
def test_a_compiled_network_has_the_gradients_of_the_eager_one(placement, how):
    network = shortened(build_model(composed([f"placement={placement}", *SMALL]))).double().train()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
    x = torch.randn(4, 3, 32, 32, dtype=torch.float64).contiguous(memory_format=torch.channels_last)
    eager = gradients(copy.deepcopy(network), x)
    compiled = gradients(torch.compile(how(network), backend="aot_eager", fullgraph=True), x)
    torch.testing.assert_close(compiled, eager, rtol=1e-8, atol=1e-10)


def test_a_tie_s_gradient_goes_to_one_element_in_a_graph_too():
    x = torch.ones(2, 4, 5, 5).contiguous(memory_format=torch.channels_last)
    over_pixels, over_channels = x.clone().requires_grad_(), x.clone().requires_grad_()
    channel, spatial = prepare(ChannelAttention(4, 2, pool=("max",))), prepare(SpatialAttention())
    torch.nn.init.ones_(channel.mlp[0].weight)
    torch.compile(channel, backend="aot_eager", fullgraph=True)(over_pixels).sum().backward()
    assert torch.equal((over_pixels.grad.flatten(2) != 0).sum(-1), torch.ones(2, 4))
    described = torch.compile(spatial.descriptor, backend="aot_eager", fullgraph=True)
    described(over_channels)[:, 0].sum().backward()
    assert torch.equal(over_channels.grad.sort(1).values[:, -1], torch.ones(2, 5, 5))
    assert over_channels.grad.sum() == 2 * 5 * 5


def test_no_gradient_is_scattered_into_a_map_of_zeros(kept_backward):
    gradients(torch.compile(prepare(CBAM(4, 2)), backend=kept_backward.backend), torch.randn(2, 4, 8, 8))
    targets = {str(node.target) for node in kept_backward.nodes}
    assert not [name for name in targets if "scatter" in name or "value_selecting" in name]
    assert "aten.where.self" in targets


def test_gradients_of_the_gates_are_computed_in_full_in_a_graph(kept_backward):
    module, x = prepare(CBAM(8, 2)), torch.randn(2, 8, 6, 6).bfloat16()
    with as_in_eager_mode(), torch.autocast("cpu", torch.bfloat16):
        z = torch.compile(module, backend=kept_backward.backend)(x.requires_grad_())
    z.float().sum().backward()
    multiplied = [node.meta["val"].dtype for node in kept_backward.nodes if "aten.mm" in str(node.target)]
    assert multiplied == [torch.float32] * 4


def test_a_prepared_network_computes_as_before_outside_a_compiler():
    network = build_model(composed(["placement=block", *SMALL]))
    x = torch.randn(2, 3, 32, 32)
    expected = gradients(copy.deepcopy(network), x)
    prepared = prepare(copy.deepcopy(network))
    assert sum(type(module) is CompiledBasicBlock for module in prepared.modules()) == 9
    assert list(prepared.state_dict()) == list(network.state_dict())
    torch.testing.assert_close(gradients(prepared, x), expected, rtol=0, atol=0)


@pytest.mark.parametrize("code", ["0", "1"])
def test_a_graph_is_shared_by_runs_of_the_same_code_of_ones_own(code):
    cfg = dataclasses.replace(composed(SMALL), code={"my_gates:Gate": "0"})
    network = torch.nn.Linear(1, 1)
    network._orig_mod = torch.nn.Linear(1, 1)
    here = torch.device("cpu"), torch.float32
    shelve(network, cfg, *here)
    found = shelved(network._orig_mod, dataclasses.replace(cfg, code={"my_gates:Gate": code}), *here)
    assert (found is network) == (code == "0")
