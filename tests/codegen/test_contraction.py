"""Products: every layout of the operands is multiplied in place or copied, and gives the reference's numbers."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest

from rustorch.compiler import compile_graph
from rustorch.ir.builder import Builder
from rustorch.ir.dtypes import f32, f64, i32, i64
from rustorch.ir.graph import Graph
from rustorch.ir.types import DType, TensorType
from tests.codegen.comparison import Array, check
from tests.codegen.execution import generated

BATCH, ROWS, COLUMNS, DEPTH = 3, 5, 6, 7


def drawn(dtype: DType, shape: tuple[int, ...]) -> Array:
    rng = np.random.default_rng(sum(shape))
    return rng.integers(-4, 5, shape).astype(dtype.numpy)


def transposed_product(left: tuple[int, ...], right: tuple[int, ...], dtype: DType = f32) -> Graph:
    """[b, m, k] times [b, k, n], each operand lying in memory with its axes permuted."""
    b = Builder()
    lengths = ((BATCH, ROWS, DEPTH), (BATCH, DEPTH, COLUMNS))
    operands = []
    for perm, sizes in zip((left, right), lengths, strict=True):
        x = b.input(TensorType(dtype, tuple(sizes[p] for p in perm)))
        operands.append(b.transpose(x, perm=tuple(perm.index(k) for k in range(3))))
    return b.build([b.dot_general(*operands, contract=((2,), (1,)), batch=((0,), (0,)))], f"product{left}{right}")


def test_all_orders_of_axes_are_read_in_place() -> None:
    """One batch axis, one row axis, one column axis: whatever the order, strides say where they are."""
    for left, right in product(permutations(range(3)), repeat=2):
        graph = transposed_product(left, right)
        shapes = [v.type.shape for v in graph.inputs]  # type: ignore[union-attr]
        check(graph, *(drawn(f32, s) for s in shapes))  # type: ignore[arg-type]
        assert [step.kind for step in generated(graph).plan.steps] == ["product"]


@pytest.mark.parametrize("dtype", [f64, i32, i64], ids=str)
def test_element_types(dtype: DType) -> None:
    graph = transposed_product((0, 1, 2), (0, 2, 1), dtype)
    shapes = [v.type.shape for v in graph.inputs]  # type: ignore[union-attr]
    (got,) = check(graph, *(drawn(dtype, s) for s in shapes))  # type: ignore[arg-type]
    assert got.dtype == dtype.numpy


def test_interleaved_axes_are_copied() -> None:
    """Rows (0, 2) around the batch axis have no single stride, so the operand goes through memory once."""
    b = Builder()
    x, y = b.input(f32[2, 3, 4, 5], "x"), b.input(f32[5, 3, 6], "y")
    graph = b.build([b.dot_general(x, y, contract=((3,), (0,)), batch=((1,), (1,)))])
    check(graph, drawn(f32, (2, 3, 4, 5)), drawn(f32, (5, 3, 6)))
    assert [step.kind for step in generated(graph).plan.steps] == ["kernel", "product"]


def test_several_contracted_axes() -> None:
    for order in permutations(range(3)):
        b = Builder()
        sizes = (2, 3, 4)
        x, y = b.input(f32[5, *sizes], "x"), b.input(f32[tuple(sizes[k] for k in order)], "y")
        contract = (tuple(1 + k for k in order), (0, 1, 2))
        graph = b.build([b.dot_general(x, y, contract=contract, batch=((), ()))])
        check(graph, drawn(f32, (5, *sizes)), drawn(f32, tuple(sizes[k] for k in order)))


def test_views_of_operands_are_read_in_place() -> None:
    """Slices, flips and broadcasts are strides too."""
    b = Builder()
    x, y, z = b.input(f32[8, 9], "x"), b.input(f32[9, 6], "y"), b.input(f32[9], "z")
    dot = {"contract": ((1,), (0,)), "batch": ((), ())}
    part = b.slice(x, starts=(1, 1), limits=(8, 9), strides=(2, 1))
    outputs = [
        b.dot_general(part, b.slice(y, starts=(0, 2), limits=(8, 5), strides=(1, 1)), **dot),
        b.dot_general(b.flip(x, axes=(0, 1)), y, **dot),
        b.dot_general(b.broadcast_to(z, shape=(4, 9), dims=(1,)), y, **dot),
        b.dot_general(x, b.broadcast_to(z, shape=(9, 3), dims=(0,)), **dot),
    ]
    graph = b.build(outputs)
    check(graph, drawn(f32, (8, 9)), drawn(f32, (9, 6)), drawn(f32, (9,)))
    kinds = [step.kind for step in generated(graph).plan.steps]
    assert kinds == ["product"] * 4


def test_operands_that_are_computed() -> None:
    b = Builder()
    x, w, v = b.input(f32[4, 5], "x"), b.input(f32[5, 6], "w"), b.input(f32[6, 3], "v")
    dot = {"contract": ((1,), (0,)), "batch": ((), ())}
    hidden = b.tanh(b.dot_general(x, b.mul(w, 0.1), **dot))
    graph = b.build(
        [
            b.dot_general(hidden, v, **dot),
            b.dot_general(b.const(2.0, f32[2, 5]), w, **dot),
            b.dot_general(x, b.transpose(x, perm=(1, 0)), **dot),
        ]
    )
    check(graph, drawn(f32, (4, 5)), drawn(f32, (5, 6)), drawn(f32, (6, 3)))


def test_vectors_and_scalars() -> None:
    b = Builder()
    x, y, s = b.input(f32[300], "x"), b.input(f32[300], "y"), b.input(f32[()], "s")
    outputs = [
        b.dot_general(x, y, contract=((0,), (0,)), batch=((), ())),
        b.dot_general(x, y, contract=((), ()), batch=((0,), (0,))),
        b.dot_general(s, x, contract=((), ()), batch=((), ())),
        b.dot_general(b.slice(x, starts=(0,), limits=(20,), strides=(1,)), y, contract=((), ()), batch=((), ())),
    ]
    check(b.build(outputs), drawn(f32, (300,)), drawn(f32, (300,))[::-1].copy(), np.asarray(3, np.float32))


def test_a_large_product_uses_the_workspace() -> None:
    b = Builder()
    x, y = b.input(f32[130, 400], "x"), b.input(f32[400, 70], "y")
    graph = b.build([b.tanh(b.mul(b.dot_general(x, y, contract=((1,), (0,)), batch=((), ())), 0.001))])
    compiled = compile_graph(graph)
    assert compiled.artifact is not None and compiled.artifact.requires
    check(graph, drawn(f32, (130, 400)), drawn(f32, (400, 70)))
