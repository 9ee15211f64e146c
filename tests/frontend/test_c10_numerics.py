"""C10 of the checklist: what derivatives are at kinks, ties, bounds and zeros: PyTorch 2.13's conventions, exactly.

Each line twice, recorded and under `jit`; `tests/differential/test_checklist.py` asks PyTorch the same questions.
"""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import pytest

import rustorch
from rustorch import functional as F
from rustorch import tensor, where
from tests.frontend.door import Door

INF, NAN = math.inf, math.nan


def gradients(door: Door, function: Any, *values: Any) -> list[Any]:
    """The gradients of the sum of a function's results, in f64."""

    def program(*xs: Any) -> Any:
        y = function(*xs)
        y.sum().backward()
        return [x.grad for x in xs]

    xs = [tensor(v, dtype=rustorch.float64, requires_grad=True) for v in values]
    return [None if g is None else g.tolist() for g in door(program, *xs)]


def check(door: Door, function: Any, values: Any, expected: Any) -> None:
    found = gradients(door, function, *values)
    np.testing.assert_equal(found, [np.asarray(e, np.float64).tolist() for e in expected])


# --- 91: kinks and ties -----------------------------------------------------------------------------------------------

KINKS = {
    "abs": (lambda x: x.abs(), [[-1, 0, 2]], [[-1, 0, 1]]),
    "sign": (lambda x: x.sign(), [[-1, 0, 1]], [[0, 0, 0]]),
    "floor": (lambda x: x.floor(), [[1, 1.5]], [[0, 0]]),
    "ceil": (lambda x: x.ceil(), [[1, 1.5]], [[0, 0]]),
    "round": (lambda x: x.round(), [[0.5, 1.5]], [[0, 0]]),
    "trunc": (lambda x: x.trunc(), [[0.5, -1.0]], [[0, 0]]),
    "relu": (lambda x: x.relu(), [[-1, 0, 2]], [[0, 0, 1]]),
    "relu6": (F.relu6, [[-1, 0, 3, 6, 7]], [[0, 0, 1, 0, 0]]),
    "leaky_relu": (F.leaky_relu, [[-1, 0, 2]], [[0.01, 0.01, 1]]),
    "elu": (F.elu, [[0]], [[1]]),
    "hardsigmoid": (F.hardsigmoid, [[-3, 0, 3]], [[0, 1 / 6, 0]]),
    "hardswish": (F.hardswish, [[-3, 0, 3]], [[0, 0.5, 1]]),
    "prelu": (F.prelu, [[0, -1], [0.25]], [[0.25, 0.25], [-1]]),
    "maximum": (rustorch.maximum, [[1, 2], [1, 3]], [[0.5, 0], [0.5, 1]]),
    "minimum": (rustorch.minimum, [[1, 2], [1, 3]], [[0.5, 1], [0.5, 0]]),
    "maximum of one": (lambda x: rustorch.maximum(x, x), [[1, 2]], [[1, 1]]),
    "max": (lambda x: x.max(), [[2, 1, 2]], [[0.5, 0, 0.5]]),
    "min": (lambda x: x.min(), [[1, 2, 1]], [[0.5, 0, 0.5]]),
    "amax": (lambda x: x.amax(0), [[2, 1, 2]], [[0.5, 0, 0.5]]),
    "amin": (lambda x: x.amin((0, 1)), [[[2, 1], [1, 1]]], [[[0, 1 / 3], [1 / 3, 1 / 3]]]),
    "max along": (lambda x: x.max(0).values, [[2, 1, 2]], [[1, 0, 0]]),
    "min along": (lambda x: x.min(1).values, [[[1, 2, 1], [0, 0, 3]]], [[[1, 0, 0], [1, 0, 0]]]),
    "smooth_l1": (lambda x: F.smooth_l1_loss(x, rustorch.zeros(3, dtype=rustorch.float64), reduction="sum"), [[-1, 0, 1]], [[-1, 0, 1]]),
    "l1": (lambda x: F.l1_loss(x, rustorch.zeros(3, dtype=rustorch.float64), reduction="sum"), [[-1, 0, 1]], [[-1, 0, 1]]),
    "copysign": (rustorch.copysign, [[0, -2], [1, 1]], [[0, -1], [0, 0]]),
    "max_pool1d": (lambda x: F.max_pool1d(x, 2), [[[[1, 1, 2, 2]]]], [[[[1, 0, 1, 0]]]]),
}  # fmt: skip


