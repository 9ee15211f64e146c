"""A reduction has the bits of its tree: alone or fused, with sizes known or not, on every level, however memory is walked."""

from __future__ import annotations

import numpy as np
import pytest

from rustorch.codegen.target import target
from rustorch.compiler import compile_graph
from rustorch.config import config
from rustorch.ir.builder import Builder
from rustorch.ir.dims import Size, symbol
from rustorch.ir.dtypes import f32, f64
from rustorch.ir.graph import Graph, Value
from rustorch.ir.types import DType, TensorType
from rustorch.ops import interpret
from tests.codegen import trees
from tests.codegen.comparison import Array, assert_close, same_bits, tolerance
from tests.codegen.execution import generated, run_plan

Case = tuple[tuple[int, ...], tuple[int, ...]]

CASES: list[Case] = [
    # One axis: one vector, some lanes, several blocks.
    ((5,), (0,)), ((70,), (0,)), ((9001,), (0,)), ((70000,), (0,)),
    # Rows, columns.
    ((6, 1000), (1,)), ((6, 5000), (1,)), ((5000, 33), (0,)), ((300, 1), (0,)),
    # Adjacent axes that are one run: rows shorter and longer than a block, whole vectors or not.
    ((6, 5000), (0, 1)), ((300, 10), (0, 1)), ((3000, 3), (0, 1)), ((700, 64), (0, 1)), ((16, 1024), (0, 1)), ((2, 8192), (0, 1)),
    ((7, 9, 33), (1, 2)), ((7, 9, 33), (0, 1)), ((7, 9, 33), (0, 1, 2)),
    # Runs apart.
    ((7, 9, 33), (0, 2)), ((200, 3, 64), (0, 2)), ((20, 3, 784), (0, 2)), ((2, 3, 9000), (0, 2)), ((4, 1, 6, 7), (0, 2)),
    ((4, 5, 6, 7), (0, 2)), ((4, 5, 6, 7), (0, 1, 3)), ((30, 4, 30, 4), (0, 2, 3)), ((3, 4, 2, 3, 5), (0, 2, 4)),
    # Nothing to add.
    ((0,), (0,)), ((3, 0), (1,)), ((0, 3), (1,)), ((), ()), ((1, 1), (0, 1)),
]  # fmt: skip
KINDS = ("alone", "elementwise", "costly", "wide", "narrow", "transposed", "row", "column", "part")


def graph(kind: str, name: str, dtype: DType, shape: tuple[Size, ...], axes: tuple[int, ...]) -> Graph:
    """A reduction as first output: of x beside other members, or of x plus an operand of zeros that lies otherwise in memory."""
    b = Builder()
    x = b.input(TensorType(dtype, shape), "x")
    reduction = getattr(b, name)
    rank = len(shape)
    outputs: list[Value] = []
    y = x
    if kind == "elementwise":
        outputs = [b.exp(x), reduction(b.mul(x, x), axes=axes), b.reduce_or(b.lt(x, 0.0), axes=axes)]
    elif kind == "costly":
        z = b.exp(x)
        for _ in range(8):
            z = b.tanh(z)
        outputs = [reduction(z, axes=axes)]
    elif kind in ("wide", "narrow"):
        z = b.convert(x, dtype=f64 if kind == "wide" else f32)
        outputs = [z, reduction(b.mul(z, z), axes=axes)]
    elif kind == "transposed":
        z = b.input(TensorType(dtype, shape[::-1]), "z")
        y = b.sub(x, b.transpose(z, perm=tuple(range(rank))[::-1]))
    elif kind in ("row", "column") and rank:
        axis = rank - 1 if kind == "row" else 0
        z = b.input(TensorType(dtype, (shape[axis],)), "z")
        y = b.sub(x, b.broadcast_to(z, shape=shape, dims=(axis,)))
    elif kind == "part" and rank:
        z = b.input(TensorType(dtype, (*shape[:-1], 2 * shape[-1])), "z")
        y = b.sub(x, b.slice(z, starts=(0,) * rank, limits=shape, strides=(1,) * rank))
    return b.build([reduction(y, axes=axes), *outputs], kind)


def arguments(made: Graph, x: Array) -> list[Array]:
    """x, and zeros for the other input: its sizes are those of x, reversed, alone or doubled."""
    shapes = {"transposed": x.shape[::-1], "row": x.shape[-1:], "column": x.shape[:1], "part": (*x.shape[:-1], 2 * (x.shape or (0,))[-1])}
    return [x, np.zeros(shapes.get(made.name, ()), x.dtype)][: len(made.inputs)]


def symbolic(shape: tuple[int, ...]) -> tuple[Size, ...]:
    """The shape with a symbol for every size that may have one."""
    return tuple(size if size < 2 else symbol("abcde"[k]) for k, size in enumerate(shape))


