"""`autograd.functional`, `func` and `forward_ad` against PyTorch: values of many functions, results' forms, refusals."""

from __future__ import annotations

import importlib
import importlib.util
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import rustorch

pytestmark = [
    pytest.mark.oracle,
    pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="PyTorch is not installed"),
]

LIBRARIES = ("torch", "rustorch")


def module(lib: Any, name: str) -> Any:
    return importlib.import_module(f"{lib.__name__}.{name}")


def flat(x: Any) -> list[Any]:
    """Numbers and shapes, in order, with the containers around them."""
    if isinstance(x, dict):
        return ["dict", *((k, *flat(v)) for k, v in x.items())]
    if isinstance(x, (list, tuple)):
        return ["row", *map(flat, x)]
    return [tuple(x.shape), x.detach().numpy(), x.requires_grad] if hasattr(x, "detach") else [x]


def assert_same(found: Any, expected: Any) -> None:
    if isinstance(expected, (list, tuple)):
        assert len(found) == len(expected)
        for f, e in zip(found, expected, strict=True):
            assert_same(f, e)
    elif isinstance(expected, np.ndarray):
        np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12)
    else:
        assert found == expected


def both(program: Callable[[Any], Any]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected, found = (flat(program(lib)) for lib in (importlib.import_module("torch"), rustorch))
    assert_same(found, expected)


class Refused:
    """An error: equal to PyTorch's if it is one of its kind, with the same first words."""

    def __init__(self, error: Exception) -> None:
        self.kinds = {k for k in (RuntimeError, TypeError, ValueError, AssertionError) if isinstance(error, k)}
        self.words = str(error).replace("rustorch.", "").replace("torch.", "").partition("\n")[0][:42]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Refused) and self.kinds >= other.kinds and self.words == other.words

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"{self.kinds} {self.words!r}"


def refusal(call: Callable[[], Any]) -> Any:
    """What a call gives, or how it is refused."""
    try:
        return call()
    except Exception as error:
        return Refused(error)


FUNCTIONS: dict[str, Callable[[Any, Any, Any], Any]] = {
    "sin": lambda lib, x, y: x.sin() * y,
    "matrix": lambda lib, x, y: (x[:, None] * y[None, :]).tanh(),
    "several": lambda lib, x, y: (x * y, (x + y).sum(), x.exp()),
    "softmax": lambda lib, x, y: lib.softmax(x * y, 0) if hasattr(lib, "softmax") else lib.nn.functional.softmax(x * y, 0),
    "unused": lambda lib, x, y: x**3,
    "constant": lambda lib, x, y: lib.ones(2, dtype=lib.float64),
    "scalar": lambda lib, x, y: (x * x * y).sum(),
    "nested": lambda lib, x, y: ((x - y).abs() + 1).log().cumsum(0),
}


def arguments(lib: Any) -> tuple[Any, Any]:
    return lib.tensor([0.3, -1.2, 2.0], dtype=lib.float64), lib.tensor([1.5, 0.4, -0.7], dtype=lib.float64)


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize(
    "options", [{}, {"vectorize": True}, {"create_graph": True}, {"vectorize": True, "strategy": "forward-mode"}], ids=str
)
def test_jacobian(name: str, options: dict[str, Any]) -> None:
    both(lambda lib: module(lib, "autograd.functional").jacobian(lambda x, y: FUNCTIONS[name](lib, x, y), arguments(lib), **options))


@pytest.mark.parametrize("create", [False, True])
@pytest.mark.parametrize("name", ["scalar", "softmax", "nested"])
def test_second_derivatives(name: str, create: bool) -> None:
    def program(lib: Any) -> Any:
        functional, (x, y) = module(lib, "autograd.functional"), arguments(lib)
        f = lambda x, y: FUNCTIONS[name](lib, x, y).pow(2).sum()  # noqa: E731
        v = (y, x)
        return [
            functional.hessian(f, (x, y), create_graph=create),
            functional.hvp(f, (x, y), v, create_graph=create),
            functional.vhp(f, (x, y), v, create_graph=create),
            functional.hessian(lambda x: f(x, y), x, vectorize=True, outer_jacobian_strategy="forward-mode").detach(),
        ]

    both(program)


