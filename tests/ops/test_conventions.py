"""What derivatives are where the function has none, and at zeros, infinities and ties: exactly PyTorch's conventions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from rustorch.autodiff.vjp import grad, vjp
from rustorch.ir.builder import Builder
from rustorch.ir.dtypes import f64
from rustorch.ir.graph import Graph
from rustorch.ir.op import REGISTRY
from rustorch.ops import interpret

INF = np.inf


def gradients(name: str, *operands: Any, order: int = 1, **attrs: Any) -> Any:
    """The gradients of the sum of an op's results; of the order-th derivative for higher orders."""
    arrays = [np.asarray(x, np.float64) for x in operands]
    b = Builder()
    graph = b.build(b.emit(REGISTRY[name], [b.input(f64[a.shape]) for a in arrays], attrs))
    wrt = list(range(len(arrays)))
    given = list(arrays)
    for _ in range(order):
        given += [np.ones(a.shape) for a in interpret(graph, given)]
        pulled = vjp(graph, wrt)
        graph = Graph("gradients", pulled.inputs, pulled.nodes, pulled.outputs[len(graph.outputs) :])
    return [g.tolist() for g in interpret(graph, given)]


@pytest.mark.parametrize(
    ("name", "operands", "expected"),
    [
        ("abs", [[-2, 0, 3]], [[-1, 0, 1]]),
        ("sign", [[-2, 0, 3]], [[0, 0, 0]]),
        ("floor", [[0.5, 1.0]], [[0, 0]]),
        ("ceil", [[0.5, 1.0]], [[0, 0]]),
        ("round_even", [[0.5, 1.0]], [[0, 0]]),
        ("relu", [[-1, 0, 2]], [[0, 0, 1]]),
        ("maximum", [[1, 2, 3], [3, 2, 1]], [[0, 0.5, 1], [1, 0.5, 0]]),
        ("minimum", [[1, 2, 3], [3, 2, 1]], [[1, 0.5, 0], [0, 0.5, 1]]),
        ("sqrt", [[0, 4]], [[INF, 0.25]]),
        ("rsqrt", [[0, 4]], [[-INF, -1 / 16]]),
        ("log", [[0, 2]], [[INF, 0.5]]),
        ("copysign", [[0, -2, 3], [1, 1, -1]], [[0, -1, -1], [0, 0, 0]]),
        ("tanh", [[-INF, 0, INF]], [[0, 1, 0]]),
        ("sigmoid", [[-INF, 0, INF]], [[0, 0.25, 0]]),
        ("softplus", [[-INF, 0, INF]], [[0, 0.5, 1]]),
    ],
)
def test_elementwise(name: str, operands: Any, expected: Any) -> None:
    assert gradients(name, *operands) == expected


@pytest.mark.parametrize(
    ("base", "exponent", "by_base", "by_exponent"),
    [
        (0, 0, 0, 0),
        (0, 1, 1, 0),
        (0, 2, 0, 0),
        (0, 0.5, INF, 0),
        (0, -1, -INF, -INF),
        (2, 0, 0, np.log(2)),
        (np.nan, 0, 0, np.nan),
        (2, 3, 12, 8 * np.log(2)),
        (-2, 2, -4, np.nan),
        (-2, 3, 12, np.nan),
    ],
)
def test_pow(base: float, exponent: float, by_base: float, by_exponent: float) -> None:
    np.testing.assert_equal(gradients("pow", base, exponent), [by_base, by_exponent])


@pytest.mark.parametrize(("exponent", "expected"), [(1, 0), (2, 2), (3, 0), (4, 0)])
def test_second_derivative_of_powers_at_zero(exponent: float, expected: float) -> None:
    """Of x^y in x alone: d2/dx2 is y (y - 1) x^(y - 2)."""
    b = Builder()
    x = b.input(f64[()])
    graph = b.build([b.pow(x, float(exponent))])
    for _ in range(2):
        graph = grad(graph, [0])
    assert interpret(graph, [np.zeros(())])[0] == expected


def test_second_derivative_of_softplus_at_zero() -> None:
    assert gradients("softplus", 0, order=2) == [0.25]


def test_extremes_share_ties() -> None:
    assert gradients("reduce_max", [1, 4, 4], axes=(0,)) == [[0, 0.5, 0.5]]
    assert gradients("reduce_min", [[1, 1], [2, 1]], axes=(1,)) == [[[0.5, 0.5], [0, 1]]]
    assert gradients("reduce_max", [[1, 1], [1, 1]], axes=(0, 1)) == [[[0.25, 0.25], [0.25, 0.25]]]


@pytest.mark.parametrize("row", [[2, 3, 5], [0, 2, 3], [0, 0, 3], [0, 0, 0], [7], [2, 0, 3, 4, 5, 6, 7, 8, 9]])
def test_products_with_zeros_are_exact(row: list[float]) -> None:
    others = [float(np.prod(row[:i] + row[i + 1 :])) for i in range(len(row))]
    assert gradients("reduce_prod", row, axes=(0,)) == [others]
    pairs = [
        [0.0 if i == j else float(np.prod([x for k, x in enumerate(row) if k not in (i, j)])) for j in range(len(row))]
        for i in range(len(row))
    ]
    assert gradients("reduce_prod", row, axes=(0,), order=2) == [[sum(column) for column in zip(*pairs, strict=True)]]


def test_products_of_a_symbolic_number_of_elements() -> None:
    b = Builder()
    graph = vjp(b.build([b.reduce_prod(b.input(f64["n", 3]), axes=(0,))]), [0])
    x = np.array([[2.0, 0.0, 0.0], [3.0, 5.0, 0.0], [4.0, 6.0, 7.0]])
    gradient = interpret(graph, [x, np.ones(3)])[1]
    np.testing.assert_array_equal(gradient, [[12, 30, 0], [8, 0, 0], [6, 0, 0]])


def test_division_by_zero() -> None:
    np.testing.assert_equal(gradients("div", [0, 1], [0, 0]), [[INF, INF], [np.nan, -INF]])
