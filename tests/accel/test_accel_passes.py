import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import prune

from cbam_ablate.accel import accelerate
from cbam_ablate.accel.cpu import library
from cbam_ablate.accel.cpu.blocks import fork, gates_fit, join, normalise
from cbam_ablate.config import load_config
from cbam_ablate.models import CBAM, build_model

CPU = torch.device("cpu")
needs_compiler = pytest.mark.skipif(library.library() is None, reason="no C compiler here")
TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-5, torch.bfloat16: 4e-3}
"""Of the norm of the difference over that of the reference; bf16 maps keep 8 bits, 2e-3 when rounded once."""


def a_map(*shape, dtype=torch.float64, mean=0.0):
    values = torch.randn(shape, dtype=torch.float64) + mean
    return values.to(dtype).contiguous(memory_format=torch.channels_last)


def close(found, expected, dtype):
    error = (found.double() - expected.double()).norm()
    assert error <= TOLERANCE[dtype] * expected.double().norm()


def fast(module):
    return accelerate(module, CPU)


def reference_type(dtype):
    return torch.float32 if dtype == torch.bfloat16 else dtype


@needs_compiler
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize(
    ("channels", "size", "kernel", "options"),
    [
        (16, 32, 7, {}),
        (5, 7, 5, {"mlp_bias": False}),
        (64, 8, 3, {"spatial_norm": False, "conv_bias": True, "residual": True}),
    ],
)
def test_cbam_in_passes_has_the_gradients_of_cbam_written_out(dtype, channels, size, kernel, options):
    torch.manual_seed(0)
    plain = CBAM(channels, 4, kernel, **options).to(reference_type(dtype))
    if isinstance(plain.spatial.norm, nn.BatchNorm2d):
        nn.init.constant_(plain.spatial.norm.weight, 0.7)
    module = accelerate(copy.deepcopy(plain), CPU)
    x, given = (a_map(6, channels, size, size, dtype=dtype) for _ in range(2))
    results = []
    for each, images in ((module, x), (plain, x.to(reference_type(dtype)))):
        images = images.clone().requires_grad_()
        z = each(images)
        assert ("Gated" in z.grad_fn.name() or each.residual) == (each is module or each.residual)
        z.backward(given.to(z.dtype))
        learnt = [parameter.grad for parameter in each.parameters()]
        results.append(
            [z.detach(), images.grad, *learnt, *(b for b in each.buffers() if b.is_floating_point())]
        )
    for found, expected in zip(*results, strict=True):
        close(found, expected, dtype)


@needs_compiler
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("channels", [5, 16, 24, 64])
def test_the_end_of_a_block_in_passes_is_norm_cbam_addition_and_relu(dtype, channels):
    torch.manual_seed(0)
    kind = reference_type(dtype)
    plain = nn.ModuleList([nn.BatchNorm2d(channels), CBAM(channels, 4)]).to(kind)
    nn.init.normal_(plain[0].weight)
    nn.init.normal_(plain[0].bias)
    nn.init.constant_(plain[1].spatial.norm.weight, 0.7)
    ours, theirs = accelerate(copy.deepcopy(plain), CPU), plain.double()
    x, skipped, given = (a_map(6, channels, 9, 9, dtype=dtype) for _ in range(3))
    images = [each.clone().requires_grad_() for each in (x, skipped)]
    z = join(ours[0], images[0], ours[1], images[1])
    z.backward(given)
    copies = [each.double().requires_grad_() for each in (x, skipped)]
    expected = F.relu(theirs[1](theirs[0](copies[0])) + copies[1])
    expected.backward(given.double())

    assert "Gated" in z.grad_fn.name()
    close(z, expected, dtype)
    for found, wanted in zip(images, copies, strict=True):
        close(found.grad, wanted.grad, dtype)
    for found, wanted in zip(ours.parameters(), theirs.parameters(), strict=True):
        close(found.grad, wanted.grad, kind)
    for found, wanted in zip(ours.buffers(), theirs.buffers(), strict=True):
        close(found, wanted, kind)
    with torch.no_grad():
        scored = join(ours[0].eval(), x, ours[1].eval(), skipped)
        norm, attention = theirs.eval()
        close(scored, F.relu(attention(norm(x.double())) + skipped), dtype)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_a_module_of_another_type_than_float_computes_in_it(dtype):
    module = fast(CBAM(16, 4).to(dtype))
    assert module(a_map(2, 16, 8, 8, dtype=dtype)).dtype == dtype


@needs_compiler
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("relu", [True, False])
@pytest.mark.parametrize("skips", [True, False])
def test_normalise_is_batch_norm_addition_and_relu(dtype, relu, skips):
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(24).to(reference_type(dtype))
    nn.init.uniform_(norm.weight, 0.5, 1.5)
    nn.init.normal_(norm.bias)
    plain = copy.deepcopy(norm)
    x, skipped, given = (a_map(6, 24, 9, 9, dtype=dtype, mean=mean) for mean in (5, 0, 0))

    ours = [x.clone().requires_grad_(), skipped.clone().requires_grad_()]
    y = normalise(norm, ours[0], relu=relu, skipped=ours[1] if skips else None)
    y.backward(given)
    theirs = [each.to(reference_type(dtype)).requires_grad_() for each in (x, skipped)]
    z = plain(theirs[0]) + (theirs[1] if skips else 0)
    z = F.relu(z) if relu else z
    z.backward(given.to(z.dtype))

    assert "BatchNorm" in y.grad_fn.name()
    close(y, z, dtype)
    for found, expected in zip(ours[: 1 + skips], theirs, strict=False):
        close(found.grad, expected.grad, dtype)
    for found, expected in zip(norm.parameters(), plain.parameters(), strict=True):
        close(found.grad, expected.grad, dtype)
    for found, expected in zip(norm.buffers(), plain.buffers(), strict=True):
        close(found, expected, torch.float32 if dtype == torch.bfloat16 else dtype)
    with torch.no_grad():
        norm.eval()
        scored, expected = normalise(norm, x, relu=False), plain.eval()(x.to(reference_type(dtype)))
    close(scored, expected, dtype)