@pytest.mark.parametrize("name", KINKS)
def test_c10_91_kinks(door: Door, name: str) -> None:
    check(door, *KINKS[name])


def test_c10_91_at_the_second_order(door: Door) -> None:
    def program(x: Any) -> Any:
        (first,) = rustorch.grad((x.relu() ** 2 + x.abs() ** 3 + rustorch.maximum(x, x * 0) ** 2).sum(), x, create_graph=True)
        (second,) = rustorch.grad(first.sum(), x)
        return first, second

    first, second = door(program, tensor([-1.0, 0.0, 2.0], requires_grad=True))
    assert first.tolist() == [-3.0, 0.0, 20.0]
    assert second.tolist() == [6.0, 0.5, 16.0]  # at 0 the two of `maximum` share, and so does their square's second derivative


# --- 92: bounds -------------------------------------------------------------------------------------------------------

AT = [-1, 0, 0.5, 1, 2]
BOUNDS = {
    "clamp": (lambda x: x.clamp(0, 1), [AT], [[0, 1, 1, 1, 0]]),
    "clamp by tensors": (rustorch.clamp, [AT, [0] * 5, [1] * 5], [[0, 1, 1, 1, 0], [1, 0, 0, 0, 0], [0, 0, 0, 0, 1]]),
    "from below": (lambda x: x.clamp(min=0), [[-1, 0, 1]], [[0, 1, 1]]),
    "from above": (lambda x: x.clamp(max=0), [[-1, 0, 1]], [[1, 1, 0]]),
    "bounds the other way round": (lambda x: x.clamp(1, 0), [[-1, 0.5, 2]], [[0, 0, 0]]),
    "hardtanh": (F.hardtanh, [[-2, -1, 0, 1, 2]], [[0, 0, 1, 0, 0]]),
}


@pytest.mark.parametrize("name", BOUNDS)
def test_c10_92_bounds(door: Door, name: str) -> None:
    check(door, *BOUNDS[name])


# --- 93: powers and products ------------------------------------------------------------------------------------------

POWERS = {
    "0**0": (lambda x: x**0, [[0]], [[0]]),
    "0**0 of tensors": (rustorch.pow, [[0], [0]], [[0], [0]]),
    "x**1": (lambda x: x**1, [[0]], [[1]]),
    "x**2": (lambda x: x**2, [[0]], [[0]]),
    "x**3": (lambda x: x**3, [[0, -2]], [[0, 12]]),
    "x**0.5": (lambda x: x**0.5, [[0]], [[INF]]),
    "x**-1": (lambda x: x**-1, [[0]], [[-INF]]),
    "0**x": (lambda x: 0.0**x, [[0, 1, 2]], [[0, 0, 0]]),
    "2**x": (lambda x: 2.0**x, [[0]], [[math.log(2)]]),
    "no zero": (lambda x: x.prod(), [[2, 3, 5]], [[15, 10, 6]]),
    "one zero": (lambda x: x.prod(), [[0, 2, 3]], [[6, 0, 0]]),
    "two zeros": (lambda x: x.prod(), [[0, 0, 3]], [[0, 0, 0]]),
    "zeros along": (lambda x: x.prod(0), [[[0, 2], [3, 0]]], [[[3, 0], [0, 2]]]),
}


@pytest.mark.parametrize("name", POWERS)
def test_c10_93_powers_and_products(door: Door, name: str) -> None:
    check(door, *POWERS[name])


# --- 94: norms, square roots, choices ---------------------------------------------------------------------------------

