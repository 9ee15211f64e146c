"""Long graphs, in pieces: the same numbers as in one, one native entry, time that grows with the length."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest

from rustorch.codegen import emit_driver, generate, memory_plan
from rustorch.codegen.memory_plan import Use, plan_memory
from rustorch.codegen.pieces import cut
from rustorch.codegen.target import target
from rustorch.compiler import pipeline
from rustorch.ir.builder import Builder
from rustorch.ir.dtypes import f32
from rustorch.ir.graph import Graph, Value
from rustorch.ir.verifier import verify
from rustorch.ops import interpret
from tests.codegen.comparison import assert_close, tolerance
from tests.codegen.execution import run_plan, simplified
from tests.codegen.networks import mlp_gradient
from tests.codegen.random_kernels import kernel_case


@pytest.mark.parametrize("longest", [1, 7, 40])
@pytest.mark.parametrize("symbolic", [False, True])
def test_pieces_compute_what_the_whole_does(longest: int, symbolic: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generate, "cut", lambda graph: cut(graph, longest))
    monkeypatch.setattr(emit_driver, "PART", 3)
    monkeypatch.setattr(memory_plan, "MANY", 5)
    for seed in range(12):
        case = kernel_case(seed + 100 * longest, nodes=60, symbolic=symbolic)
        graph = simplified(case.graph)
        code = generate.generate(graph, "test", target("v2"))
        assert_close(run_plan(code, case.arrays), interpret(graph, case.arrays), tolerance(graph), f"kernel_case({seed + 100 * longest})")


def test_native_code_of_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generate, "cut", lambda graph: cut(graph, 11))
    monkeypatch.setattr(emit_driver, "PART", 2)
    for seed in range(4):
        case = kernel_case(seed + 7000, nodes=80, symbolic=seed > 1)
        graph = simplified(case.graph)
        executable = pipeline._native(graph, f"pieces{seed}", {})
        assert_close(executable.run(case.arrays), interpret(graph, case.arrays), tolerance(graph), f"kernel_case({seed + 7000})")


def test_pieces_are_graphs() -> None:
    """Each is well formed, is given only what came before, and repeats constants and movement instead of being given them."""
    graph = simplified(mlp_gradient(10, rows=3, inputs=4, hidden=4, classes=3))
    parts = cut(graph, 30)
    assert len(parts) == -(-len(graph.nodes) // 30)
    made: set[Value] = set(graph.inputs)
    for part in parts:
        verify(part, "cut")
        assert made.issuperset(part.inputs)
        made.update(v for node in part.nodes for v in node.results)
        given = [node for node in graph.nodes if node.results[0] in part.inputs]
        assert not [node for node in given if node.op.name in ("const", "broadcast_to", "transpose", "reshape")]
    assert {v for part in parts for v in part.outputs}.issuperset(v for v in graph.outputs if v not in graph.inputs)


def test_short_graphs_stay_whole() -> None:
    graph = simplified(mlp_gradient(2, rows=3, inputs=4, hidden=4, classes=3))
    assert cut(graph)[0] is graph


def test_many_values_are_placed_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Values that are alive at one step share no byte, and the arena is little larger than it must be."""
    rng = np.random.default_rng(0)
    for number in (1, 30, 500):
        values = [Value(f32[int(rng.integers(0, 200))]) for _ in range(number)]
        last = [min(number - 1, k + int(rng.exponential(8))) for k in range(number)]
        alive = [tuple(v for k, v in enumerate(values) if k <= step <= last[k]) for step in range(number)]
        uses = [Use(touched, (64 * int(rng.integers(0, 3)),)) for touched in alive]
        monkeypatch.setattr(memory_plan, "MANY", 0)
        plan, scratch = plan_memory(Graph("f", (), (), ()), (), (), uses)
        for step, use in enumerate(uses):
            bytes_ = [(plan.places[v].offset, memory_plan.align(memory_plan.value_bytes(v))) for v in use.touches]
            bytes_ += list(zip(scratch[step], map(memory_plan.align, use.scratch), strict=True))
            taken = sorted((start, start + size) for start, size in bytes_ if size)  # type: ignore[operator]
            assert all(end <= start for (_, end), (start, _) in pairwise(taken))
            assert all(end <= plan.arena_bytes for _, end in taken)
        assert plan.arena_bytes <= 1.5 * plan.live_bytes


def chain(length: int) -> Graph:
    """A chain of cheap operations."""
    b = Builder()
    x = b.input(f32[16], "x")
    y = x
    for k in range(length):
        y = b.add(y, x) if k % 2 else b.maximum(b.neg(y), x)
    return b.build([y], "chain")


def network(length: int) -> Graph:
    """Many products, each a step of its own."""
    return mlp_gradient(length // 25, rows=3, inputs=4, hidden=4, classes=3)


@pytest.mark.slow
@pytest.mark.parametrize("make", [chain, network])
def test_time_grows_with_the_length(make: Callable[[int], Graph]) -> None:
    """Five times the length, at most eight times the seconds."""
    seconds = []
    for length in (6_000, 30_000):
        graph = make(length)
        start = time.perf_counter()
        pipeline.build(graph)
        seconds.append(time.perf_counter() - start)
    assert seconds[1] < 8 * seconds[0], seconds