@needs_compiler
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_a_map_used_twice_gets_the_sum_of_both_gradients(dtype):
    torch.manual_seed(0)
    x = a_map(3, 5, 7, 7, dtype=dtype).requires_grad_()
    weights = [a_map(3, 5, 7, 7, dtype=dtype) for _ in range(2)]
    once, again = fork(2 * x)
    assert once.grad_fn is again.grad_fn
    (once * weights[0] + again * weights[1]).sum().backward()
    close(x.grad, 2 * (weights[0].double() + weights[1].double()), dtype)


@needs_compiler
def test_the_number_of_threads_changes_nothing():
    torch.manual_seed(0)
    module, x = fast(CBAM(16, 4)), a_map(7, 16, 9, 9, dtype=torch.float32)
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            images = x.clone().requires_grad_()
            z = join(nn.BatchNorm2d(16), images, module, normalise(nn.BatchNorm2d(16), images))
            (module(z) + z).square().sum().backward()
            found.append(images.grad)
    finally:
        torch.set_num_threads(before)
    assert torch.equal(*found)


@needs_compiler
def test_a_hooked_gate_is_called_and_gives_the_same():
    module, x = fast(CBAM(16, 4)), a_map(2, 16, 8, 8, dtype=torch.float32)
    norm, seen = nn.BatchNorm2d(16).eval(), []
    with torch.no_grad():
        without = module.eval()(x), join(norm, x, module, x)
        module.spatial.register_forward_hook(lambda _, __, gate: seen.append(gate))
        torch.testing.assert_close((module(x), join(norm, x, module, x)), without)
    assert len(seen) == 2


def test_a_hooked_layer_inside_a_gate_is_called_too():
    attention = fast(CBAM(32))
    prune.l1_unstructured(attention.channel.mlp[0], "weight", 0.5)
    before = attention.channel.mlp[0].weight.detach().clone()
    optimizer = torch.optim.SGD(attention.parameters(), 1.0)
    for _ in range(2):
        attention(a_map(2, 32, 5, 5, dtype=torch.float32)).square().sum().backward()
        optimizer.step()
    attention(a_map(2, 32, 5, 5, dtype=torch.float32))
    assert not torch.equal(attention.channel.mlp[0].weight, before)
    assert attention.channel.mlp[0].weight_orig.grad.abs().sum() > 0


def test_a_gate_of_other_layers_is_computed_by_them():
    attention, x = fast(CBAM(32)).eval(), a_map(2, 32, 5, 5, dtype=torch.float32)
    attention.channel.mlp[1] = nn.GELU()
    torch.testing.assert_close(attention(x), attention(x.contiguous()))


@pytest.mark.parametrize("channels", [16, 64])
def test_a_map_of_other_channels_than_the_gates_is_refused(channels):
    x = a_map(2, 32, 5, 5, dtype=torch.float32)
    with pytest.raises(RuntimeError):
        fast(CBAM(channels))(x)
    with pytest.raises(RuntimeError):
        normalise(torch.nn.BatchNorm2d(channels), x)


@pytest.mark.parametrize(
    "change",
    [
        {"dilation": (2, 2), "padding": (6, 6)},
        {"padding_mode": "circular", "_reversed_padding_repeated_twice": [3, 3, 3, 3]},
        {"stride": (1, 1), "padding": (3, 3), "groups": 1, "bias": nn.Parameter(torch.ones(1).double())},
    ],
)
def test_a_changed_convolution_is_not_computed_as_the_one_that_was_built(change):
    attention, x = CBAM(32).eval(), a_map(2, 32, 9, 9, dtype=torch.float32)
    nn.init.ones_(attention.spatial.norm.weight)
    for name, value in change.items():
        setattr(attention.spatial.conv, name, value)
    assert not gates_fit(fast(copy.deepcopy(attention)), x)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")
def test_a_traced_network_computes_the_same():
    words = ["backbone=resnet_cifar", "depth=20", "placement=block", "data=synthetic"]
    network = fast(build_model(load_config(words))).eval().to(memory_format=torch.channels_last)
    x = a_map(2, 3, 32, 32, dtype=torch.float32)
    traced = torch.jit.trace(network, x, check_trace=False)
    assert torch.allclose(traced(x), network(x), atol=1e-5)


def test_without_a_compiler_networks_compute_the_same(monkeypatch):
    module, x = fast(CBAM(16, 4)), a_map(2, 16, 8, 8, dtype=torch.float32)
    with_compiler = module(x)
    library.library.cache_clear()
    monkeypatch.setenv("PATH", "")
    try:
        torch.testing.assert_close(module(x), with_compiler)
        assert type(fast(CBAM(16, 4))) is CBAM
    finally:
        library.library.cache_clear()