NORMS = {
    "2": (lambda x: x.norm(), [[0, 0]], [[0, 0]]),
    "2 of rows": (lambda x: x.norm(dim=1), [[[0, 0], [3, 4]]], [[[0, 0], [0.6, 0.8]]]),
    "1": (lambda x: x.norm(1), [[0, 0, -2]], [[0, 0, -1]]),
    "3": (lambda x: x.norm(3), [[0, 0]], [[0, 0]]),
    "largest": (lambda x: x.norm(INF), [[2, -2, 1]], [[0.5, -0.5, 0]]),
    "largest at 0": (lambda x: x.norm(INF), [[0, 0]], [[0, 0]]),
    "distances": (rustorch.cdist, [[[0, 0]], [[0, 0]]], [[[0, 0]], [[0, 0]]]),
    "distance": (rustorch.dist, [[1, 2], [1, 2]], [[0, 0], [0, 0]]),
    "standard deviation": (lambda x: x.std(), [[1, 1]], [[0, 0]]),
}


@pytest.mark.parametrize("name", NORMS)
def test_c10_94_norms_at_zero(door: Door, name: str) -> None:
    function, values, expected = NORMS[name]
    np.testing.assert_allclose(gradients(door, function, *values)[0], expected[0], rtol=1e-15)


def test_c10_94_the_root_of_a_sum_of_squares(door: Door) -> None:
    """PyTorch gives NaN; the stability rule sqrt-sum-squares gives what `norm` does."""
    check(door, lambda x: (x * x).sum().sqrt(), [[0, 0]], [[0, 0]])
    np.testing.assert_allclose(gradients(door, lambda x: (x * x).sum().sqrt(), [3, 4])[0], [0.6, 0.8], rtol=1e-15)
    check(door, lambda x: x.sqrt(), [[0, 4]], [[INF, 0.25]])


def test_c10_94_choices_leave_the_other_branch_out(door: Door) -> None:
    """PyTorch lets the NaN of a branch that was not taken into the gradient: 0 * inf."""
    check(door, lambda x: where(x > 0, x.sqrt(), 0.0), [[0, 4]], [[0, 0.25]])
    check(door, lambda x: where(x > 0, x.log(), x * 3), [[0, 4]], [[3, 0.25]])
    check(door, lambda x: (1 / x).masked_fill(x == 0, 0.0), [[0, 4]], [[0, -1 / 16]])


def test_c10_94_choices_at_the_second_order(door: Door) -> None:
    def program(x: Any) -> Any:
        (first,) = rustorch.grad(where(x > 0, x.sqrt() * x, 0.0).sum(), x, create_graph=True)
        (second,) = rustorch.grad(first.sum(), x)
        return first, second

    first, second = door(program, tensor([0.0, 4.0], requires_grad=True))
    assert first.tolist() == [0.0, 3.0]
    assert second.tolist() == [0.0, 0.375]


# --- 96: divisions by zero, and numbers that are none -----------------------------------------------------------------

EDGES = {
    "0/0": (rustorch.div, [[0, 1], [0, 0]], [[INF, INF], [NAN, -INF]]),
    "log": (lambda x: x.log(), [[0]], [[INF]]),
    "log1p": (lambda x: x.log1p(), [[-1]], [[INF]]),
    "rsqrt": (lambda x: x.rsqrt(), [[0]], [[-INF]]),
    "reciprocal": (lambda x: x.reciprocal(), [[0]], [[-INF]]),
    "logsumexp of nothing": (lambda x: x.logsumexp(0), [[-INF, -INF]], [[NAN, NAN]]),
    "tanh": (lambda x: x.tanh(), [[-INF, 0, INF]], [[0, 1, 0]]),
    "sigmoid": (lambda x: x.sigmoid(), [[-INF, 0, INF]], [[0, 0.25, 0]]),
}


@pytest.mark.parametrize("name", EDGES)
def test_c10_96_edges(door: Door, name: str) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("error", category=RuntimeWarning)  # as numpy would warn
        check(door, *EDGES[name])


def test_c10_96_values(door: Door) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("error", category=RuntimeWarning)
        found = door(lambda x, y: (x / y, x.log(), (-x - 1).sqrt(), x // y), tensor([0.0, 1.0, -1.0]), tensor([0.0, 0.0, 0.0]))
    quotient, log, root, _ = (t.numpy() for t in found)
    np.testing.assert_equal(quotient, [NAN, INF, -INF])
    np.testing.assert_equal(log, [-INF, 0.0, NAN])
    np.testing.assert_equal(root, [NAN, NAN, 0.0])
