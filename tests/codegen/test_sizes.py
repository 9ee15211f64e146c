"""Sizes: main loops, unrolled turns and tails; no axes, empty axes, axes of size 1; sizes that only run time knows."""

from __future__ import annotations

import numpy as np
import pytest

from rustorch.compiler import compile_graph
from rustorch.ir.builder import Builder
from rustorch.ir.dims import Size, symbol
from rustorch.ir.dtypes import f32, f64, i32, i64
from rustorch.ir.graph import Graph
from rustorch.ir.types import DType, TensorType
from rustorch.ops import interpret
from tests.codegen.comparison import Array, assert_close, check, same_bits

EDGES = (1, 2, 15, 16, 17, 63, 64, 65, 255, 256, 257, 4095, 4096, 4097, 9000)
"""Around one vector, one unrolled turn, and one block of a sum, of every level."""
M, N = symbol("m"), symbol("n")


def row(size: Size, dtype: DType = f32) -> Graph:
    """Elementwise values and all kinds of reductions over one axis."""
    b = Builder()
    x, y = b.input(TensorType(dtype, (size,)), "x"), b.input(TensorType(dtype, (size,)), "y")
    z = b.add(b.mul(x, y), 1.0 if dtype.kind == "float" else 1)
    outputs = [z, b.reduce_sum(z, axes=(0,)), b.reduce_max(b.sub(z, x), axes=(0,)), b.argmin(y, axis=0)]
    return b.build(outputs, f"row_{size}")


def grid(rows: Size, columns: Size) -> Graph:
    """Rows and columns, each with reductions that are read again, a transpose, and a vector along either axis."""
    b = Builder()
    x, u, v = b.input(f32[rows, columns], "x"), b.input(f32[rows], "u"), b.input(f32[columns], "v")
    shape = (rows, columns)
    z = b.add(b.mul(x, b.broadcast_to(u, shape=shape, dims=(0,))), b.broadcast_to(v, shape=shape, dims=(1,)))
    mean = b.broadcast_to(b.reduce_sum(z, axes=(1,)), shape=shape, dims=(0,))
    peak = b.broadcast_to(b.reduce_max(z, axes=(0,)), shape=shape, dims=(1,))
    outputs = [b.sub(z, mean), b.sub(z, peak), b.transpose(z, perm=(1, 0)), b.reduce_sum(z, axes=(0, 1)), b.reduce_sum(z, axes=(0,))]
    return b.build(outputs, "grid")


def numbers(rng: np.random.Generator, graph: Graph, **sizes: int) -> list[Array]:
    """Inputs for a graph."""
    arrays = []
    for value in graph.inputs:
        assert isinstance(value.type, TensorType)
        shape = tuple(s if isinstance(s, int) else s.evaluate(sizes) for s in value.type.shape)
        drawn = rng.uniform(-1, 1, shape) if value.type.dtype.kind == "float" else rng.integers(-9, 10, shape)
        arrays.append(np.asarray(drawn).astype(value.type.dtype.numpy))
    return arrays


@pytest.mark.parametrize("dtype", [f32, f64, i32, i64], ids=str)
def test_rows_of_all_sizes(dtype: DType) -> None:
    rng = np.random.default_rng(0)
    for size in EDGES if dtype is f32 else EDGES[3:10]:
        graph = row(size, dtype)
        check(graph, *numbers(rng, graph))


def test_one_graph_serves_all_sizes() -> None:
    rng = np.random.default_rng(1)
    graph = row(N)
    for size in EDGES[1:]:
        check(graph, *numbers(rng, graph, n=size))


@pytest.mark.parametrize("rows", [1, 3, 33])
def test_grids(rows: int) -> None:
    rng = np.random.default_rng(2)
    for columns in (1, 5, 16, 65, 257):
        graph = grid(rows, columns)
        check(graph, *numbers(rng, graph))


def test_grids_of_two_symbols() -> None:
    rng = np.random.default_rng(3)
    graph = grid(M, N)
    for rows, columns in ((2, 2), (2, 300), (300, 2), (33, 65), (64, 128)):
        check(graph, *numbers(rng, graph, m=rows, n=columns))


# --- No axes, empty axes ------------------------------------------------------------------------------------------------


def test_values_without_axes() -> None:
    b = Builder()
    x, y = b.input(f32[()], "x"), b.input(i64[()], "y")
    z = b.exp(b.add(x, b.convert(y, dtype=f32)))
    check(b.build([z, b.mul(y, 3), b.reduce_sum(z, axes=()), b.lt(x, z), b.broadcast_to(z, shape=(3,), dims=())]), f(0.5), np.asarray(-1))


def f(number: float) -> Array:
    return np.asarray(number, np.float32)


def test_an_empty_axis_gives_identities() -> None:
    b = Builder()
    x = b.input(f32[3, 0, 2], "x")
    total = b.reduce_sum(x, axes=(1,))
    outputs = [b.exp(x), total, b.add(total, 1.0), b.reduce_sum(x, axes=(0, 1, 2)), b.reduce_prod(x, axes=(1,)), b.reduce_sum(x, axes=(0,))]
    got = check(b.build(outputs), np.zeros((3, 0, 2), np.float32))
    assert [a.shape for a in got] == [(3, 0, 2), (3, 2), (3, 2), (), (3, 2), (0, 2)]
    np.testing.assert_array_equal(got[4], np.ones((3, 2)))


