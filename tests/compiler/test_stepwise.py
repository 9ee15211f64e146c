"""Running node by node gives the bits of the compiled graph, in memory of its own."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pytest

from rustorch import compiler
from rustorch.compiler import stepwise
from rustorch.compiler.pipeline import lowered
from rustorch.compiler.stepwise import EXACT, Stepwise, structure
from rustorch.ir.builder import Builder
from rustorch.ir.dtypes import f32, f64, i64
from rustorch.ir.graph import Graph
from rustorch.ir.op import REGISTRY, OpDef
from tests.ops import checks
from tests.random_graphs import random_case

Array = np.ndarray[Any, Any]


def assert_same_bits(found: list[Array], expected: list[Array], what: str) -> None:
    """Equal types, shapes and bits; any NaN is as good as another."""
    assert len(found) == len(expected), what
    for x, y in zip(found, expected, strict=True):
        assert (x.dtype, x.shape) == (y.dtype, y.shape), what
        np.testing.assert_array_equal(x, y, err_msg=what)
        if x.dtype.kind == "f":
            numbers = ~np.isnan(x)
            np.testing.assert_array_equal(np.signbit(x[numbers]), np.signbit(y[numbers]), err_msg=what)


@pytest.mark.parametrize("op", [REGISTRY[name] for name in sorted(EXACT)], ids=lambda op: op.name)
def test_references_that_stand_for_our_code_have_its_bits(op: OpDef) -> None:
    tried = 0
    for sample, arrays in checks.samples(op):
        graph = checks.graph_of(op, arrays, sample.attrs)
        compiled = compiler.compile_graph(graph)
        with np.errstate(all="ignore"):
            expected = np.asarray(op.reference(*arrays, **sample.attrs))
        assert_same_bits([expected], compiled.run(list(arrays)), f"{op.name} {sample.label}")
        tried += 1
    assert tried


@pytest.mark.parametrize("block", range(4))
def test_random_graphs_have_the_same_bits_both_ways(block: int) -> None:
    for seed in range(25 * block, 25 * (block + 1)):
        case = random_case(seed, nodes=14)
        compiled = compiler.compile_graph(case.graph)
        found = Stepwise(lowered(case.graph)[-1][1])
        assert found.possible
        before = [array.copy() for array in case.arrays]
        results = found.run(case.arrays)
        assert_same_bits(results, compiled.run(case.arrays), f"seed {seed}")
        for x, y in combinations([*results, *case.arrays], 2):
            assert not np.may_share_memory(x, y) or any(x is a for a in case.arrays), f"seed {seed}"
        assert all(x.flags.c_contiguous for x in results)
        assert all(np.array_equal(x, y, equal_nan=x.dtype.kind == "f") for x, y in zip(case.arrays, before, strict=True))


def reduction(name: str, shape: tuple[int, ...], axes: tuple[int, ...], dtype: Any = f32) -> Graph:
    b = Builder()
    x = b.input(dtype[shape])
    return b.build([getattr(b, name)(x, axes=axes)], name)


@pytest.mark.parametrize("dtype", [f32, f64], ids=str)
@pytest.mark.parametrize("name", ["reduce_sum", "reduce_prod", "reduce_max", "reduce_min"])
def test_reductions_of_many_shapes_use_one_single_an_arrangement_of_axes(name: str, dtype: Any) -> None:
    rng = np.random.default_rng(5)
    shapes = {
        1: [(1,), (2,), (67,), (1000,), (5000,)],
        2: [(1, 1), (1, 9), (9, 1), (3, 64), (40, 33), (2, 4100)],
        3: [(2, 3, 4), (5, 1, 17)],
    }
    for rank, sizes in shapes.items():
        for axes in (axes for count in range(1, rank + 1) for axes in combinations(range(rank), count)):
            structures = set()
            for shape in sizes:
                graph = reduction(name, shape, axes, dtype)
                x = rng.uniform(0.5, 1.5, shape).astype(dtype.numpy)
                found = Stepwise(lowered(graph)[-1][1]).run([x])
                assert_same_bits(found, compiler.compile_graph(graph).run([x]), f"{name} {shape} {axes}")
                if 1 not in shape:
                    structures.add(structure(graph.nodes[0]))
            assert len(structures) == 1


def test_products_of_many_shapes_use_one_single() -> None:
    rng = np.random.default_rng(6)
    count = set()
    for m, k, n in ((2, 3, 4), (1, 7, 5), (64, 33, 10), (5, 300, 1), (128, 64, 96)):
        b = Builder()
        x, y = b.input(f32[m, k]), b.input(f32[k, n])
        graph = b.build([b.dot_general(x, y, contract=((1,), (0,)), batch=((), ()))], "product")
        arrays = [rng.normal(size=(m, k)).astype(np.float32), rng.normal(size=(k, n)).astype(np.float32)]
        way = Stepwise(lowered(graph)[-1][1])
        assert_same_bits(way.run(arrays), compiler.compile_graph(graph).run(arrays), f"{m} {k} {n}")
        count.add(structure(graph.nodes[0]))
    assert len(count) == 1


def test_a_graph_that_only_hands_on_gives_copies() -> None:
    b = Builder()
    x = b.input(f32[3])
    y = b.reshape(x, shape=(1, 3))
    graph = b.build((y, b.const(2.0, f32[2, 2]), y, b.neg(x)), "passing")
    given = np.array([1.0, -0.0, 2.0], np.float32)
    results = Stepwise(graph).run([given])
    assert [r.tolist() for r in results] == [[[1.0, -0.0, 2.0]], [[2.0, 2.0], [2.0, 2.0]], [[1.0, -0.0, 2.0]], [-1.0, 0.0, -2.0]]
    for a, c in combinations([*results, given], 2):
        assert not np.may_share_memory(a, c)
    for r in results:
        r[...] = 0  # writeable
    assert given.tolist() == [1.0, 0.0, 2.0]


def test_views_that_are_strided_are_read_where_they_lie() -> None:
    b = Builder()
    x = b.input(f64[4, 6])
    turned = b.transpose(x, perm=(1, 0))
    graph = b.build((b.exp(b.flip(turned, axes=(0,))), b.reduce_sum(turned, axes=(1,))), "strided")
    array = np.random.default_rng(0).normal(size=(4, 6))
    assert_same_bits(Stepwise(lowered(graph)[-1][1]).run([array]), compiler.compile_graph(graph).run([array]), "strided")


def test_singles_are_kept_up_to_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stepwise, "KEPT", 3)
    for name in ("exp", "log", "sin", "cos", "tanh"):
        b = Builder()
        x = b.input(f64[3])
        graph = b.build([getattr(b, name)(x)], name)
        found = Stepwise(lowered(graph)[-1][1]).run([np.array([0.5, 1.0, 2.0])])
        assert np.allclose(found[0], getattr(np, name)(np.array([0.5, 1.0, 2.0])))
    assert len(stepwise._singles) == 3


def test_costs_speak_of_what_is_missing() -> None:
    b = Builder()
    x, n = b.input(f64[3]), b.input(i64[3])
    plain = Stepwise(b.build((b.add(x, x), b.mul(n, n)), "plain"))
    assert plain.cost().singles == 0
    b = Builder()
    x = b.input(f64[3])
    dear = Stepwise(b.build([b.expm1(b.log1p(x))], "dear"))
    for part in [p for p in stepwise._singles if p.name in ("expm1", "log1p")]:
        del stepwise._singles[part]
    assert dear.cost().singles == 2 * stepwise.SINGLE
    dear.run([np.ones(3)])
    assert dear.cost().singles == 0
    assert dear.cost().fused > plain.cost().fused / 2
