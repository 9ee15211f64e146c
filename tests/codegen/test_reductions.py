"""Reductions: accuracy, reproducible bits, kernels of several passes, ties, NaN and the sign of zero."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from rustorch.compiler import compile_graph
from rustorch.ir.builder import Builder
from rustorch.ir.dims import Size, symbol
from rustorch.ir.dtypes import bool_, f32, f64, i32, i64
from rustorch.ir.graph import Graph, Value
from rustorch.ir.types import DType, TensorType
from tests.codegen.comparison import Array, assert_close, check, same_bits
from tests.codegen.execution import generated

EPSILON = 2.0**-24
"""Unit roundoff of f32."""


def one(array: Array, name: str, axes: tuple[int, ...]) -> Array:
    """A reduction alone."""
    b = Builder()
    x = b.input(TensorType({"float32": f32, "float64": f64, "int32": i32, "int64": i64, "bool": bool_}[array.dtype.name], array.shape), "x")
    (got,) = compile_graph(b.build([getattr(b, name)(x, axes=axes)])).run([array])
    return got


# --- Accuracy ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("draw", ["uniform", "normal"])
def test_sums_of_a_million_float32(draw: str) -> None:
    """Blocks of 4096 elements in f32, on at least 16 lanes of accumulators: an element meets at most 4096/16 roundings of partial
    sums, and 4 to 6 of the tree; the f64 sum of the blocks is rounded once. So |error| <= (256 + 7) * 2^-24 * sum|x|; a plain
    f32 sum of 10^6 elements has 10^6 there."""
    rng = np.random.default_rng(0)
    x = (rng.uniform(0, 1, 1_000_000) if draw == "uniform" else rng.standard_normal(1_000_000)).astype(np.float32)
    exact = math.fsum(x.tolist())
    got = float(one(x, "reduce_sum", (0,)))
    assert abs(got - exact) <= 263 * EPSILON * float(np.abs(x).sum(dtype=np.float64))
    assert abs(got - exact) <= 2 * EPSILON * float(np.abs(x).sum(dtype=np.float64)), "in practice roundings cancel"


@pytest.mark.parametrize(("shape", "roundings"), [((1_000_000,), 263), ((200_000, 5), 130)])
def test_equal_elements_do_not_drift(shape: tuple[int, ...], roundings: int) -> None:
    """Roundings of partial sums of equal elements all go one way. Without blocks these sums are off by 2500 to 34,000 roundings."""
    x = np.full(shape, 0.1, np.float32)
    exact = x.astype(np.float64).sum(axis=0)
    assert (np.abs(one(x, "reduce_sum", (0,)) - exact) <= roundings * EPSILON * exact).all()


def test_column_sums_of_long_columns() -> None:
    """Along columns there is one accumulator an element, in blocks of 128: at most 128 roundings of partial sums."""
    x = np.random.default_rng(1).uniform(0, 1, (100_000, 5)).astype(np.float32)
    exact = x.astype(np.float64).sum(axis=0)
    assert (np.abs(one(x, "reduce_sum", (0,)) - exact) <= 130 * EPSILON * exact).all()


def test_sums_of_both_axes() -> None:
    x = np.random.default_rng(2).uniform(0, 1, (700, 300)).astype(np.float32)
    exact = x.astype(np.float64).sum()
    assert abs(float(one(x, "reduce_sum", (0, 1))) - exact) <= 263 * EPSILON * exact


def test_float64_sums() -> None:
    x = np.random.default_rng(3).standard_normal(300_000)
    assert abs(float(one(x, "reduce_sum", (0,))) - math.fsum(x)) <= 300_000 / 8 * 2.0**-53 * float(np.abs(x).sum())


# --- The same bits, whatever a sum is fused with --------------------------------------------------------------------------


def fused_with(kind: str, dtype: DType, shape: tuple[Size, ...], axes: tuple[int, ...]) -> Graph:
    """A sum as first output, with members of the same kernel beside it."""
    b = Builder()
    x = b.input(TensorType(dtype, shape), "x")
    outputs: list[Value] = [b.reduce_sum(x, axes=axes)]
    if kind == "elementwise":
        outputs.append(b.exp(x))
    elif kind == "double":
        wide = b.convert(x, dtype=f64 if dtype is f32 else f32)
        outputs += [wide, b.reduce_sum(b.mul(wide, wide), axes=axes)]
    elif kind == "integers":
        outputs.append(b.reduce_sum(b.convert(b.mul(x, 8.0), dtype=i64), axes=axes))
    elif kind == "reductions":
        outputs += [b.reduce_max(x, axes=axes), b.reduce_sum(b.mul(x, x), axes=axes)]
    elif kind == "costly":
        y = b.exp(x)
        for _ in range(8):
            y = b.tanh(y)
        outputs.append(b.reduce_sum(y, axes=axes))
    elif kind == "masks":
        outputs.append(b.reduce_or(b.lt(x, 0.0), axes=axes))
    return b.build(outputs, kind)


@pytest.mark.parametrize("dtype", [f32, f64], ids=str)
@pytest.mark.parametrize(
    ("shape", "axes"),
    [
        ((5,), (0,)),
        ((40,), (0,)),
        ((1000,), (0,)),
        ((9001,), (0,)),
        ((6, 100), (1,)),
        ((6, 5000), (1,)),
        ((100, 6), (0,)),
        ((5000, 33), (0,)),
    ]
    + [((7, 9, 33), (0, 2)), ((7, 9, 33), (1, 2)), ((7, 9, 33), (1,))],
)
def test_a_sum_has_the_same_bits_whatever_it_is_fused_with(dtype: DType, shape: tuple[int, ...], axes: tuple[int, ...]) -> None:
    x = np.random.default_rng(4).standard_normal(shape).astype(dtype.numpy)
    alone, *_ = compile_graph(fused_with("nothing", dtype, shape, axes)).run([x])
    for kind in ("elementwise", "double", "integers", "reductions", "costly", "masks"):
        graph = fused_with(kind, dtype, shape, axes)
        got, *_ = compile_graph(graph).run([x])
        assert same_bits(got, alone), f"{kind}: {got} is not {alone}"


@pytest.mark.parametrize("dtype", [f32, f64], ids=str)
@pytest.mark.parametrize(
    ("shape", "axes"), [((5,), (0,)), ((70,), (0,)), ((9001,), (0,)), ((6, 1000), (1,)), ((5000, 33), (0,)), ((7, 9, 33), (0, 2))]
)
def test_a_sum_of_unknown_length_has_the_bits_of_a_known_one(dtype: DType, shape: tuple[int, ...], axes: tuple[int, ...]) -> None:
    x = np.random.default_rng(4).standard_normal(shape).astype(dtype.numpy)
    known, *_ = compile_graph(fused_with("costly", dtype, shape, axes)).run([x])
    for kind in ("nothing", "costly", "double"):
        graph = fused_with(kind, dtype, tuple(map(symbol, "abc"[: len(shape)])), axes)
        unknown, *_ = compile_graph(graph).run([x])
        assert same_bits(unknown, known), kind


def test_costly_bodies_are_not_unrolled() -> None:
    """One copy a turn, though there are 4 accumulators: they are rotated."""
    b = Builder()
    x = b.input(f32[1024], "x")
    y = x
    for _ in range(9):
        y = b.tanh(y)
    (kernel,) = generated(b.build([b.reduce_sum(y, axes=(0,))])).kernels
    assert kernel.schedule.unroll == 1
    (loop,) = [node for node in kernel.graph.nodes if node.op.name == "for"]
    _, *carried = loop.regions[0].inputs
    assert len(carried) == 4
    assert loop.regions[0].outputs[:3] == tuple(carried[1:])


def test_a_sum_has_the_same_bits_on_every_run() -> None:
    x = np.random.default_rng(5).standard_normal(50_000).astype(np.float32)
    assert len({one(x, "reduce_sum", (0,)).tobytes() for _ in range(5)}) == 1


# --- Several passes over a row ------------------------------------------------------------------------------------------


def softmax(b: Builder, x: Value, back: Callable[[Value], Value], axis: int) -> Value:
    weights = b.exp(b.sub(x, back(b.reduce_max(x, axes=(axis,)))))
    return b.div(weights, back(b.reduce_sum(weights, axes=(axis,))))  # type: ignore[no-any-return]


def layer_norm(b: Builder, x: Value, back: Callable[[Value], Value], axis: int) -> Value:
    assert isinstance(x.type, TensorType)
    share = 1.0 / float(x.type.shape[axis])  # type: ignore[arg-type]
    centred = b.sub(x, back(b.mul(b.reduce_sum(x, axes=(axis,)), share)))
    spread = b.mul(b.reduce_sum(b.mul(centred, centred), axes=(axis,)), share)
    return b.mul(centred, back(b.rsqrt(b.add(spread, 1e-5))))  # type: ignore[no-any-return]


def cross_entropy(b: Builder, x: Value, back: Callable[[Value], Value], axis: int) -> Value:
    """Of rows against one-hot rows that count up."""
    shifted = b.sub(x, back(b.reduce_max(x, axes=(axis,))))
    log_softmax = b.sub(shifted, back(b.log(b.reduce_sum(b.exp(shifted), axes=(axis,)))))
    assert isinstance(x.type, TensorType)
    counted = b.iota(type=x.type.with_dtype(i64), axis=axis)
    rows = b.iota(type=x.type.with_dtype(i64), axis=1 - axis)
    return b.neg(b.reduce_sum(b.select(b.eq(counted, rows), log_softmax, 0.0), axes=(axis,)))  # type: ignore[no-any-return]


@pytest.mark.parametrize("network", [softmax, layer_norm, cross_entropy])
@pytest.mark.parametrize("shape", [(1, 7), (4, 10), (3, 64), (5, 1000), (2, 5000)])
@pytest.mark.parametrize("axis", [1, 0])
def test_several_passes(network: Callable[..., Value], shape: tuple[int, int], axis: int) -> None:
    shape = shape if axis == 1 else (shape[1], shape[0])
    b = Builder()
    x = b.input(f32[shape], "x")
    graph = b.build([network(b, x, lambda v: b.broadcast_to(v, shape=shape, dims=(1 - axis,)), axis)], network.__name__)
    check(graph, np.random.default_rng(6).uniform(-5, 5, shape).astype(np.float32))
    assert len(generated(graph).plan.kernels) == 1


def test_several_reductions_of_one_kernel() -> None:
    b = Builder()
    x, y = b.input(f32[37, 129], "x"), b.input(i32[37, 129], "y")
    names = ("reduce_sum", "reduce_max", "reduce_min", "reduce_prod")
    outputs = [getattr(b, name)(v, axes=(1,)) for name in names for v in (x, b.abs(b.mul(x, 0.5)))]
    outputs += [getattr(b, name)(y, axes=(1,)) for name in names[:3]]
    outputs += [b.reduce_and(b.lt(x, 1.9), axes=(1,)), b.reduce_or(b.gt(x, 1.9), axes=(1,)), b.argmax(x, axis=1), b.argmin(x, axis=1)]
    rng = np.random.default_rng(7)
    check(b.build(outputs), rng.uniform(-2, 2, (37, 129)).astype(np.float32), rng.integers(-99, 99, (37, 129)).astype(np.int32))


def test_heavy_values_are_not_computed_twice() -> None:
    """exp is read by the sum and by the quotient a pass later: it goes through a row of scratch."""
    b = Builder()
    x = b.input(f32[4, 200], "x")
    code = generated(b.build([softmax(b, x, lambda v: b.broadcast_to(v, shape=(4, 200), dims=(0,)), 1)]))
    (kernel,) = code.kernels
    assert [str(t) for t in kernel.scratch] == ["buf<f32[200]>"]


# --- NaN, infinities, zeros, ties -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [3, 16, 65, 300])
def test_nan_and_infinities_go_through(size: int) -> None:
    for special in (np.nan, np.inf, -np.inf):
        for place in (0, size // 2, size - 1):
            x = np.linspace(-1, 1, size).astype(np.float32)
            x[place] = special
            for name, reference in (("reduce_max", np.max), ("reduce_min", np.min), ("reduce_sum", np.sum)):
                np.testing.assert_array_equal(one(x, name, (0,)), reference(x) if not np.isnan(special) else np.float32(np.nan))
                columns = np.repeat(x[:, None], 3, axis=1)
                np.testing.assert_array_equal(one(columns, name, (0,)), np.repeat(one(x, name, (0,)), 3))


def test_empty_rows_of_infinities() -> None:
    """max of -inf only, min of inf only: the identities must not show as anything else."""
    for size in (1, 5, 70):
        assert one(np.full(size, -np.inf, np.float32), "reduce_max", (0,)) == -np.inf
        assert one(np.full(size, np.inf), "reduce_min", (0,)) == np.inf
        assert one(np.full(size, -(1 << 63), np.int64), "reduce_max", (0,)) == -(1 << 63)


def test_the_sign_of_zero() -> None:
    """max(-0.0, 0.0) is 0.0 and min is -0.0, in any order; a sum of -0.0 and 0.0 is 0.0."""
    for size in (2, 17, 130):
        mixed = np.zeros(size, np.float32)
        mixed[::2] = -0.0
        assert not np.signbit(one(mixed, "reduce_max", (0,)))
        assert np.signbit(one(mixed, "reduce_min", (0,)))
        assert not np.signbit(one(mixed, "reduce_sum", (0,)))
        assert np.signbit(one(np.full(size, -0.0, np.float32), "reduce_max", (0,)))


def test_ties_go_to_the_first_and_nan_wins() -> None:
    rng = np.random.default_rng(8)
    for size in (2, 16, 33, 500):
        for x in (
            rng.integers(0, 3, (4, size)).astype(np.float32),
            np.zeros((4, size), np.float32),
            np.full((4, size), -np.inf, np.float32),
        ):
            b = Builder()
            v = b.input(f32[4, size], "x")
            graph = b.build([b.argmax(v, axis=1), b.argmin(v, axis=1), b.argmax(v, axis=0), b.argmin(v, axis=0)])
            got = check(graph, x)
            np.testing.assert_array_equal(got[0], np.argmax(x, axis=1))
            x[1, size // 2] = x[1, size - 1] = np.nan
            for found in compile_graph(graph).run([x])[:2]:
                assert found[1] == size // 2


def test_integers_wrap() -> None:
    x = np.full(100, (1 << 31) - 1, np.int32)
    assert int(one(x, "reduce_sum", (0,))) == -100


def test_bools() -> None:
    for size in (1, 15, 64, 1001):
        for place in (None, 0, size - 1):
            x = np.ones(size, bool)
            if place is not None:
                x[place] = False
            assert bool(one(x, "reduce_and", (0,))) is (place is None)
            assert bool(one(~x, "reduce_or", (0,))) is (place is not None)


def test_axes_apart() -> None:
    x = np.random.default_rng(9).standard_normal((5, 6, 7, 8)).astype(np.float32)
    for axes in ((0, 2), (1, 3), (0, 3), (0, 1, 3), (1, 2), ()):
        assert_close([one(x, "reduce_sum", axes)], [x.sum(axis=axes)], 1e-6, str(axes))
        assert_close([one(x, "reduce_max", axes)], [x.max(axis=axes)], 0, str(axes))
