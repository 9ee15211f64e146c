"""Tensors: creation, element types, text, functions against numpy, random numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import rustorch
from rustorch import tensor
from rustorch.ir.op import REGISTRY, Public

RNG = np.random.default_rng(0)
A = RNG.uniform(0.5, 2.0, (3, 4)).astype(np.float32)
B = RNG.uniform(0.5, 2.0, (4,)).astype(np.float32)


def test_creation() -> None:
    assert tensor([[1, 2], [3, 4]]).dtype is rustorch.int64
    assert tensor([1.0, 2]).dtype is rustorch.float32
    assert tensor(np.array([1.0])).dtype is rustorch.float64
    assert tensor(True).dtype is rustorch.bool
    assert tensor([]).shape == (0,)
    assert tensor([tensor(1.0), tensor(2.0)]).tolist() == [1.0, 2.0]
    assert tensor(np.arange(6).reshape(2, 3)[:, ::2]).tolist() == [[0, 2], [3, 5]]
    assert (rustorch.zeros(2, 3).shape, rustorch.ones((2,)).tolist()) == ((2, 3), [1.0, 1.0])
    assert (rustorch.full((2,), 7).dtype, rustorch.full((2,), 7.0).dtype) == (rustorch.int64, rustorch.float32)
    assert rustorch.arange(1, 10, 3).tolist() == [1, 4, 7]
    assert rustorch.arange(0, 1, 0.25).dtype is rustorch.float32
    assert rustorch.linspace(0, 1, 5).tolist() == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert rustorch.eye(2, 3).tolist() == [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]
    assert rustorch.zeros_like(tensor([1, 2])).tolist() == [0, 0]
    assert rustorch.tril(rustorch.ones(2, 2)).tolist() == [[1.0, 0.0], [1.0, 1.0]]
    with pytest.raises(ValueError, match="expected sequence of equal length"):
        tensor([[1], [1, 2]])
    with pytest.raises(TypeError, match="Could not infer dtype of object"):
        tensor(object())


def test_properties() -> None:
    x = rustorch.zeros(2, 3, 4)
    assert (x.ndim, x.numel(), x.size(), x.size(-1), len(x), x.stride()) == (3, 24, (2, 3, 4), 4, 2, (12, 4, 1))
    assert str(x.dtype).endswith("float32") or repr(x.dtype) == "rustorch.float32"
    assert (x.device.type, x.device == rustorch.device("cpu"), x.element_size()) == ("cpu", True, 4)
    assert x.T.shape == (4, 3, 2)
    assert isinstance(x.shape, rustorch.Size)
    assert x.shape.numel() == 24


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        (rustorch.float32, rustorch.float64, rustorch.float64),
        (rustorch.int64, rustorch.float32, rustorch.float32),
        (rustorch.bool, rustorch.int32, rustorch.int32),
        (rustorch.int32, rustorch.int64, rustorch.int64),
    ],
)
def test_promotion(left: Any, right: Any, expected: Any) -> None:
    x, y = rustorch.ones(2, dtype=left), rustorch.ones(2, dtype=right)
    assert (x + y).dtype is expected
    assert rustorch.promote_types(left, right) is expected
    assert rustorch.result_type(x, y) is expected


def test_promotion_of_numbers_and_single_elements() -> None:
    x = rustorch.ones(2)
    assert (x + tensor(1.0, dtype=rustorch.float64)).dtype is rustorch.float32
    assert (rustorch.ones(2, dtype=rustorch.int32) + tensor(1)).dtype is rustorch.int32
    assert (tensor([1, 2]) / 2).dtype is rustorch.float32
    assert (tensor([True]) + 1).dtype is rustorch.int64
    assert tensor([1, 2]).exp().dtype is rustorch.float32
    assert (2**x).tolist() == [2.0, 2.0]
    assert (1 - x, 3 / (x + 2), 7 // tensor([2, 3]))[2].tolist() == [3, 2]
    rustorch.set_default_dtype(rustorch.float64)
    try:
        assert tensor([1.0]).dtype is rustorch.float64
        assert (tensor([1]) / 2).dtype is rustorch.float64
    finally:
        rustorch.set_default_dtype(rustorch.float32)
    assert (tensor([1]) / 2).dtype is rustorch.float32


UNARY = {
    "neg": np.negative, "abs": np.abs, "exp": np.exp, "log": np.log, "sqrt": np.sqrt, "tanh": np.tanh, "sin": np.sin, "cos": np.cos,
    "floor": np.floor, "ceil": np.ceil, "round": np.round, "sign": np.sign, "square": np.square, "log1p": np.log1p, "expm1": np.expm1,
    "reciprocal": np.reciprocal,
}  # fmt: skip
BINARY = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide, "pow": np.power, "maximum": np.maximum, "minimum": np.minimum,
    "remainder": np.remainder, "floor_divide": np.floor_divide, "lt": np.less, "ge": np.greater_equal, "eq": np.equal,
}  # fmt: skip


@pytest.mark.parametrize("name", UNARY)
def test_unary_functions(name: str) -> None:
    expected = UNARY[name](A)
    assert np.allclose(getattr(rustorch, name)(tensor(A)).numpy(), expected, rtol=2e-6)
    assert np.allclose(getattr(tensor(A), name)().numpy(), expected, rtol=2e-6)
    x = tensor(A)
    assert getattr(x, f"{name}_")() is x
    assert np.allclose(x.numpy(), expected, rtol=2e-6)


@pytest.mark.parametrize("name", BINARY)
def test_binary_functions(name: str) -> None:
    expected = BINARY[name](A, B)
    assert np.allclose(getattr(rustorch, name)(tensor(A), tensor(B)).numpy(), expected, rtol=2e-6)
    assert np.allclose(getattr(tensor(A), name)(tensor(B)).numpy(), expected, rtol=2e-6)


def test_every_public_op_has_its_names() -> None:
    for op in REGISTRY:
        if isinstance(op.public, Public):
            for name in op.public.names:
                assert callable(getattr(rustorch, name)), name
                assert not op.public.method or callable(getattr(rustorch.Tensor, name)), name


def test_reductions() -> None:
    x = tensor(A)
    for name in ("sum", "mean", "prod", "amax", "amin", "std", "var"):
        reference = getattr(np, {"amax": "max", "amin": "min"}.get(name, name))
        more = {"ddof": 1} if name in ("std", "var") else {}
        assert np.allclose(getattr(x, name)().numpy(), reference(A, **more), rtol=1e-5), name
        assert np.allclose(getattr(x, name)(1).numpy(), reference(A, axis=1, **more), rtol=1e-5), name
        assert np.allclose(getattr(rustorch, name)(x, dim=-2, keepdim=True).numpy(), reference(A, axis=0, keepdims=True, **more), rtol=1e-5)
    assert tensor([1, 2, 3]).sum().dtype is rustorch.int64
    assert tensor([True, True]).sum().item() == 2
    values, indices = x.max(1)
    assert (values.tolist(), indices.tolist()) == (A.max(1).tolist(), A.argmax(1).tolist())
    assert x.max().item() == A.max()
    assert (x.argmin().item(), x.argmax(0).tolist()) == (A.argmin(), A.argmax(0).tolist())
    assert (bool((x > 0).all()), bool((x > 9).any())) == (True, False)
    assert np.allclose(x.logsumexp(1).numpy(), np.log(np.exp(A).sum(1)), rtol=1e-5)
    assert np.allclose(x.norm().item(), np.linalg.norm(A), rtol=1e-5)
    assert np.allclose(x.cumsum(1).numpy(), A.cumsum(1), rtol=1e-5)
    with pytest.raises(RuntimeError, match="could not infer output dtype"):
        tensor([1, 2]).mean()
    with pytest.raises(IndexError, match=r"Dimension out of range \(expected to be in range of \[-2, 1\], but got 2\)"):
        x.sum(2)
    assert tensor([[], []]).sum(1).tolist() == [0.0, 0.0]


def test_movement() -> None:
    x = tensor(A)
    assert x.reshape(2, -1).shape == (2, 6)
    assert x.view(12).tolist() == A.reshape(12).tolist()
    assert x.permute(1, 0).tolist() == A.T.tolist() == x.T.tolist() == x.transpose(0, 1).tolist() == x.t().tolist()
    assert x.unsqueeze(-1).squeeze().shape == (3, 4)
    assert x.flatten().tolist() == A.reshape(-1).tolist()
    assert x.expand(2, 3, 4).shape == (2, 3, 4)
    assert rustorch.cat([x, x], 1).tolist() == np.concatenate([A, A], 1).tolist()
    assert rustorch.stack([x, x], 2).tolist() == np.stack([A, A], 2).tolist()
    assert [p.tolist() for p in x.split(3, 1)] == [A[:, :3].tolist(), A[:, 3:].tolist()]
    assert [p.shape for p in x.chunk(2)] == [(2, 4), (1, 4)]
    assert x.flip(0).tolist() == A[::-1].tolist()
    assert x.narrow(1, 1, 2).tolist() == A[:, 1:3].tolist()
    assert x.index_select(1, tensor([3, 0])).tolist() == A[:, [3, 0]].tolist()
    assert x.gather(1, tensor([[0, 1], [2, 3], [1, 1]])).tolist() == np.take_along_axis(A, np.array([[0, 1], [2, 3], [1, 1]]), 1).tolist()
    with pytest.raises(RuntimeError, match=r"shape '\[5\]' is invalid for input of size 12"):
        x.reshape(5)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ((3,), (3,)), ((2, 3), (3,)), ((3,), (3, 4)), ((2, 3), (3, 4)), ((5, 2, 3), (3, 4)), ((5, 2, 3), (5, 3, 4)),
        ((1, 2, 3), (5, 3, 4)), ((3,), (5, 3, 4)), ((5, 2, 3), (3,)),
    ],
)  # fmt: skip
def test_matmul(left: tuple[int, ...], right: tuple[int, ...]) -> None:
    x, y = RNG.standard_normal(left), RNG.standard_normal(right)
    assert np.allclose((tensor(x) @ tensor(y)).numpy(), x @ y, rtol=1e-12)


def test_where_and_clamp() -> None:
    x = tensor([-1.0, 0.5, 3.0])
    assert rustorch.where(x > 0, x, 0.0).tolist() == [0.0, 0.5, 3.0]
    assert x.clamp(0, 1).tolist() == [0.0, 0.5, 1.0]
    assert x.clamp(max=1.0).tolist() == [-1.0, 0.5, 1.0]
    assert rustorch.where(x > 0)[0].tolist() == [1, 2]
    y = tensor([0.0, 1.0, 2.0], requires_grad=True)
    y.clamp(0.0, 1.0).sum().backward()
    assert y.grad.tolist() == [1.0, 1.0, 0.0]


def test_numpy_meets_tensors() -> None:
    x = tensor([1.0, 2.0])
    assert isinstance(np.ones(2, np.float32) * x, rustorch.Tensor)
    assert (np.float32(2) * x).tolist() == [2.0, 4.0]
    assert np.asarray(x).tolist() == [1.0, 2.0]
    assert np.exp(x).tolist() == pytest.approx(np.exp([1.0, 2.0]).tolist(), rel=1e-6)
    with pytest.raises(TypeError):
        x + "text"
    assert (x == tensor([1.0, 5.0])).tolist() == [True, False]
    assert 2.0 in x
    assert len({x, x}) == 1


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: tensor([1.0, 2.0]), "tensor([1., 2.])"),
        (lambda: tensor([1.0, 2.5]), "tensor([1.0000, 2.5000])"),
        (lambda: tensor([1, 2]), "tensor([1, 2])"),
        (lambda: tensor([True, False]), "tensor([ True, False])"),
        (lambda: tensor(3.5), "tensor(3.5000)"),
        (lambda: tensor([]), "tensor([])"),
        (lambda: tensor([1.0], dtype=rustorch.float64), "tensor([1.], dtype=rustorch.float64)"),
        (lambda: tensor([1], dtype=rustorch.int32), "tensor([1], dtype=rustorch.int32)"),
        (lambda: tensor([1.0, 2.0], requires_grad=True), "tensor([1., 2.], requires_grad=True)"),
        (lambda: tensor([1.0], requires_grad=True) * 2, "tensor([2.], grad_fn=<MulBackward0>)"),
        (lambda: tensor([[1.0, -2.0], [10.0, 3.0]]), "tensor([[ 1., -2.],\n        [10.,  3.]])"),
        (lambda: tensor([float("nan"), float("inf"), 1.5]), "tensor([   nan,    inf, 1.5000])"),
        (lambda: tensor([1e-5, 1.0]), "tensor([1.0000e-05, 1.0000e+00])"),
        (lambda: rustorch.zeros(0, 3), "tensor([], size=(0, 3))"),
        (lambda: rustorch.arange(2000), "tensor([   0,    1,    2,  ..., 1997, 1998, 1999])"),
    ],
)
def test_text(make: Any, text: str) -> None:
    assert repr(make()) == text


def test_summaries_are_short() -> None:
    lines = repr(rustorch.zeros(100, 100)).splitlines()
    assert len(lines) == 7
    assert "..." in lines[0]
    assert f"{tensor(1.25):.1f}" == "1.2"


def test_random_numbers() -> None:
    rustorch.manual_seed(1)
    a = [rustorch.rand(3).tolist(), rustorch.randn(2, 2).tolist(), rustorch.randint(0, 10, (5,)).tolist(), rustorch.randperm(6).tolist()]
    rustorch.manual_seed(1)
    b = [rustorch.rand(3).tolist(), rustorch.randn(2, 2).tolist(), rustorch.randint(0, 10, (5,)).tolist(), rustorch.randperm(6).tolist()]
    assert a == b
    assert sorted(a[3]) == list(range(6))
    assert rustorch.rand(3).tolist() != a[0]
    g = rustorch.Generator().manual_seed(7)
    state = g.get_state()
    first = rustorch.rand(4, generator=g).tolist()
    g.set_state(state)
    assert rustorch.rand(4, generator=g).tolist() == first
    many = rustorch.randn(20_000)
    assert abs(many.mean().item()) < 0.03
    assert abs(many.std().item() - 1) < 0.03
    assert rustorch.rand(2, requires_grad=True).is_leaf
    assert rustorch.bernoulli(rustorch.full((1000,), 0.25)).mean().item() == pytest.approx(0.25, abs=0.06)


def test_limits_of_types() -> None:
    assert rustorch.finfo(rustorch.float32).eps == np.finfo(np.float32).eps
    assert rustorch.iinfo(rustorch.int32).max == 2**31 - 1
    with pytest.raises(TypeError):
        rustorch.finfo(rustorch.int32)
    with pytest.raises(NotImplementedError):
        rustorch.device("cuda")


def test_operators_leave_foreign_operands_to_their_class() -> None:
    class Foreign:
        def __radd__(self, other: Any) -> str:
            return "radd"

        def __add__(self, other: Any) -> str:
            return "add"

    x = rustorch.ones(2)
    for _ in range(2):  # new in its place, and seen before
        assert x + Foreign() == "radd"
        assert Foreign() + x == "add"
    assert (x == None) is False  # noqa: E711 - what Python makes of it
    with pytest.raises(TypeError, match="unsupported operand"):
        x + "a"


def test_python_numbers_are_not_rounded_on_the_way_to_a_given_type() -> None:
    for data in (0.7, [0.7], [[0.7]], (0.7, 1)):
        found = rustorch.tensor(data, dtype=rustorch.float64)
        assert found.reshape(-1)[0].item() == 0.7
        assert rustorch.tensor(data).dtype is rustorch.float32
    assert rustorch.tensor([]).dtype is rustorch.float32
    assert rustorch.tensor([np.float64(0.7)]).dtype is rustorch.float64