@pytest.mark.parametrize("name", ["sin", "softmax", "unused", "nested"])
def test_products(name: str) -> None:
    def program(lib: Any) -> Any:
        functional, (x, y) = module(lib, "autograd.functional"), arguments(lib)
        f = lambda x, y: FUNCTIONS[name](lib, x, y)  # noqa: E731
        return [functional.vjp(f, (x, y), y), functional.jvp(f, (x, y), (y, x)), functional.vjp(f, (x, y), y, create_graph=True)]

    both(program)


@pytest.mark.parametrize("name", ["sin", "matrix", "several", "softmax", "scalar", "nested"])
def test_transforms(name: str) -> None:
    def program(lib: Any) -> Any:
        func, (x, y) = module(lib, "func"), arguments(lib)
        f = lambda x, y: FUNCTIONS[name](lib, x, y)  # noqa: E731
        total = lambda x, y: sum(part.sum() for part in parts(f(x, y)))  # noqa: E731
        value, pull = func.vjp(f, x, y)
        _, push = func.linearize(f, x, y)
        return [
            func.jacrev(f)(x, y), func.jacrev(f, argnums=(0, 1), chunk_size=2)(x, y), func.jacfwd(f, argnums=1)(x, y),
            func.jvp(f, (x, y), (y, x)), pull(value), push(y, x), func.hessian(total)(x, y), func.grad(total, argnums=(0, 1))(x, y),
            func.grad_and_value(total)(x, y),
        ]  # fmt: skip

    both(program)


def parts(x: Any) -> tuple[Any, ...]:
    return x if isinstance(x, tuple) else (x,)


def test_vmap() -> None:
    def program(lib: Any) -> Any:
        func = module(lib, "func")
        a = lib.arange(12, dtype=lib.float64).reshape(3, 4)
        b = lib.arange(4, dtype=lib.float64)
        dot = lambda x, y: (x * y).sum()  # noqa: E731
        return [
            func.vmap(dot, in_dims=(0, None))(a, b),
            func.vmap(func.vmap(dot, in_dims=(None, 0)), in_dims=(0, None))(a, a),
            func.vmap(lambda x: (x, x.sum()), in_dims=1, out_dims=(1, 0))(a),
            func.vmap(lambda x: x * 2, chunk_size=2)(a),
            func.vmap(func.grad(dot), in_dims=(0, None))(a, b),
            func.vmap(func.jacrev(lambda x: x.sin()))(a),
            func.jacrev(func.vmap(lambda x: x.sin().sum()))(a),
            func.vmap(lambda d: d["p"] * d["q"], in_dims=({"p": 0, "q": None},))({"p": a, "q": b}),
        ]

    both(program)


