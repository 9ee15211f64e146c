"""Gathers and scatters: indices are checked, wherever they come from, and nothing outside memory is touched."""

from __future__ import annotations

import numpy as np
import pytest

from rustorch.compiler import compile_graph
from rustorch.errors import UserError
from rustorch.ir.builder import Builder
from rustorch.ir.dims import symbol
from rustorch.ir.dtypes import f32, i32, i64
from rustorch.ir.graph import Graph
from rustorch.ir.types import DType, TensorType
from tests.codegen.comparison import check
from tests.codegen.execution import generated, run_plan

BAD = (-1, 5, 1 << 20, -(1 << 31), (1 << 31) - 1, (1 << 62), -(1 << 63))


def gathers(dtype: DType, size: int | str) -> Graph:
    b = Builder()
    x, i = b.input(f32[5], "x"), b.input(dtype[size], "i")
    return b.build([b.mul(b.gather(x, i, axis=0), 2.0)], "gathers")


def scatters(size: int | str) -> Graph:
    b = Builder()
    x, i, u = b.input(f32[5], "x"), b.input(i64[size], "i"), b.input(f32[size], "u")
    return b.build([b.scatter_add(x, i, u, axis=0)], "scatters")


@pytest.mark.parametrize("dtype", [i32, i64], ids=str)
@pytest.mark.parametrize("size", [1, 16, 70, "n"])
def test_gather(dtype: DType, size: int | str) -> None:
    count = 70 if size == "n" else int(size)
    check(gathers(dtype, size), np.arange(5, dtype=np.float32), (np.arange(count) % 5).astype(dtype.numpy))


@pytest.mark.parametrize("size", [1, 16, 70, "n"])
def test_an_index_out_of_range_is_an_error(size: int | str) -> None:
    """At every place of the loop: first lane, last lane, tail; the same call then works with good indices."""
    count = 70 if size == "n" else int(size)
    x, good = np.arange(5, dtype=np.float32), np.arange(count) % 5
    for graph, rest in ((gathers(i64, size), ()), (scatters(size), (np.ones(count, np.float32),))):
        compiled = compile_graph(graph)
        for place in {0, count // 2, count - 1}:
            for index in BAD:
                bad = good.copy()
                bad[place] = index
                with pytest.raises(UserError, match="out of bounds"):
                    compiled.run([x, bad, *rest])
        compiled.run([x, good, *rest])


def test_an_empty_operand_has_no_index_in_range() -> None:
    b = Builder()
    x, i = b.input(f32[0], "x"), b.input(i64[3], "i")
    compiled = compile_graph(b.build([b.gather(x, i, axis=0)]))
    with pytest.raises(UserError, match="out of bounds"):
        compiled.run([np.zeros(0, np.float32), np.zeros(3, np.int64)])


def test_gathers_along_every_axis() -> None:
    rng = np.random.default_rng(0)
    for axis in range(3):
        shape = [3, 17, 5]
        x = rng.standard_normal(shape).astype(np.float32)
        chosen_shape = [*shape]
        chosen_shape[axis] = 20
        chosen = rng.integers(0, shape[axis], chosen_shape)
        b = Builder()
        xv, iv = b.input(f32[tuple(shape)], "x"), b.input(i64[tuple(chosen_shape)], "i")
        turned = b.transpose(b.gather(xv, iv, axis=axis), perm=(2, 0, 1))
        check(b.build([turned, b.reduce_sum(b.gather(b.exp(xv), iv, axis=axis), axes=(axis,))]), x, chosen)


def test_a_gather_between_passes_is_checked_though_the_rows_are_short() -> None:
    """A row shorter than one turn runs only the tail of the loop; the check is not left behind in the main loop."""
    m, n = symbol("m"), symbol("n")
    b = Builder()
    x, table = b.input(f32[m, n], "x"), b.input(f32[m], "table")
    shift = b.gather(table, b.convert(b.reduce_max(x, axes=(1,)), dtype=i64), axis=0)
    compiled = compile_graph(b.build([b.sub(x, b.broadcast_to(shift, shape=(m, n), dims=(0,)))]))
    assert compiled.kernels == 1
    for columns in (2, 300):
        x_ = np.ones((3, columns), np.float32)
        (got,) = compiled.run([x_, np.arange(3, dtype=np.float32)])
        np.testing.assert_array_equal(got, 0)
        x_[1] = 3
        with pytest.raises(UserError, match="out of bounds"):
            compiled.run([x_, np.arange(3, dtype=np.float32)])


@pytest.mark.parametrize("size", [20, "n"])
def test_lanes_behind_the_end_are_not_checked(size: int | str) -> None:
    """Computed indices of masked lanes lie outside: no error, no access."""
    b = Builder()
    x = b.input(f32[size], "x")
    assert isinstance(x.type, TensorType)
    counted = b.iota(type=x.type.with_dtype(i64), axis=0)
    check(b.build([b.gather(b.input(f32[20], "table"), counted, axis=0), x]), np.ones(20, np.float32), np.arange(20, dtype=np.float32))


def test_a_gather_of_a_gather() -> None:
    b = Builder()
    x, i, j = b.input(f32[40], "x"), b.input(i64[50], "i"), b.input(i32[60], "j")
    first = b.gather(x, i, axis=0)
    check(
        b.build([b.gather(first, j, axis=0), b.gather(i, j, axis=0), first]),
        np.arange(40, dtype=np.float32), np.arange(50) * 7 % 40, (np.arange(60) * 11 % 50).astype(np.int32),
    )  # fmt: skip


def test_equal_indices_add_up_in_order() -> None:
    """1e8 + 1 + ... is 1e8 in float32 one by one: the sum has the rounding of the order, not of a tree."""
    b = Builder()
    x, i, u = b.input(f32[4], "x"), b.input(i64[100], "i"), b.input(f32[100], "u")
    graph = b.build([b.scatter_add(x, i, u, axis=0)])
    updates = np.ones(100, np.float32)
    updates[0] = 1e8
    (got,) = compile_graph(graph).run([np.zeros(4, np.float32), np.full(100, 2), updates])
    np.testing.assert_array_equal(got, np.array([0, 0, 1e8, 0], np.float32))


def test_scatters_along_every_axis() -> None:
    rng = np.random.default_rng(1)
    for axis in range(2):
        shape = (4, 6)
        b = Builder()
        x, i, u = b.input(f32[shape], "x"), b.input(i64[shape], "i"), b.input(f32[shape], "u")
        into = b.const(0.5, x)
        outputs = [b.scatter_add(x, i, u, axis=axis), b.tanh(b.scatter_add(into, i, b.mul(u, 2.0), axis=axis))]
        check(
            b.build(outputs),
            rng.standard_normal(shape).astype(np.float32),
            rng.integers(0, shape[axis], shape),
            rng.standard_normal(shape).astype(np.float32),
        )


def test_the_interpreter_of_loops_finds_a_failed_check_too() -> None:
    code = generated(gathers(i64, 20))
    with pytest.raises(IndexError):
        run_plan(code, [np.zeros(5, np.float32), np.full(20, 5)])
