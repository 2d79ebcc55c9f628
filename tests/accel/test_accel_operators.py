"""The passes as operators of PyTorch: what its own checks of operators ask, and what they refuse."""

import pytest
import torch
from torch.library import opcheck

from cbam_ablate.accel.cpu import cbam, norm
from cbam_ablate.accel.cpu.library import library

pytestmark = pytest.mark.skipif(library() is None, reason="no C compiler here")
N, C, H, W, HIDDEN = 3, 5, 4, 6, 2


def a_map(dtype=torch.float32, grad=False):
    x = torch.randn(N, C, H, W).to(dtype).contiguous(memory_format=torch.channels_last)
    return x.requires_grad_(grad)


def vector(size=C, grad=False, dtype=torch.float32):
    return torch.rand(size, dtype=dtype).add_(0.5).requires_grad_(grad)


def of_norm(size=C, grad=False, training=True):
    return [vector(size, grad), vector(size, grad), vector(size), vector(size), training, 1e-5, 0.1]


def of_layers(grad=False):
    shapes = [(HIDDEN, C), (HIDDEN,), (C, HIDDEN), (C,), (1, 2, 3, 3), (1,)]
    return [torch.randn(shape).requires_grad_(grad) for shape in shapes]


NO_NORM = [None, None, None, None, False, 0.0, 0.0]


def arguments(name, grad=False):
    """A call of the operator."""
    x, skipped = a_map(grad=grad), a_map(grad=grad)
    vectors = [vector(grad=grad), vector(grad=grad), vector(), vector()]
    layers = of_layers(grad)
    return {
        "add": (x, skipped),
        "add_relu": (x, skipped),
        "add_relu_backward": (x, skipped),
        "scale_shift": (x, torch.rand(2, C), skipped, True),
        "batch_norm": (x, *vectors, skipped, True, 1e-5, 0.1),
        "batch_norm_backward": (x, a_map(), None, vectors[0], vector((2, C), dtype=torch.float64),
                                vector((2, C)), True),
        "cbam": (x, skipped, *of_norm(grad=grad), *layers, *of_norm(1, grad)),
        "cbam_backward": (a_map(), None, x, None, None, layers[0], layers[2], layers[4], None,
                          torch.ops.cbam_ablate.cbam(x, None, *NO_NORM, *layers, *NO_NORM)[1]),
    }[name]  # fmt: skip


DIFFERENTIABLE = ("add_relu", "batch_norm", "cbam")
OTHERS = ("add", "add_relu_backward", "scale_shift", "batch_norm_backward", "cbam_backward")
DEAR = ("cbam", "cbam_backward")
CHECKED = [
    pytest.param(name, marks=[pytest.mark.slow] if name in DEAR else []) for name in DIFFERENTIABLE + OTHERS
]


@pytest.mark.parametrize("name", CHECKED)
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
def test_an_operator_passes_pytorch_s_own_checks(name):
    with torch.no_grad():
        given = arguments(name)
    opcheck(getattr(torch.ops.cbam_ablate, name).default, given, atol=1e-4, rtol=1e-4)
    if name in DIFFERENTIABLE:
        opcheck(getattr(torch.ops.cbam_ablate, name).default, arguments(name, True), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", OTHERS)
def test_an_operator_without_a_gradient_says_so(name):
    given = [arg.detach() if isinstance(arg, torch.Tensor) else arg for arg in arguments(name)]
    given[0].requires_grad_()
    with pytest.raises(RuntimeError, match="has no gradient"):
        getattr(torch.ops.cbam_ablate, name)(*given)


def test_cbam_has_no_gradient_with_a_norm_out_of_training_and_says_so():
    given = (a_map(grad=True), None, *of_norm(training=False), *of_layers(), *NO_NORM)
    with pytest.raises(RuntimeError, match="norm that is not in training"):
        torch.ops.cbam_ablate.cbam(*given)


def test_a_second_derivative_is_refused():
    x = a_map(grad=True)
    y = torch.ops.cbam_ablate.batch_norm(x, *(vector() for _ in range(4)), None, True, 1e-5, 0.1)[0]
    (dx,) = torch.autograd.grad(y.square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        dx.sum().backward()


WRONG = {
    "type": lambda x: x.half(),
    "layout": lambda x: x.new_empty(x.numel() * 2)[::2].view_as(x) if x.ndim == 1 else x.contiguous(),
    "shape": lambda x: torch.cat([x, x]),
    "device": lambda x: x.to("meta"),
}


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize(
    ("name", "place"),
    [
        *(("batch_norm", place) for place in (0, 1, 5)),
        *(("cbam", place) for place in (1, 2, 11)),
        ("cbam_backward", 0),
        ("add", 1),
    ],
)
def test_a_wrong_argument_is_an_error_that_names_it(name, place, wrong):
    operator = getattr(torch.ops.cbam_ablate, name).default
    with torch.no_grad():
        given = list(arguments(name))
        if wrong == "layout" and given[place].ndim != 4:
            given[place] = torch.stack([given[place]] * 2, -1)[..., 0]
        else:
            given[place] = WRONG[wrong](given[place])
        if wrong == "shape" and place == 0 and name == "batch_norm":
            given[place] = given[place][:0]
        argument = operator._schema.arguments[place].name
        module = {"cbam": cbam, "cbam_backward": cbam}.get(name, norm)
        kernel = getattr(module, {"cbam_backward": "_backward"}.get(name, f"_{name}"))
        # The kernel itself: the dispatcher sends tensors of two devices to the other one's.
        with pytest.raises(ValueError, match=rf"{name}: (x|{argument}) is .*must be"):
            kernel(*given)


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_vmap_calls_an_operator_for_each(name):
    operator, (x, *rest) = getattr(torch.ops.cbam_ablate, name), arguments(name)
    with torch.no_grad():
        many = torch.vmap(lambda each: operator(each, *rest))(torch.stack([x, x + 1]))
        each = [operator(one, *rest) for one in (x, x + 1)]
    for found, *expected in zip(leaves(many), *map(leaves, each), strict=True):
        torch.testing.assert_close(found, torch.stack(expected))


def leaves(results):
    return torch.utils._pytree.tree_leaves(results)
