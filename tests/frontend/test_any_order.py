"""Derivatives of orders 1 to 4 through compiled code, against a multiprecision reference.

Each function is differentiated in three ways: `backward(create_graph=True)` through a jitted function, transforms inside `jit`, and
transforms around it. The reference is mpmath's Taylor expansion at 60 digits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import mpmath
import pytest
from mpmath import mp, mpf

import rustorch
import rustorch.functional as F
from rustorch import jit

pytestmark = pytest.mark.filterwarnings("ignore:.*a new program was compiled")  # each function is a new one

CLOSE = 1e-10
"""Relative to the true value."""
ORDERS = 4

WIDE = (-20.0, -6.0, -1.5, -0.3, -1e-3, 1e-3, 0.3, 1.5, 6.0, 20.0)
MEDIUM = (-5.0, -1.5, -0.3, 1e-3, 0.3, 1.5, 5.0)
POSITIVE = (1e-3, 0.1, 0.7, 1.0, 1.5, 6.0, 40.0, 1e4)
WITHOUT_ZERO = (*POSITIVE, -0.1, -3.0)


def _sigmoid(x: Any) -> Any:
    return 1 / (1 + mp.exp(-x))


def _softplus(x: Any) -> Any:
    return mp.log1p(mp.exp(x))


def _two(x: Any, y: Any) -> Any:
    return rustorch.stack([x, y])


@dataclass(frozen=True)
class Case:
    name: str
    function: Callable[[Any], Any]
    reference: Callable[[Any], Any]
    points: Sequence[float] = WIDE


CASES = [
    Case("exp", lambda x: x.exp(), mp.exp),
    Case("expm1", lambda x: x.expm1(), mp.expm1),
    Case("log", lambda x: x.log(), mp.log, POSITIVE),
    Case("log1p", lambda x: x.log1p(), mp.log1p, (*POSITIVE, -0.9, -1e-3)),
    Case("sqrt", lambda x: x.sqrt(), mp.sqrt, POSITIVE),
    Case("rsqrt", lambda x: x.rsqrt(), lambda x: 1 / mp.sqrt(x), POSITIVE),
    Case("reciprocal", lambda x: x.reciprocal(), lambda x: 1 / x, WITHOUT_ZERO),
    Case("one over x", lambda x: 1 / x, lambda x: 1 / x, WITHOUT_ZERO),
    Case("sin", lambda x: x.sin(), mp.sin),
    Case("cos", lambda x: x.cos(), mp.cos),
    Case("tanh", lambda x: x.tanh(), mp.tanh, MEDIUM),
    Case("sigmoid", lambda x: x.sigmoid(), _sigmoid),
    Case("erf", lambda x: x.erf(), mp.erf, (-4.0, -1.5, -0.3, 1e-3, 0.3, 1.5, 4.0)),
    Case("square", lambda x: x.square(), lambda x: x * x),
    Case("x^3", lambda x: x**3, lambda x: x**3),
    Case("x^5", lambda x: x**5, lambda x: x**5),
    Case("x^2.5", lambda x: x**2.5, lambda x: x**2.5, POSITIVE),
    Case("x^-1.5", lambda x: x**-1.5, lambda x: x**-1.5, POSITIVE),
    Case("2^x", lambda x: 2**x, lambda x: mpf(2) ** x),
    Case("x^x", lambda x: x**x, lambda x: x**x, (0.1, 0.7, 1.0, 2.0, 5.0)),
    Case("x log x", lambda x: x * x.log(), lambda x: x * mp.log(x), POSITIVE),
    Case("logaddexp", lambda x: rustorch.logaddexp(x, rustorch.ones_like(x)), lambda x: mp.log(mp.exp(x) + mp.e)),
    Case("exp of sin", lambda x: x.sin().exp(), lambda x: mp.exp(mp.sin(x))),
    Case("x exp(-x^2)", lambda x: x * (-x * x).exp(), lambda x: x * mp.exp(-x * x), MEDIUM),
    Case("log(1 + x^2)", lambda x: (1 + x * x).log(), lambda x: mp.log(1 + x * x)),
    Case("quotient", lambda x: (x * x + 1) / (x.exp() + 2), lambda x: (x * x + 1) / (mp.exp(x) + 2), MEDIUM),
    Case("silu", F.silu, lambda x: x * _sigmoid(x)),
    Case("softplus", F.softplus, _softplus, (-20.0, -6.0, -1.5, -0.3, 1e-3, 0.3, 1.5, 6.0, 19.0)),
    Case("logsigmoid", F.logsigmoid, lambda x: -_softplus(-x)),
    Case("gelu", F.gelu, lambda x: x * mp.ncdf(x), MEDIUM),
    Case(
        "gelu of tanh",
        lambda x: F.gelu(x, approximate="tanh"),
        lambda x: x / 2 * (1 + mp.tanh(mp.sqrt(2 / mp.pi) * (x + mpf(0.044715) * x**3))),
        (-3.0, -1.5, -0.3, 1e-3, 0.3, 1.5, 3.0),
    ),
    Case("mish", F.mish, lambda x: x * mp.tanh(_softplus(x)), (-20.0, -6.0, -1.5, -0.3, 1e-3, 0.3, 1.5, 6.0)),
    Case("elu below 0", F.elu, mp.expm1, (-20.0, -6.0, -1.5, -0.3, -1e-3)),
    Case("softsign", F.softsign, lambda x: x / (1 + x), (1e-3, 0.3, 1.5, 20.0)),
    Case("tanhshrink", F.tanhshrink, lambda x: x - mp.tanh(x), (-5.0, -1.5, -0.3, 0.3, 1.5, 5.0)),
    Case("log_softmax", lambda x: F.log_softmax(_two(x, x * 0 + 1), 0)[0], lambda x: x - mp.log(mp.exp(x) + mp.e), MEDIUM),
    Case("softmax", lambda x: F.softmax(_two(x, x * 0 + 1), 0)[0], lambda x: _sigmoid(x - 1), MEDIUM),
    Case("logsumexp", lambda x: rustorch.logsumexp(_two(x, 2 * x), 0), lambda x: mp.log(mp.exp(x) + mp.exp(2 * x)), MEDIUM),
    Case("var", lambda x: _two(x, x * x).var(0), lambda x: (x - x * x) ** 2 / 2),
    Case("prod", lambda x: rustorch.stack([x, x + 1, x + 2]).prod(0), lambda x: x * (x + 1) * (x + 2)),
    Case("cumsum", lambda x: _two(x.sin(), x * x).cumsum(0)[1], lambda x: mp.sin(x) + x * x),
    Case("norm", lambda x: _two(x, x * x + 1).norm(dim=0), lambda x: mp.sqrt(x * x + (x * x + 1) ** 2)),
    Case("matmul", lambda x: (_two(x, x.sin()).T @ _two(x, x.cos())).diagonal(), lambda x: x * x + mp.sin(x) * mp.cos(x)),
]


def expected(case: Case, point: float) -> list[Any]:
    """The value and the derivatives at a point."""
    with mpmath.workdps(60):
        series = mp.taylor(case.reference, mpf(point), ORDERS)
        found = [c * mp.factorial(k) for k, c in enumerate(series)]
    return [x if abs(x) > 1e-40 else mpf(0) for x in found]


def check(case: Case, order: int, point: float, value: float, want: Any) -> None:
    error = abs(value - want) / abs(want) if want else abs(value)
    assert error <= CLOSE, f"{case.name}: order {order} at {point} is {value}, not {mpmath.nstr(want, 17)}"


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_backward_through_a_jitted_function(case: Case) -> None:
    f = jit(case.function)
    x = rustorch.tensor(case.points, dtype=rustorch.float64, requires_grad=True)
    y = f(x)
    found = [y]
    for _ in range(ORDERS):
        x.grad = None
        if not y.requires_grad:  # a constant, as the third derivative of a square
            y = y + 0 * x
        y.sum().backward(create_graph=True)
        y = x.grad
        found.append(y)
    x.grad = None
    elements = [y.tolist() for y in found]
    for k, point in enumerate(case.points):
        for order, want in enumerate(expected(case, point)):
            check(case, order, point, elements[order][k], want)


def nested(f: Callable[[Any], Any], order: int) -> Callable[[Any], Any]:
    for _ in range(order):
        f = rustorch.grad(f)
    return f


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_transforms_inside_and_around_jit(case: Case) -> None:
    point = case.points[len(case.points) // 2]
    x = rustorch.tensor(point, dtype=rustorch.float64)
    scalar = lambda x: case.function(x.reshape(1)).sum()  # noqa: E731
    want = expected(case, point)
    around = jit(lambda x: tuple(nested(scalar, order)(x) for order in range(1, ORDERS + 1)))
    inside = jit(scalar)
    for order in range(1, ORDERS + 1):
        check(case, order, point, around(x)[order - 1].item(), want[order])
        check(case, order, point, nested(inside, order)(x).item(), want[order])


@pytest.mark.parametrize("case", CASES[:: len(CASES) // 8], ids=lambda case: case.name)
def test_forward_over_reverse(case: Case) -> None:
    point = case.points[len(case.points) // 2]
    x = rustorch.tensor([point], dtype=rustorch.float64)
    one = rustorch.ones_like(x)
    first = lambda x: rustorch.jvp(case.function, (x,), (one,))[1]  # noqa: E731
    third = jit(lambda x: rustorch.jvp(rustorch.grad(lambda v: first(v).sum()), (x,), (one,))[1])
    check(case, 3, point, third(x).item(), expected(case, point)[3])
