"""Transforms of functions, in both doors and nested in any order."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import rustorch
from rustorch import func, jit, tensor
from rustorch.testing import assert_close, gradcheck, gradgradcheck


def cube(x: Any) -> Any:
    return (x**3).sum()


@pytest.mark.parametrize("wrap", [lambda f: f, jit], ids=["recorded", "jit"])
def test_gradients(wrap: Any) -> None:
    x = tensor([1.0, 2.0])
    assert wrap(rustorch.grad(cube))(x).tolist() == [3.0, 12.0]
    value, gradient = wrap(rustorch.value_and_grad(cube))(x)
    assert (value.item(), gradient.tolist()) == (9.0, [3.0, 12.0])
    assert not gradient.requires_grad
    assert not value.requires_grad
    assert wrap(rustorch.grad(wrap(cube)))(x).tolist() == [3.0, 12.0]
    third = rustorch.grad(rustorch.grad(rustorch.grad(lambda v: v**4)))
    assert wrap(third)(tensor(2.0)).item() == 48.0
    assert wrap(third)(2.0).item() == 48.0
    assert wrap(func.grad_and_value(cube))(x)[1].item() == 9.0


@pytest.mark.parametrize("wrap", [lambda f: f, jit], ids=["recorded", "jit"])
def test_arguments_and_containers(wrap: Any) -> None:
    def loss(p: Any, x: Any, *, scale: float = 1.0) -> Any:
        return ((p["w"] * x).sum() + p["b"]) * scale

    p = {"w": tensor([1.0, 2.0]), "b": tensor(3.0)}
    gradient = wrap(rustorch.grad(loss))(p, tensor([5.0, 6.0]), scale=2.0)
    assert {k: v.tolist() for k, v in gradient.items()} == {"w": [10.0, 12.0], "b": 2.0}
    both = wrap(rustorch.grad(loss, argnums=(0, 1)))(p, tensor([5.0, 6.0]))
    assert both[1].tolist() == [1.0, 2.0]
    (value, aux), g = wrap(rustorch.value_and_grad(lambda x: (x.sum(), {"twice": x * 2}), has_aux=True))(tensor([4.0]))
    assert (value.item(), aux["twice"].tolist(), g.tolist()) == (4.0, [8.0], [1.0])
    assert wrap(rustorch.grad(lambda x, y: x.sum(), argnums=1))(tensor([1.0]), tensor([1.0])).tolist() == [0.0]


def test_python_may_look_at_numbers_outside_jit() -> None:
    def f(x: Any) -> Any:
        return (x * x).sum() if float(x.sum()) > 0 else x.sum()

    assert rustorch.grad(f)(tensor([1.0, 2.0])).tolist() == [2.0, 4.0]
    assert rustorch.grad(f)(tensor([-1.0, -2.0])).tolist() == [1.0, 1.0]
    assert not rustorch.grad(f)(tensor([1.0, 2.0])).requires_grad


def test_gradients_of_tensors_from_outside_go_on() -> None:
    w = tensor([2.0, 3.0], requires_grad=True)
    g = rustorch.grad(lambda x: (x * x * w).sum())(tensor([1.0, 1.0]))
    assert g.requires_grad
    g.sum().backward()
    assert w.grad.tolist() == [2.0, 2.0]
    x = tensor([2.0], requires_grad=True)
    rustorch.grad(cube)(x).sum().backward()
    assert x.grad.tolist() == [12.0]


@pytest.mark.parametrize("wrap", [lambda f: f, jit], ids=["recorded", "jit"])
def test_pullbacks_and_pushforwards(wrap: Any) -> None:
    x = tensor([0.5, 1.5])

    def both(x: Any) -> Any:
        value, pull = func.vjp(lambda v: v.sin() * v, x)
        (back,) = pull(tensor([1.0, 10.0]))
        same, forward = func.jvp(lambda v: v.sin() * v, (x,), (tensor([1.0, 10.0]),))
        return value, back, same, forward

    value, back, same, forward = wrap(both)(x)
    slope = np.cos([0.5, 1.5]) * [0.5, 1.5] + np.sin([0.5, 1.5])
    assert_close(back.numpy(), (slope * [1, 10]).astype(np.float32), rtol=1e-5, atol=1e-6)
    assert_close(back, forward, rtol=1e-5, atol=1e-6)
    assert_close(value, same)


def test_jacobians() -> None:
    x = tensor([1.0, 2.0, 3.0])
    reverse, forward = rustorch.jacrev(lambda v: v * v.sum())(x), rustorch.jacfwd(lambda v: v * v.sum())(x)
    assert_close(reverse, forward)
    assert reverse.tolist() == [[7.0, 1.0, 1.0], [2.0, 8.0, 2.0], [3.0, 3.0, 9.0]]
    assert rustorch.hessian(cube)(x).tolist() == [[6.0, 0.0, 0.0], [0.0, 12.0, 0.0], [0.0, 0.0, 18.0]]
    assert jit(rustorch.hessian(cube))(x).tolist() == [[6.0, 0.0, 0.0], [0.0, 12.0, 0.0], [0.0, 0.0, 18.0]]


def test_refusals() -> None:
    with pytest.raises(RuntimeError, match="scalar"):
        rustorch.grad(lambda x: x * 2)(tensor([1.0, 2.0]))
    with pytest.raises(TypeError, match="to return a tensor"):
        rustorch.grad(lambda x: 3)(tensor([1.0]))
    with pytest.raises(RuntimeError, match="real-valued"):
        rustorch.grad(cube)(tensor([1, 2]))
    with pytest.raises(RuntimeError, match="argnum"):
        rustorch.grad(cube, argnums=3)(tensor([1.0]))


def test_gradcheck() -> None:
    x = rustorch.randn(3, dtype=rustorch.float64, requires_grad=True)
    y = rustorch.randn(2, 3, dtype=rustorch.float64, requires_grad=True)
    assert gradcheck(lambda a, b: (a.sin() * b).sum(1), (x, y))
    assert gradcheck(lambda a: a.exp(), x, fast_mode=True)
    assert gradgradcheck(lambda a: a.sin() * a, x)

    def wrong(a: Any) -> Any:
        return a * a.detach()

    assert not gradcheck(wrong, x, raise_exception=False)
    with pytest.raises(rustorch.testing.GradcheckError, match="Jacobian mismatch for output 0 with respect to input 0"):
        gradcheck(wrong, x)
    with pytest.warns(UserWarning, match="double precision"):
        gradcheck(lambda a: a * 1, x.detach().float().requires_grad_(), raise_exception=False)


def test_assert_close() -> None:
    assert_close({"a": [tensor([1.0]), 2]}, {"a": [tensor([1.0 + 1e-7]), 2]})
    for actual, expected, words in [
        (tensor([1.0]), tensor([1.1]), "Tensor-likes are not close"),
        (tensor([1.0]), tensor([1.0, 2.0]), "shape"),
        (tensor([1.0]), tensor([1]), "dtype"),
        ([1], [1, 2], "length"),
        ({"a": 1}, {"b": 1}, "keys"),
        (1.0, 2.0, "Scalar"),
    ]:
        with pytest.raises(AssertionError, match=words):
            assert_close(actual, expected)
