import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from cbam_ablate.models import CBAM, cpu
from cbam_ablate.models.norm import add_relu, normalise

needs_compiler = pytest.mark.skipif(cpu._library() is None, reason="no C compiler here")
TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-5, torch.bfloat16: 4e-3}
"""Of the norm of the difference over that of the reference; bf16 maps keep 8 bits, 2e-3 when rounded once."""


def a_map(*shape, dtype=torch.float64, mean=0.0):
    values = torch.randn(shape, dtype=torch.float64) + mean
    return values.to(dtype).contiguous(memory_format=torch.channels_last)


def close(found, expected, dtype):
    error = (found.double() - expected.double()).norm() / expected.double().norm()
    assert error < TOLERANCE[dtype]


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
    module = CBAM(channels, 4, kernel, **options).to(reference_type(dtype))
    if isinstance(module.spatial.norm, nn.BatchNorm2d):
        nn.init.constant_(module.spatial.norm.weight, 0.7)
    plain = copy.deepcopy(module)
    plain.on_cpu = False
    x, given = (a_map(6, channels, size, size, dtype=dtype) for _ in range(2))
    results = []
    for each, images in ((module, x), (plain, x.to(reference_type(dtype)))):
        images = images.clone().requires_grad_()
        assert each._has_passes(images) == (each is module)
        z = each(images)
        z.backward(given.to(z.dtype))
        learnt = [parameter.grad for parameter in each.parameters()]
        results.append(
            [z.detach(), images.grad, *learnt, *(b for b in each.buffers() if b.is_floating_point())]
        )
    for found, expected in zip(*results, strict=True):
        close(found, expected, dtype)


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

    assert "Normalised" in y.grad_fn.name()
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
def test_the_number_of_threads_changes_nothing():
    torch.manual_seed(0)
    module, x = CBAM(16, 4), a_map(7, 16, 9, 9, dtype=torch.float32)
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            images = x.clone().requires_grad_()
            add_relu(module(images), normalise(nn.BatchNorm2d(16), images)).sum().backward()
            found.append(images.grad)
    finally:
        torch.set_num_threads(before)
    assert torch.equal(*found)


@needs_compiler
def test_a_hooked_gate_is_called_and_gives_the_same():
    module, x = CBAM(16, 4), a_map(2, 16, 8, 8, dtype=torch.float32)
    without, seen = module.eval()(x), []
    module.spatial.register_forward_hook(lambda _, __, gate: seen.append(gate))
    torch.testing.assert_close(module(x), without)
    assert len(seen) == 1


def test_without_a_compiler_networks_compute_the_same(monkeypatch):
    module, x = CBAM(16, 4), a_map(2, 16, 8, 8, dtype=torch.float32)
    with_compiler = module(x)
    cpu._library.cache_clear()
    monkeypatch.setenv("PATH", "")
    try:
        assert not cpu.suits(x)
        torch.testing.assert_close(module(x), with_compiler)
    finally:
        cpu._library.cache_clear()
