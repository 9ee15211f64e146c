"""Kernels and products that threads share: the same bits for any number of threads, with the pool, a caller's executor, or none."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pytest

from rustorch.artifact import EXECUTOR
from rustorch.codegen.target import target
from rustorch.compiler import Compiled, compile_graph
from rustorch.ir.builder import Builder
from rustorch.ir.dims import Size, symbol
from rustorch.ir.dtypes import f32, f64, i64
from rustorch.ir.graph import Graph, Value
from rustorch.ir.types import DType, TensorType
from rustorch.ops import interpret
from rustorch.runtime import threads
from tests.codegen import trees
from tests.codegen.comparison import Array, assert_close, same_bits, tolerance
from tests.codegen.execution import generated, run_plan, simplified

COUNTS = (1, 2, 3, 7)


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    before = threads.get_num_threads()
    yield
    threads.set_num_threads(before)


def chain(shape: tuple[Size, ...], dtype: DType = f32) -> Graph:
    """A sum over everything, what it is a sum of, and its gradient."""
    b = Builder()
    x = b.input(TensorType(dtype, shape), "x")
    y = b.mul(b.tanh(x), b.exp(b.neg(b.mul(x, x))))
    axes = tuple(range(len(shape)))
    return b.build([b.reduce_sum(y, axes=axes), b.reduce_max(x, axes=axes), b.mul(y, 2.0)], "chain")


def logsumexp(shape: tuple[Size, ...]) -> Graph:
    """Two levels over everything: with the results of both, and with what a third one writes."""
    b = Builder()
    x = b.input(TensorType(f32, shape), "x")
    axes = tuple(range(len(shape)))

    def back(v: Value) -> Value:
        return b.broadcast_to(v, shape=shape, dims=())  # type: ignore[no-any-return]

    peak = b.reduce_max(x, axes=axes)
    weights = b.exp(b.sub(x, back(peak)))
    total = b.reduce_sum(weights, axes=axes)
    return b.build([b.add(peak, b.log(total)), b.div(weights, back(total)), weights, peak], "logsumexp")


def rows(shape: tuple[Size, Size]) -> Graph:
    """A softmax of every row: rows are shared, each task with scratch of its own."""
    b = Builder()
    x = b.input(TensorType(f32, shape), "x")

    def back(v: Value) -> Value:
        return b.broadcast_to(v, shape=shape, dims=(0,))  # type: ignore[no-any-return]

    weights = b.exp(b.sub(x, back(b.reduce_max(x, axes=(1,)))))
    return b.build([b.div(weights, back(b.reduce_sum(weights, axes=(1,))))], "rows")


def columns(shape: tuple[Size, Size]) -> Graph:
    """Sums of columns, and their standardised elements."""
    b = Builder()
    x = b.input(TensorType(f32, shape), "x")
    return b.build([b.reduce_sum(b.mul(x, 2.0), axes=(0,)), b.reduce_min(x, axes=(0,)), b.exp(x)], "columns")


def standardised(shape: tuple[int, int]) -> Graph:
    """Columns in three levels, with a row that is added to what every block reads."""
    b = Builder()
    x, shift = b.input(TensorType(f32, shape), "x"), b.input(TensorType(f32, shape[1:]), "shift")

    def back(v: Value) -> Value:
        return b.broadcast_to(v, shape=shape, dims=(1,))  # type: ignore[no-any-return]

    y = b.add(x, back(b.exp(shift)))
    mean = b.mul(b.reduce_sum(y, axes=(0,)), 1.0 / shape[0])
    centred = b.sub(y, back(mean))
    spread = b.mul(b.reduce_sum(b.mul(centred, centred), axes=(0,)), 1.0 / shape[0])
    return b.build([b.mul(centred, back(b.rsqrt(b.add(spread, 1e-5)))), mean, b.mul(mean, 2.0), spread], "standardised")


def beside_rows(shape: tuple[Size, Size]) -> Graph:
    """A layer norm with the gradients of its weights: sums of rows, of columns and of everything from one pass."""
    b = Builder()
    x, u = b.input(TensorType(f32, shape), "x"), b.input(TensorType(f32, shape), "u")

    def back(v: Value) -> Value:
        return b.broadcast_to(v, shape=shape, dims=(0,))  # type: ignore[no-any-return]

    centred = b.sub(x, back(b.mul(b.reduce_sum(x, axes=(1,)), 0.01)))
    h = b.mul(centred, back(b.rsqrt(b.add(b.reduce_sum(b.mul(centred, centred), axes=(1,)), 1e-3))))
    products = b.mul(u, h)
    sums = [b.reduce_sum(products, axes=(0,)), b.reduce_sum(u, axes=(0,)), b.reduce_sum(products, axes=(0, 1))]
    return b.build([*sums, b.mul(u, back(b.reduce_sum(products, axes=(1,))))], "beside_rows")


def elementwise(shape: tuple[Size, ...]) -> Graph:
    b = Builder()
    x = b.input(TensorType(f32, shape), "x")
    return b.build([b.tanh(b.mul(x, 3.0))], "elementwise")


def transposed(shape: tuple[int, int]) -> Graph:
    """An elementwise kernel over two axes that do not lie in one stretch."""
    b = Builder()
    x, y = b.input(TensorType(f32, shape), "x"), b.input(TensorType(f32, shape[::-1]), "y")
    return b.build([b.add(b.exp(x), b.transpose(y, perm=(1, 0)))], "transposed")


def drawn(graph: Graph, sizes: dict[str, int]) -> list[Array]:
    rng = np.random.default_rng(1)
    shapes = [tuple(sizes[str(s)] if not isinstance(s, int) else s for s in v.type.shape) for v in graph.inputs]  # type: ignore[union-attr]
    return [rng.standard_normal(shape).astype(v.type.dtype.numpy) for v, shape in zip(graph.inputs, shapes, strict=True)]  # type: ignore[union-attr]


n, m = symbol("n"), symbol("m")
GRAPHS: list[tuple[Graph, dict[str, int]]] = [
    (chain((100_003,)), {}), (chain((200, 700)), {}), (chain((n,)), {"n": 70_001}), (chain((40_000,), f64), {}),
    (chain((n,)), {"n": 5}), (chain((n, m)), {"n": 300, "m": 400}),
    (logsumexp((100_003,)), {}), (logsumexp((n,)), {"n": 99_999}), (logsumexp((64, 1000)), {}),
    (rows((300, 257)), {}), (rows((20, 5000)), {}), (rows((n, m)), {"n": 90, "m": 600}), (rows((2, 50_000)), {}),
    (columns((3000, 70)), {}), (columns((n, m)), {"n": 3000, "m": 70}), (columns((40_000, 3)), {}), (columns((130, 2000)), {}),
    (standardised((3000, 70)), {}), (standardised((600, 1001)), {}),
    (beside_rows((1000, 256)), {}), (beside_rows((700, 333)), {}), (beside_rows((n, m)), {"n": 500, "m": 200}),
    (elementwise((100_001,)), {}), (elementwise((n,)), {"n": 100_001}), (elementwise((n,)), {"n": 3}), (elementwise((3, 50_001)), {}),
    (transposed((300, 401)), {}), (transposed((3, 40_001)), {}),
]  # fmt: skip


def names(case: tuple[Graph, dict[str, int]]) -> str:
    return f"{case[0].name} {', '.join(str(v.type) for v in case[0].inputs)} {case[1] or ''}"


@pytest.mark.parametrize("case", GRAPHS, ids=names)
def test_any_number_of_threads_gives_the_same_bits(case: tuple[Graph, dict[str, int]]) -> None:
    graph, sizes = case
    arrays = drawn(graph, sizes)
    compiled = compile_graph(graph)
    assert compiled.artifact is not None and compiled.artifact.is_parallel
    results: list[list[Array]] = []
    for count in COUNTS:
        threads.set_num_threads(count)
        results += [compiled.run(arrays) for _ in range(3)]
    assert_close(results[0], interpret(simplified(graph), arrays), tolerance(graph), graph.name)
    for other in results[1:]:
        assert all(map(same_bits, other, results[0]))


@pytest.mark.parametrize("case", [c for c in GRAPHS if max(np.prod(a.shape) for a in drawn(*c)) <= 200_000][::3], ids=names)
def test_in_the_loop_interpreter(case: tuple[Graph, dict[str, int]]) -> None:
    """Two tasks, the later one first, on the arena as it was planned."""
    graph, sizes = case
    arrays = drawn(graph, sizes)
    assert_close(run_plan(generated(graph, "v4"), arrays), interpret(simplified(graph), arrays), tolerance(graph), graph.name)


def test_a_long_sum_has_the_bits_of_its_tree() -> None:
    for dtype in (f32, f64):
        b = Builder()
        x = b.input(TensorType(dtype, (70_000,)), "x")
        array = np.random.default_rng(2).standard_normal(70_000).astype(dtype.numpy)
        (got,) = compile_graph(b.build([b.reduce_sum(x, axes=(0,))])).run([array])
        assert same_bits(got, trees.reduced(array, (0,), target()))


def test_small_kernels_are_not_shared() -> None:
    for graph in (chain((1000,)), rows((16, 10)), elementwise((1000,)), columns((128, 10))):
        assert not generated(graph, "v4").artifact().is_parallel


# --- Products -------------------------------------------------------------------------------------------------------------------


def product_graph(shapes: Sequence[tuple[int, ...]], batch: int = 0, dtype: DType = f32) -> Graph:
    b = Builder()
    x, y = (b.input(TensorType(dtype, shape), hint) for shape, hint in zip(shapes, "xy", strict=True))
    axes = tuple(range(batch))
    return b.build([b.dot_general(x, y, contract=((len(shapes[0]) - 1,), (len(shapes[1]) - 2,)), batch=(axes, axes))], "product")


@pytest.mark.parametrize("dtype", [f32, f64, i64], ids=str)
@pytest.mark.parametrize(
    ("shapes", "batch"),
    [
        (((300, 200), (200, 301)), 0),
        (((40, 400), (400, 3001)), 0),
        (((3001, 64), (64, 10)), 0),
        (((2000, 700), (700, 1)), 0),
        (((1, 700), (700, 3000)), 0),
        (((5, 90, 100), (5, 100, 110)), 1),
        (((33, 40, 50), (33, 50, 70)), 1),
    ],
)
def test_products_are_shared(shapes: tuple[tuple[int, ...], tuple[int, ...]], batch: int, dtype: DType) -> None:
    graph = product_graph(shapes, batch, dtype)
    rng = np.random.default_rng(3)
    arrays = [(rng.standard_normal(shape) * 4).astype(dtype.numpy) for shape in shapes]
    compiled = compile_graph(graph)
    assert compiled.artifact is not None and compiled.artifact.is_parallel
    results = []
    for count in COUNTS:
        threads.set_num_threads(count)
        results += compiled.run(arrays)
    assert_close(results[:1], [np.matmul(*arrays)], tolerance(graph), "product")
    assert all(same_bits(other, results[0]) for other in results[1:])


# --- Executors ------------------------------------------------------------------------------------------------------------------

Body = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)
ParallelFor = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, Body, ctypes.c_void_p)


def with_executor(compiled: Compiled, arrays: list[Array], split: Callable[[int], list[tuple[int, int]]]) -> list[Array]:
    """Run with an executor that calls the ranges of `split`, and was called."""
    assert compiled.executable is not None
    called: list[int] = []

    def parallel_for(context: int, tasks: int, body: Callable[[int, int, int], None], argument: int) -> None:
        assert context == 99
        called.append(tasks)
        for low, high in split(tasks):
            body(argument, low, high)

    function = ParallelFor(parallel_for)
    record = (ctypes.c_uint64 * 4)(32, 0, 99, 0)
    record[EXECUTOR["parallel_for"] // 8] = ctypes.cast(function, ctypes.c_void_p).value or 0
    before, compiled.executable.executor = compiled.executable.executor, ctypes.addressof(record)
    try:
        return compiled.run(arrays)
    finally:
        compiled.executable.executor = before
        assert called


@pytest.mark.parametrize("case", [GRAPHS[k] for k in (0, 6, 9, 11, 13, 17, 19)], ids=names)
def test_a_callers_executor(case: tuple[Graph, dict[str, int]]) -> None:
    graph, sizes = case
    arrays, compiled = drawn(graph, sizes), compile_graph(graph)
    threads.set_num_threads(1)
    expected = compiled.run(arrays)
    for split in (
        lambda tasks: [(0, tasks)],
        lambda tasks: [(t, t + 1) for t in reversed(range(tasks))],
        lambda tasks: [(tasks // 3, tasks), (0, tasks // 3)],
    ):
        assert all(map(same_bits, with_executor(compiled, arrays, split), expected))
