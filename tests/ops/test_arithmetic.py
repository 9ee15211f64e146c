"""References and expansions where numpy is no authority, or where exactness is claimed."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rustorch.ir.builder import Builder
from rustorch.ir.dtypes import DTYPES, f32, f64, i32, i64
from rustorch.ir.op import REGISTRY
from rustorch.ir.rewrite import expansion
from rustorch.ir.types import DType
from rustorch.ops import interpret


def run(name: str, dtype: DType, *operands: Any, expanded: bool = False, **attrs: Any) -> Any:
    """The only element of an op's result for numbers as operands."""
    arrays = [np.array([x], dtype.numpy) for x in operands]
    b = Builder()
    graph = b.build(b.emit(REGISTRY[name], [b.input(dtype[1]) for _ in arrays], attrs))
    if expanded:
        found = expansion(graph.nodes[0])
        assert found is not None
        graph = found
    return interpret(graph, arrays)[0].item()


SMALL = st.floats(-1e6, 1e6, allow_subnormal=False).filter(lambda x: abs(x) > 1e-3)


@given(SMALL, SMALL)
def test_remainder_is_exact(x: float, y: float) -> None:
    """|x / y| < 2^52 on this range, so the expansion has Python's bits."""
    assert run("remainder", f64, x, y, expanded=True) == x % y
    assert run("floor_div", f64, x, y, expanded=True) == x // y


@given(st.floats(-1e4, 1e4, width=32), st.floats(-1e4, 1e4, width=32).filter(lambda y: abs(y) > 1e-2))
def test_remainder_is_exact_in_f32(x: float, y: float) -> None:
    expected = np.remainder(np.float32(x), np.float32(y)).item()
    assert run("remainder", f32, x, y, expanded=True) == expected


@given(st.integers(-(1 << 31), (1 << 31) - 1), st.integers(-(1 << 31), (1 << 31) - 1))
def test_integer_division_rounds_down(x: int, y: int) -> None:
    wrapped = np.array(x // y if y else 0).astype(np.int32).item()
    assert run("floor_div", i32, x, y) == run("floor_div", i32, x, y, expanded=True) == wrapped
    assert run("remainder", i32, x, y) == run("remainder", i32, x, y, expanded=True) == (x % y if y else 0)
    truncated = int(math.copysign(abs(x) // abs(y), x * y)) if y else 0
    assert run("div", i32, x, y) == np.array(truncated).astype(np.int32).item()


@given(st.integers(-9, 9), st.integers(-5, 70))
def test_integer_powers(x: int, y: int) -> None:
    exact = x**y if y >= 0 else (0 if x == 0 else int(1 / x**-y))
    wrapped = np.array([exact & ((1 << 64) - 1)], np.uint64).view(np.int64).item()
    assert run("pow", i64, x, y) == run("pow", i64, x, y, expanded=True) == wrapped


def test_constant_integer_powers_take_few_products() -> None:
    b = Builder()
    x = b.input(i64[3])
    y = b.pow(x, 10)
    assert REGISTRY["pow"].expand is not None
    result = REGISTRY["pow"].expand(b, x, b.const(10, x))
    products = [node for node in b.nodes if node.op.name == "mul"]
    assert len(products) <= 6
    found = interpret(b.build([y, result]), [np.array([-2, 1, 3])])
    np.testing.assert_array_equal(found[0], found[1])


@pytest.mark.parametrize(
    ("name", "x", "amount", "expected"),
    [
        ("shl", 3, 4, 48),
        ("shl", 1, 31, -(1 << 31)),
        ("shl", 1, 32, 0),
        ("shl", 1, -1, 0),
        ("shr_arith", -16, 2, -4),
        ("shr_arith", -16, 99, -1),
        ("shr_arith", 16, 99, 0),
        ("shr_logical", -1, 28, 15),
        ("shr_logical", -1, 32, 0),
        ("shr_logical", 16, -1, 0),
    ],
)
def test_shifts(name: str, x: int, amount: int, expected: int) -> None:
    assert run(name, i32, x, amount) == expected


def test_f32_sums_are_rounded_once() -> None:
    b = Builder()
    graph = b.build([b.reduce_sum(b.input(f32[4]), axes=(0,))])
    big = np.float32(2**24)
    assert interpret(graph, [np.array([big, 1, 1, -big], np.float32)])[0] == 2


@pytest.mark.parametrize("dtype", DTYPES)
def test_select_takes_every_element_type(dtype: DType) -> None:
    x, y = np.array([1, 1], dtype.numpy), np.array([0, 0], dtype.numpy)
    np.testing.assert_array_equal(REGISTRY["select"].reference(np.array([True, False]), x, y), [x[0], y[0]])


def test_an_index_out_of_range_is_refused() -> None:
    for index in (-1, 3):
        with pytest.raises(IndexError, match=f"index {index} is out of bounds for dimension 0 with size 3"):
            REGISTRY["gather"].reference(np.ones(3), np.array([index]), axis=0)
        with pytest.raises(IndexError, match=f"index {index} is out of bounds for dimension 0 with size 3"):
            REGISTRY["scatter_add"].reference(np.ones(3), np.array([index]), np.ones(1), axis=0)
