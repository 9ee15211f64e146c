"""The memory plan: values that live at the same time never share bytes, and little is wasted."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from rustorch.codegen.emit_driver import KernelCall
from rustorch.codegen.generate import UNBOUNDED, Generated
from rustorch.codegen.memory_plan import Use, plan_memory
from rustorch.codegen.products import gemm_work_bytes
from rustorch.compiler import compile_graph
from rustorch.ir.builder import Builder
from rustorch.ir.dims import evaluate, product, symbol
from rustorch.ir.dtypes import f32
from rustorch.ir.graph import Graph, Value
from rustorch.ir.types import element
from rustorch.ops import interpret
from rustorch.ops.interpret import bind_sizes
from tests.codegen.comparison import assert_close, check
from tests.codegen.execution import generated
from tests.codegen.networks import mlp, mlp_gradient, softmax
from tests.codegen.random_kernels import kernel_case


def touched(code: Generated, number: int) -> tuple[Value, ...]:
    """The memory that a call reads and writes."""
    call = code.calls[number]
    return call.memory if isinstance(call, KernelCall) else (call.left.value, call.right.value, call.result.value)


def check_plan(code: Generated, sizes: dict[str, int]) -> None:
    """Places of values whose lives meet are apart; scratch is apart from all that is alive at its step."""
    lives: dict[Value, tuple[int, int]] = {}
    for number in range(len(code.calls)):
        for value in touched(code, number):
            lives[value] = (lives.get(value, (number, 0))[0], number)

    def span(value: Value) -> tuple[int, int]:
        start = evaluate(code.memory.places[value].offset, sizes)
        return start, start + evaluate(value.type.size, sizes) * value.type.dtype.itemsize  # type: ignore[union-attr]

    spans = {v: span(v) for v in lives if code.memory.places[v].kind == "arena"}
    reused = {frozenset(pair) for kernel in code.kernels for pair in kernel.reused}
    end = evaluate(code.memory.arena_bytes, sizes)
    assert all(high <= end and low % 64 == 0 for low, high in spans.values())
    for v, w in combinations(spans, 2):
        met = min(lives[v][1], lives[w][1]) - max(lives[v][0], lives[w][0])
        together = met > 0 or (met == 0 and {v, w} not in reused)
        assert not together or spans[v][1] <= spans[w][0] or spans[w][1] <= spans[v][0], f"{v} and {w} share bytes"
    kernels = iter(code.kernels)
    for number, call in enumerate(code.calls):
        if isinstance(call, KernelCall):
            lengths = [product(t.shape) * t.dtype.itemsize for t in next(kernels).scratch]
            scratch = list(zip(call.scratch, lengths, strict=True))
        else:
            m, n, k = (s if isinstance(s, int) else UNBOUNDED for s in call.sizes)
            scratch = [(call.work, gemm_work_bytes(m, n, k, element(call.result.value.type).short, code.target))]
        for offset, length in scratch:
            start, stop = evaluate(offset, sizes), evaluate(offset + length, sizes)
            assert stop <= end
            for v, (low, high) in spans.items():
                if lives[v][0] <= number <= lives[v][1]:
                    assert stop <= low or high <= start, f"scratch of call {number} lies in {v}"


@pytest.mark.parametrize("symbolic", [False, True])
def test_no_two_live_values_overlap(symbolic: bool) -> None:
    for seed in range(60):
        case = kernel_case(seed, nodes=35, symbolic=symbolic, largest=1000)
        code = generated(case.graph)
        check_plan(code, bind_sizes(code.graph, case.arrays))


@pytest.mark.parametrize(
    "graph", [softmax(), mlp(4), mlp_gradient(1), mlp_gradient(2), mlp_gradient(5), mlp_gradient(3, rows=100, hidden=77)]
)
def test_little_of_the_arena_is_wasted(graph: Graph) -> None:
    plan = generated(graph).memory
    assert plan.arena_bytes <= 1.1 * plan.live_bytes  # type: ignore[operator]


def test_a_chain_of_products_needs_two_places() -> None:
    b = Builder()
    x, w = b.input(f32[64, 64], "x"), b.input(f32[64, 64], "w")
    for _ in range(10):
        x = b.dot_general(x, w, contract=((1,), (0,)), batch=((), ()))
    code = generated(b.build([x]))
    values = {code.memory.places[call.result.value].offset for call in code.calls[:-1]}  # type: ignore[union-attr]
    assert len(values) == 2


def test_symbolic_values_of_equal_size_share_places() -> None:
    n = symbol("n")
    b = Builder()
    x, w = b.input(f32[n, 8], "x"), b.input(f32[8, 8], "w")
    for _ in range(10):
        x = b.dot_general(x, w, contract=((1,), (0,)), batch=((), ()))
    graph = b.build([x])
    plan = generated(graph).memory
    assert len({str(place.offset) for place in plan.places.values() if place.kind == "arena"}) == 2
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal((33, 8)).astype(np.float32), rng.standard_normal((8, 8)).astype(np.float32)]
    assert_close(compile_graph(graph).run(arrays), interpret(graph, arrays), 1e-4, "chain")


def test_large_values_are_placed_first() -> None:
    """In order of steps the small value would lie at 0, and the large one behind it though the small one is dead by then."""
    small, middle, large = (Value(f32[size]) for size in (16, 32, 1024))
    plan, _ = plan_memory(Graph("g", (), (), ()), (), (), [Use((small,)), Use((small, middle)), Use((middle, large))])
    assert plan.places[large].offset == 0
    assert plan.places[middle].offset == 4096
    assert plan.places[small].offset == 0
    assert (plan.arena_bytes, plan.live_bytes) == (4096 + 128, 4096 + 128)


def test_scratch_lives_for_its_step_only() -> None:
    x, y = Value(f32[16]), Value(f32[16])
    plan, scratch = plan_memory(Graph("g", (), (), ()), (), (), [Use((x,), (100,)), Use((x, y), (100, 10))])
    assert [len(own) for own in scratch] == [1, 2]
    assert (plan.arena_bytes, plan.live_bytes) == (320, 320)


# --- Outputs --------------------------------------------------------------------------------------------------------------


def test_outputs_that_are_inputs_views_duplicates_and_constants() -> None:
    b = Builder()
    x, y = b.input(f32[3, 4], "x"), b.input(f32[4], "y")
    z = b.exp(x)
    array = b.const(np.arange(6, dtype=np.float32).reshape(2, 3), f32[2, 3])
    outputs = [
        x, x, z, z, b.transpose(x, perm=(1, 0)), b.transpose(z, perm=(1, 0)), b.reshape(z, shape=(12,)),
        b.reshape(x, shape=(2, 6)), b.const(2.0, f32[2]), b.const(2.0, f32[()]), array, array, b.iota(type=f32[2, 3], axis=1),
        b.broadcast_to(y, shape=(2, 4), dims=(1,)), b.slice(x, starts=(0, 1), limits=(3, 3), strides=(1, 1)),
        b.concat(x, x, axis=0), b.reduce_sum(x, axes=()),
    ]  # fmt: skip
    graph = b.build(outputs)
    got = check(graph, np.arange(12, dtype=np.float32).reshape(3, 4), np.ones(4, np.float32))
    assert len({a.ctypes.data for a in got}) == len(outputs), "every output has memory of its own"


def test_an_output_that_others_read_is_written_once() -> None:
    b = Builder()
    x, w = b.input(f32[8, 8], "x"), b.input(f32[8, 8], "w")
    hidden = b.tanh(x)
    graph = b.build([hidden, b.dot_general(hidden, w, contract=((1,), (0,)), batch=((), ()))])
    code = generated(graph)
    assert not any(place.kind == "arena" for place in code.memory.places.values())
    check(graph, np.eye(8, dtype=np.float32), np.ones((8, 8), np.float32))


def test_what_is_read_for_the_last_time_makes_room() -> None:
    """A product's result is changed in place, element by element; what is still needed, or read elsewhere, is not."""
    b = Builder()
    x, w = b.input(f32[64, 64], "x"), b.input(f32[64, 64], "w")
    dot = {"contract": ((1,), (0,)), "batch": ((), ())}
    y = b.exp(b.dot_general(x, w, **dot))
    in_place = b.dot_general(y, w, **dot)
    code = generated(b.build([in_place]))
    first, second = (call.result.value for call in code.calls if not isinstance(call, KernelCall))
    assert code.memory.places[second].kind == "output"
    assert code.memory.places[code.calls[2].left.value] == code.memory.places[first]  # type: ignore[union-attr]
    product_ = b.dot_general(x, w, **dot)
    code = generated(b.build([b.dot_general(b.add(product_, b.transpose(product_, perm=(1, 0))), w, **dot)]))
    (summed,) = [call for call in code.calls if isinstance(call, KernelCall)]
    assert len({code.memory.places[value].offset for value in summed.memory}) == 2
    rng = np.random.default_rng(0)
    check(b.build([in_place]), *(rng.standard_normal((64, 64)).astype(np.float32) / 16 for _ in range(2)))
