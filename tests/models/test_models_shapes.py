"""Shapes found without PyTorch's meta kernels are the ones that it gives."""

import pytest
import torch

from cbam_ablate.models.shapes import SHAPES, aten, shaped


def meta(*shape, dtype=torch.float32):
    return torch.empty(shape, device="meta", dtype=dtype)


X, Y = meta(2, 6, 9, 7), meta(2, 6, 1, 1)
CALLS = [
    (aten.relu.default, (X,)),
    (aten.sigmoid.default, (X,)),
    (aten.hardswish.default, (X,)),
    (aten._softmax.default, (X, -1, False)),
    (aten.pow.Tensor_Scalar, (X, 2)),
    (aten.sub.Tensor, (X, Y)),
    (aten.add.Tensor, (X, Y)),
    (aten.mul.Tensor, (Y, X)),
    (aten.div.Tensor, (X, 7)),
    (aten.mean.dim, (X, [2, 3], True)),
    (aten.mean.dim, (X, [-1])),
    (aten.sum.dim_IntList, (X, [1])),
    (aten.amax.default, (X, [0, 3], True)),
    (aten.logsumexp.default, (X, [2, 3], True)),
    (aten.linalg_vector_norm.default, (X, 2, [2, 3], True)),
    (aten.max.dim, (X, 1)),
    (aten.max_pool2d_with_indices.default, (X, [2])),
    (aten.max_pool2d_with_indices.default, (X, [3, 2], [2, 1], [1, 1])),
    (aten.max_pool2d_with_indices.default, (meta(1, 2, 2, 3), [2], [2], [0], [1], True)),
    (aten.max_pool2d_with_indices.default, (meta(1, 2, 7, 5), [3], [4], [1], [1], True)),
    (aten.upsample_bilinear2d.default, (X, [18, 20], True, None, None)),
    (aten.bmm.default, (meta(2, 3, 4), meta(2, 4, 5))),
    (aten.cat.default, ([X, X], 1)),
    (aten.cat.default, ([X, meta(2, 6, 9, 2)], -1)),
    (aten.stack.default, ([X, X], -1)),
    (aten.addmm.default, (meta(5), meta(2, 3), meta(3, 5))),
    (aten.convolution.default, (X, meta(4, 6, 3, 3), None, [2, 2], [1, 1], [1, 1], False, [0, 0], 1)),
    (aten.convolution.default, (X, meta(6, 2, 5, 3), meta(6), [1, 2], [4, 0], [2, 1], False, [0, 0], 3)),
]


@pytest.mark.parametrize(("operator", "args"), CALLS, ids=lambda one: str(one)[:40])
def test_an_operator_gives_the_shapes_and_types_that_pytorch_gives(operator, args):
    found, theirs = shaped(operator, args), operator(*args)
    for one, other in zip(
        *(given if isinstance(given, tuple) else (given,) for given in (found, theirs)), strict=True
    ):
        assert (one.shape, one.dtype, one.device) == (other.shape, other.dtype, other.device)


def test_each_known_operator_is_compared():
    assert {operator for operator, _ in CALLS} == set(SHAPES)


@pytest.mark.parametrize(
    ("operator", "args"),
    [
        (aten.max_pool2d_with_indices.default, (X, [2, 2], [2, 2], [2, 2])),
        (aten.max_pool2d_with_indices.default, (X, [2, 8])),
        (aten.add.Tensor, (X, meta(2, 5, 1, 1))),
        (aten.mean.dim, (X, [4])),
        (aten.amax.default, (X, [1, 1])),
        (aten.cat.default, ([X, meta(2, 6, 8, 7)], 1)),
        (aten.stack.default, ([X, Y], 0)),
        (aten.addmm.default, (meta(5), meta(2, 4), meta(3, 5))),
        (aten.bmm.default, (meta(2, 3, 4), meta(2, 3, 5))),
        (aten.convolution.default, (X, meta(4, 5, 3, 3), None, [1, 1], [1, 1], [1, 1], False, [0, 0], 1)),
        (aten.convolution.default, (X, meta(4, 6, 11, 3), None, [1, 1], [0, 0], [1, 1], False, [0, 0], 1)),
    ],
    ids=lambda one: str(one)[:40],
)
def test_what_is_wrong_is_left_to_pytorch_to_say(operator, args):
    assert shaped(operator, args) is None
    with pytest.raises((RuntimeError, IndexError)):
        operator(*args)


@pytest.mark.parametrize(
    ("operator", "args"),
    [
        (aten.convolution.default, (X, meta(4, 6, 3, 3), None, [0, 1], [1, 1], [1, 1], False, [0, 0], 1)),
        (aten.convolution.default, (X, meta(4, 6, 3, 3), None, [1, 1], [-1, 1], [1, 1], False, [0, 0], 1)),
        (aten.convolution.default, (X, meta(4, 6, 3, 3), meta(5), [1, 1], [1, 1], [1, 1], False, [0, 0], 1)),
        (aten.add.Tensor, (X, meta(2, 6, 9, 7, dtype=torch.int64))),
        (aten.relu.default, (meta(3, dtype=torch.int64),)),
        (aten.mean.dim, (meta(0, 3), [0])),
        (aten.mean.dim, (X, None)),
        (aten.upsample_bilinear2d.default, (X, [0, 20], True, None, None)),
        (aten._softmax.default, (X, 4, False)),
        (aten.linalg_vector_norm.default, (X,)),
    ],
)
def test_what_is_out_of_the_common_is_left_to_pytorch(operator, args):
    assert shaped(operator, args) is None


def test_a_type_that_is_asked_for_is_left_to_pytorch():
    assert shaped(aten.sum.dim_IntList, (X, [1]), {"dtype": torch.float64}) is None