REFUSALS: list[Callable[[Any, Any], Any]] = [
    lambda lib, x: module(lib, "autograd.functional").jacobian(lambda x: lib.ones(2), x, strict=True),
    lambda lib, x: module(lib, "autograd.functional").jacobian(lambda x, y: x, (x, x), strict=True),
    lambda lib, x: module(lib, "autograd.functional").jacobian(lambda x: x, x, strict=True, create_graph=True),
    lambda lib, x: module(lib, "autograd.functional").jacobian(lambda x: x, 3.0),
    lambda lib, x: module(lib, "autograd.functional").jacobian(lambda x: 3, x),
    lambda lib, x: module(lib, "autograd.functional").jacobian(lambda x: x, x, strategy="forward-mode"),
    lambda lib, x: module(lib, "autograd.functional").jacobian(lambda x: x, x, strategy="other"),
    lambda lib, x: module(lib, "autograd.functional").hessian(lambda x: x, x),
    lambda lib, x: module(lib, "autograd.functional").hvp(lambda x: x, x, x),
    lambda lib, x: module(lib, "autograd.functional").vhp(lambda x: x.sum(), x, x, strict=True),
    lambda lib, x: module(lib, "autograd.functional").vjp(lambda x: x, x),
    lambda lib, x: module(lib, "autograd.functional").vjp(lambda x: x, x, lib.ones(3)),
    lambda lib, x: module(lib, "autograd.functional").vjp(lambda x: (x, x), x, (x,)),
    lambda lib, x: module(lib, "autograd.functional").jvp(lambda x: x, x),
    lambda lib, x: module(lib, "autograd.functional").jvp(lambda x: lib.ones(2), x, x, strict=True),
    lambda lib, x: module(lib, "func").grad(lambda x: x.sum(), argnums=1)(x),
    lambda lib, x: module(lib, "func").vjp(lambda x: x, x)[1](lib.ones(3)),
    lambda lib, x: module(lib, "func").jvp(lambda x: x, (x,), (lib.ones(3),)),
    lambda lib, x: module(lib, "func").jacrev(lambda x: x, chunk_size=0)(x),
    lambda lib, x: module(lib, "func").vmap(lambda x: x, in_dims=2)(x),
    lambda lib, x: module(lib, "func").vmap(lambda x, y: x)(x, lib.ones(3)),
    lambda lib, x: module(lib, "func").vmap(lambda x: 3)(x),
    lambda lib, x: module(lib, "func").vmap(lambda x: x, out_dims=None)(x),
    lambda lib, x: module(lib, "func").vmap(lambda x: x + lib.rand(()))(x),
    lambda lib, x: module(lib, "func").vmap(lambda: x)(),
    lambda lib, x: module(lib, "func").vmap(lambda x: x, chunk_size=0)(x),
    lambda lib, x: module(lib, "func").functional_call(lib.nn.Linear(2, 2), {"weight": x}, (x,), strict=True),
    lambda lib, x: module(lib, "func").functional_call(lib.nn.Linear(2, 2), 3, (x,)),
    lambda lib, x: module(lib, "func").stack_module_state([]),
    lambda lib, x: module(lib, "autograd.forward_ad").make_dual(x, x),
    lambda lib, x: module(lib, "autograd.forward_ad").exit_dual_level(),
    lambda lib, x: lib.autograd.gradcheck(lambda x: x, x),
    lambda lib, x: lib.autograd.gradcheck(lambda x: x, x, check_backward_ad=False),
]


@pytest.mark.parametrize("place", range(len(REFUSALS)))
def test_refusals(place: int) -> None:
    both(lambda lib: refusal(lambda: REFUSALS[place](lib, lib.ones(2))))


def test_dual_tensors() -> None:
    def program(lib: Any) -> Any:
        forward_ad, (x, t) = module(lib, "autograd.forward_ad"), arguments(lib)
        with forward_ad.dual_level():
            dual = forward_ad.make_dual(x, t)
            y = (dual * dual).sin()
            found = [forward_ad.unpack_dual(y), forward_ad.unpack_dual(dual.detach()), forward_ad.unpack_dual(x)]
            found = [tuple(pair) for pair in found]
        return [*found, tuple(forward_ad.unpack_dual(y))]

    both(program)


def test_batched_cotangents() -> None:
    def program(lib: Any) -> Any:
        x = lib.tensor([0.3, -1.2], dtype=lib.float64, requires_grad=True)
        y = (x[:, None] * x).sin()
        seeds = lib.arange(12, dtype=lib.float64).reshape(3, 2, 2)
        rows = lib.autograd.grad(y, x, seeds, is_grads_batched=True, create_graph=True)
        return [rows, lib.autograd.grad(rows[0].sum(), x)]

    both(program)


@pytest.mark.parametrize("jitted", [False, True])
def test_anomalies_have_the_same_name(jitted: bool) -> None:
    def program(lib: Any) -> Any:
        wrap = rustorch.jit if jitted and lib is rustorch else lambda f: f
        found = []
        for f in (lambda x: x.sqrt(), lambda x: (x * 0) / (x * 0), lambda x: x.log() * 0, lambda x: x**0.5 * 0, lambda x: x.sin()):
            x = lib.tensor([0.0, -1.0, 4.0], requires_grad=True)
            with lib.autograd.detect_anomaly():
                found.append(refusal(lambda f=f, x=x: wrap(lambda x: f(x).sum())(x).backward()))
        return found

    both(program)
