"""What torch.compile is given: the same numbers, in a form of which it makes few passes."""

import copy
from types import SimpleNamespace

import pytest
import torch
from functorch.compile import make_boxed_func
from torch._dynamo.backends.common import aot_autograd

from cbam_ablate.models import CBAM, SpatialAttention, build_model
from cbam_ablate.models.attention.cbam import DESCRIPTORS
from cbam_ablate.training.compiled import as_in_eager_mode

# Dynamo's own, of a custom gradient.
pytestmark = pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")


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


def gradients(module, x):
    x = x.clone().requires_grad_()
    module.zero_grad()
    module(x).square().sum().backward()
    return [x.grad, *(parameter.grad for parameter in module.parameters())]


@pytest.mark.parametrize("placement", ["none", "block"])
def test_a_compiled_network_has_the_gradients_of_the_eager_one(configure, randomise, placement):
    network = randomise(build_model(configure("resnet_cifar", 20, placement, width=4))).double().train()
    x = torch.randn(4, 3, 32, 32, dtype=torch.float64).contiguous(memory_format=torch.channels_last)
    eager = gradients(copy.deepcopy(network), x)
    compiled = gradients(torch.compile(network, backend="aot_eager", fullgraph=True), x)
    torch.testing.assert_close(compiled, eager, rtol=1e-8, atol=1e-10)


def test_a_tie_s_gradient_goes_to_one_element_in_a_graph_too():
    x = torch.ones(2, 4, 5, 5).contiguous(memory_format=torch.channels_last)
    over_pixels, over_channels = x.clone().requires_grad_(), x.clone().requires_grad_()
    torch.compile(DESCRIPTORS["max"], backend="aot_eager", fullgraph=True)(over_pixels).sum().backward()
    assert torch.equal(over_pixels.grad.flatten(2).sort().values, torch.eye(25)[-1].expand(2, 4, 25))
    described = torch.compile(SpatialAttention().descriptor, backend="aot_eager", fullgraph=True)
    described(over_channels)[:, 0].sum().backward()
    assert torch.equal(over_channels.grad.sort(1).values[:, -1], torch.ones(2, 5, 5))
    assert over_channels.grad.sum() == 2 * 5 * 5


def test_no_gradient_is_scattered_into_a_map_of_zeros(kept_backward):
    gradients(torch.compile(CBAM(4, 2), backend=kept_backward.backend), torch.randn(2, 4, 8, 8))
    targets = {str(node.target) for node in kept_backward.nodes}
    assert not [name for name in targets if "scatter" in name or "value_selecting" in name]
    assert "aten.where.self" in targets


def test_gradients_of_the_gates_are_computed_in_full_in_a_graph(kept_backward):
    module, x = CBAM(8, 2), torch.randn(2, 8, 6, 6).bfloat16()
    with as_in_eager_mode(), torch.autocast("cpu", torch.bfloat16):
        z = torch.compile(module, backend=kept_backward.backend)(x.requires_grad_())
    z.float().sum().backward()
    multiplied = [node.meta["val"].dtype for node in kept_backward.nodes if "aten.mm" in str(node.target)]
    assert multiplied == [torch.float32] * 4


@pytest.mark.parametrize("order", ["channel_first", "parallel"])
def test_gates_are_computed_in_full_under_autocast(order):
    module, seen = CBAM(8, 2, order=order), []
    for layer in (module.channel.mlp, module.spatial.conv):
        layer.register_forward_hook(lambda _, given, made: seen.extend([given[0].dtype, made.dtype]))
    module.on_cpu = False
    with torch.autocast("cpu", torch.bfloat16):
        z = module(torch.randn(2, 8, 6, 6).bfloat16())
    assert seen == [torch.float32] * 4
    assert z.dtype == torch.bfloat16