@pytest.mark.parametrize("dtype", [f32, f64], ids=str)
@pytest.mark.parametrize(("shape", "axes"), CASES, ids=str)
def test_sums_have_the_bits_of_their_tree(dtype: DType, shape: tuple[int, ...], axes: tuple[int, ...]) -> None:
    x = np.asarray(np.random.default_rng(4).standard_normal(shape)).astype(dtype.numpy)
    expected = trees.reduced(x, axes, target())
    for kind in KINDS:
        for sizes in (shape, symbolic(shape)):
            made = graph(kind, "reduce_sum", dtype, sizes, axes)
            got, *_ = compile_graph(made).run(arguments(made, x))
            assert same_bits(got, expected), f"{kind}, {sizes}"


def beside_rows(shape: tuple[Size, ...], dtype: DType, first: str) -> Graph:
    """Sums of columns and of everything, of two values, in a kernel that also adds up rows; `first` comes first in the graph."""
    b = Builder()
    x = b.input(TensorType(dtype, shape), "x")
    last = len(shape) - 1
    outputs: list[Value] = []

    def sums() -> None:
        outputs.extend([b.reduce_sum(x, axes=tuple(range(last))), b.reduce_sum(x, axes=tuple(range(last + 1)))])
        outputs.append(b.reduce_max(x, axes=tuple(range(last))))

    if first == "sums":
        sums()
    total = b.reduce_sum(x, axes=(last,))
    y = b.sub(x, b.broadcast_to(b.mul(total, 0.01), shape=shape, dims=tuple(range(last))))
    if first == "rows":
        sums()
    outputs += [b.exp(y), b.reduce_sum(b.mul(y, y), axes=tuple(range(last)))]
    return b.build(outputs, "beside_rows")


@pytest.mark.parametrize("dtype", [f32, f64], ids=str)
@pytest.mark.parametrize("shape", [(300, 64), (1000, 256), (7, 1024), (257, 4096), (130, 33), (2, 3), (9, 40, 128), (5, 70, 3)], ids=str)
def test_columns_and_everything_beside_rows(dtype: DType, shape: tuple[int, ...]) -> None:
    x = np.random.default_rng(7).standard_normal(shape).astype(dtype.numpy)
    last = len(shape) - 1
    columns, everything = (trees.reduced(x, tuple(range(count)), target()) for count in (last, last + 1))
    for first in ("rows", "sums"):
        for sizes in (shape, symbolic(shape)):
            made = beside_rows(sizes, dtype, first)
            got = compile_graph(made).run([x])
            assert same_bits(got[0], columns), f"{first}, {sizes}"
            assert same_bits(got[1], everything), f"{first}, {sizes}"
            assert_close(got, interpret(made, [x]), tolerance(made), f"{first}, {sizes}")
            if x.size <= 20_000:
                assert_close(run_plan(generated(made, "v3"), [x]), interpret(made, [x]), tolerance(made), f"{first}, {sizes}")


def test_sums_over_all_axes_pass_by_rows() -> None:
    """One kernel reads the elements; each set of axes has a step that combines blocks."""
    for first in ("sums", "rows"):
        steps = generated(beside_rows((300, 64), f32, first), "v4").plan.steps
        assert [(sorted(step.reduced), bool(step.partials)) for step in steps] == [([1], True), ([0], False), ([0, 1], False)]


@pytest.mark.parametrize("level", ["v2", "v3"])
@pytest.mark.parametrize(("shape", "axes"), [c for c in CASES if len(c[0]) > 1][::3], ids=str)
def test_on_other_levels(level: str, shape: tuple[int, ...], axes: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """Run by the loop interpreter: level v2 runs everywhere, but compiled code of this process is shared by digest."""
    monkeypatch.setattr(config, "isa", level)
    x = np.random.default_rng(5).standard_normal(shape).astype(np.float32)
    expected = trees.reduced(x, axes, target(level))
    for kind in ("alone", "row"):
        for sizes in (shape, symbolic(shape)):
            if np.prod(shape) > 5000:
                continue
            made = graph(kind, "reduce_sum", f32, sizes, axes)
            got, *_ = run_plan(generated(made, level), arguments(made, x))
            assert same_bits(got, expected), f"{kind}, {sizes}"


@pytest.mark.parametrize(("shape", "axes"), CASES[::2], ids=str)
def test_products_have_the_bits_of_their_tree(shape: tuple[int, ...], axes: tuple[int, ...]) -> None:
    x = np.asarray(np.random.default_rng(6).uniform(0.99, 1.0101, shape)).astype(np.float32)
    expected = trees.reduced(x, axes, target(), np.multiply)
    for kind in ("alone", "row"):
        for sizes in (shape, symbolic(shape)):
            made = graph(kind, "reduce_prod", f32, sizes, axes)
            got, *_ = compile_graph(made).run(arguments(made, x))
            assert same_bits(got, expected), f"{kind}, {sizes}"


def test_the_tree_is_more_accurate_than_a_chain() -> None:
    """The reference itself: a chain of 10^6 additions of 0.1 in f32 is off by 1 %, the tree by roundings of 64 additions."""
    x = np.full(1_000_000, 0.1, np.float32)
    exact = float(np.float32(0.1)) * 1e6
    assert abs(float(np.add.accumulate(x)[-1]) - exact) > 100
    for level in ("v2", "v3", "v4"):
        assert abs(float(trees.reduced(x, (0,), target(level))) - exact) < 1e6 * 0.1 * 263 * 2.0**-24
