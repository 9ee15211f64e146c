"""The interpreter: sizes bound from inputs, wrong inputs refused, wrong references found, dead values freed, regions run."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest

from rustorch.errors import ArgumentError, CompilerBug, DTypeError, ShapeError
from rustorch.ir.builder import Builder
from rustorch.ir.dims import symbol
from rustorch.ir.dtypes import f32, f64, i64
from rustorch.ir.graph import Graph
from rustorch.ir.op import Internal, Nest, OpDef, Trait, Undefined
from rustorch.ir.types import TensorType, VectorType
from rustorch.ops import interpret


def made(name: str, reference: Any, infer: Any) -> OpDef:
    """An op outside the registry."""
    return OpDef(
        name, "A test's.", Internal("a test"), 1, infer, reference, Undefined("a test"), None, Nest("test"), frozenset({Trait.PURE})
    )


def test_symbolic_sizes_are_read_off_the_inputs() -> None:
    b = Builder()
    x = b.input(f64["n", 3])
    n = symbol("n")
    y = b.reshape(b.concat(x, x, axis=0), shape=(n * 6,))
    z = b.add(y, b.iota(type=TensorType(f64, (n * 6,)), axis=0))
    assert str(z.type) == "f64[6*n]"
    (found,) = interpret(b.build([z]), [np.ones((2, 3))])
    np.testing.assert_array_equal(found, 1 + np.arange(12.0))


def test_sizes_that_no_input_shows_are_given() -> None:
    b = Builder()
    graph = b.build([b.const(2.0, f32["n"])])
    np.testing.assert_array_equal(interpret(graph, [], {"n": 3})[0], np.full(3, 2, np.float32))
    b = Builder()
    graph = b.build([b.neg(b.input(TensorType(f64, (symbol("n") * 2,))))])
    with pytest.raises(ShapeError, match="size n cannot be read off"):
        interpret(graph, [np.ones(4)])
    assert interpret(graph, [np.ones(4)], {"n": 2})[0].shape == (4,)


@pytest.mark.parametrize(
    ("arrays", "error", "words"),
    [
        ([np.ones((2, 3))], ArgumentError, "takes 2 arrays"),
        ([np.ones((2, 3)), np.ones(2, np.float32)], DTypeError, "found float32"),
        ([np.ones((2, 3)), np.ones(4)], ShapeError, r"input w is f64\[n\]"),
        ([np.ones((2, 4)), np.ones(2)], ShapeError, r"input x is f64\[n, 3\]"),
        ([np.ones(6), np.ones(2)], ShapeError, r"input x is f64\[n, 3\]"),
    ],
)
def test_inputs_that_do_not_fit(arrays: Any, error: type[Exception], words: str) -> None:
    b = Builder()
    b.input(f64["n", 3], "x")
    graph = b.build([b.input(f64["n"], "w")], "f")
    with pytest.raises(error, match=words):
        interpret(graph, arrays)


@pytest.mark.parametrize("wrong", [lambda x: x.astype(np.float32), lambda x: x[1:], lambda x: (x, x)])
def test_a_reference_that_disagrees_with_infer_is_our_bug(wrong: Any) -> None:
    b = Builder()
    graph = b.build(b.emit(made("wrong", wrong, lambda x: x), [b.input(f64[3])]))
    with pytest.raises(CompilerBug, match="reference of wrong"):
        interpret(graph, [np.ones(3)])


def test_dead_values_are_freed() -> None:
    b = Builder()
    x = b.input(f64[100_000])
    y = x
    for _ in range(50):
        y = b.add(y, 1.0)
    graph, array = b.build([y]), np.zeros(100_000)
    tracemalloc.start()
    try:
        (found,) = interpret(graph, [array])
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert found[0] == 50
    assert peak < 6 * array.nbytes  # operands and result of one node, the constant that all share


def test_outputs_may_be_inputs_and_repeat() -> None:
    b = Builder()
    x = b.input(f64[2])
    found = interpret(b.build([x, b.neg(x), x]), [np.ones(2)])
    assert [a.tolist() for a in found] == [[1, 1], [-1, -1], [1, 1]]


def test_vectors_and_single_elements() -> None:
    b = Builder()
    v, s = b.input(VectorType(f32, 4)), b.input(f32)
    found = interpret(b.build([b.exp(v), b.add(s, 1.0)]), [np.zeros(4, np.float32), np.float32(2)])
    assert [(a.dtype, a.shape) for a in found] == [(np.float32, (4,)), (np.float32, ())]


def test_regions_are_functions_of_arrays_and_see_outer_values() -> None:
    def thrice(x: Any, regions: Any) -> Any:
        for _ in range(3):
            (x,) = regions[0](x)
        return x

    b = Builder()
    x, k = b.input(f64[2]), b.input(f64[2])
    factor = b.mul(k, 2.0)
    inner = b.region()
    body: Graph = inner.build([inner.mul(inner.input(f64[2]), factor)])
    (y,) = b.emit(made("thrice", thrice, lambda x, regions: x), [x], {}, (body,))
    (found,) = interpret(b.build([y]), [np.array([1.0, 2.0]), np.array([1.0, 5.0])])
    assert found.tolist() == [8, 2000]


def test_integers_stay_integers() -> None:
    b = Builder()
    x = b.input(i64[2])
    (found,) = interpret(b.build([b.pow(b.floor_div(x, 2), 3)]), [np.array([-3, 9])])
    assert found.tolist() == [-8, 64]