def test_products_with_empty_axes() -> None:
    for m, n, k in ((0, 3, 2), (3, 0, 2), (3, 2, 0)):
        b = Builder()
        x, y = b.input(f32[m, k], "x"), b.input(f32[k, n], "y")
        (got,) = check(
            b.build([b.dot_general(x, y, contract=((1,), (0,)), batch=((), ()))]), np.ones((m, k), np.float32), np.ones((k, n), np.float32)
        )
        np.testing.assert_array_equal(got, np.full((m, n), k))


def test_movement_of_nothing() -> None:
    b = Builder()
    x, y = b.input(f32[0, 4], "x"), b.input(f32[2, 4], "y")
    padded = b.pad(x, low=(1, 0), high=(1, 0), value=2.0)
    outputs = [
        b.concat(x, y, axis=0),
        padded,
        b.reshape(x, shape=(4, 0)),
        b.transpose(x, perm=(1, 0)),
        b.slice(y, starts=(1, 0), limits=(1, 4), strides=(1, 1)),
    ]
    check(b.build(outputs), np.zeros((0, 4), np.float32), np.ones((2, 4), np.float32))


# --- Symbolic movement --------------------------------------------------------------------------------------------------


def test_symbolic_slices_concats_pads_and_reshapes() -> None:
    b = Builder()
    x, y = b.input(f32[M, N], "x"), b.input(f32[M, 3], "y")
    inner = b.slice(x, starts=(1, 0), limits=(M, N - 1), strides=(1, 1))
    joined = b.concat(x, y, axis=1)
    flat = b.reshape(joined, shape=(M * (N + 3),))
    padded = b.pad(inner, low=(0, 2), high=(1, 1), value=0.5)
    outputs = [
        b.mul(inner, 2.0), b.tanh(joined), b.add(flat, 1.0), b.reduce_sum(flat, axes=(0,)), padded,
        b.reduce_sum(b.mul(padded, padded), axes=(1,)), b.flip(x, axes=(0, 1)), b.transpose(joined, perm=(1, 0)),
    ]  # fmt: skip
    graph = b.build(outputs, "movement")
    rng = np.random.default_rng(4)
    for rows, columns in ((2, 2), (3, 17), (65, 31), (7, 257)):
        check(graph, *numbers(rng, graph, m=rows, n=columns))


def test_an_axis_that_turns_out_empty() -> None:
    """n - 2 is nothing for n = 2: the loops over it make no turn, and sums over it are 0."""
    b = Builder()
    x = b.input(f32[N, 3], "x")
    short = b.slice(x, starts=(2, 0), limits=(N, 3), strides=(1, 1))
    outputs = [b.exp(short), b.reduce_sum(short, axes=(0,)), b.reduce_sum(b.mul(short, 2.0), axes=(0, 1)), b.concat(short, x, axis=0)]
    graph = b.build(outputs, "short")
    rng = np.random.default_rng(5)
    for size in (2, 3, 40):
        check(graph, *numbers(rng, graph, n=size))


def test_symbolic_products() -> None:
    b = Builder()
    x, y = b.input(f32[M, N], "x"), b.input(f32[4, N], "y")
    z = b.dot_general(x, y, contract=((1,), (1,)), batch=((), ()))
    back = b.dot_general(z, b.slice(y, starts=(0, 1), limits=(4, N), strides=(1, 1)), contract=((1,), (0,)), batch=((), ()))
    graph = b.build([z, b.tanh(back), b.dot_general(x, x, contract=((1,), (1,)), batch=((0,), (0,)))], "products")
    rng = np.random.default_rng(6)
    for rows, columns in ((2, 2), (5, 70), (70, 5)):
        check(graph, *numbers(rng, graph, m=rows, n=columns))


def test_sizes_that_are_no_polynomials() -> None:
    """A stride of 2 leaves floordiv(n + 1, 2) elements."""
    b = Builder()
    x = b.input(f64[N], "x")
    half = b.slice(x, starts=(0,), limits=(N,), strides=(2,))
    graph = b.build([b.mul(half, half), b.reduce_sum(half, axes=(0,))], "half")
    for size in (2, 3, 63, 64, 65):
        check(graph, np.arange(size, dtype=np.float64))


def test_equal_sizes_give_the_same_bits_whether_known_or_not() -> None:
    rng = np.random.default_rng(7)
    for size in (2, 40, 5000):
        known, unknown = row(size), row(N)
        arrays = numbers(rng, known)
        for got, want in zip(compile_graph(unknown).run(arrays), compile_graph(known).run(arrays), strict=True):
            assert same_bits(got, want)
        assert_close(compile_graph(unknown).run(arrays), interpret(unknown, arrays), 1e-5, f"{size}")
