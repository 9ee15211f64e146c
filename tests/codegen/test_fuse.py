"""The partition into kernels: what is fused, what goes through memory, and that the plan is in order."""

from __future__ import annotations

import numpy as np
import pytest

from rustorch.codegen.fuse import MAX_NODES, Plan, Step
from rustorch.compiler import compile_graph
from rustorch.ir.builder import Builder
from rustorch.ir.dims import symbol
from rustorch.ir.dtypes import f32, i64
from rustorch.ir.graph import Graph, Value
from rustorch.ir.op import Trait
from tests.codegen.comparison import check
from tests.codegen.execution import generated, run_plan
from tests.codegen.networks import DOT, bias, mlp, mlp_gradient, softmax, updates
from tests.codegen.random_kernels import kernel_case
from tests.random_graphs import random_case


def plan_of(graph: Graph) -> Plan:
    return generated(graph).plan


def kinds(graph: Graph) -> list[str]:
    return [step.kind for step in plan_of(graph).steps]


def names(step: Step) -> list[str]:
    return [node.op.name for node in step.nodes]


# --- What every plan promises ---------------------------------------------------------------------------------------------


def written(step: Step) -> set[Value]:
    """The memory that a step is the last to write."""
    if step.kind == "kernel":
        return {store.target for store in step.stores if store.strides is None}
    return {value for node in step.nodes for value in node.results}


def check_order(plan: Plan) -> None:
    """Each step reads only what earlier steps wrote, inputs, constants and its own members, and each node has one step."""
    ready = set(plan.graph.inputs)
    homes: dict[Value, Step] = {}
    for step in plan.steps:
        if step.kind == "fill":  # has the node of the pad, but reads nothing
            continue
        own = {v for node in step.nodes for v in node.results} | set(step.inlined) if step.kind == "kernel" else set()
        users = [node for node in (*step.nodes, *step.inlined.values()) if node not in step.combines]
        for value in [v for node in users for v in node.operands] + [s.value for s in step.stores]:
            base = plan.view(value).base
            node = plan.producers.get(base)
            made_here = node is not None and not node.operands
            assert base in ready or base in own or made_here, f"{step.kind} {step.index} reads {base} before it is there"
        for node in step.nodes if not step.partials else ():  # steps over blocks may compute a value again
            assert homes.setdefault(node.results[0], step) is step, f"{node} has two steps"
        ready |= written(step)
    assert ready.issuperset(plan.outputs)


@pytest.mark.parametrize("symbolic", [False, True])
def test_steps_read_what_is_there(symbolic: bool) -> None:
    for seed in range(80):
        check_order(plan_of(kernel_case(seed, nodes=40, symbolic=symbolic, largest=500).graph))


def test_steps_read_what_is_there_in_small_graphs() -> None:
    for seed in range(100):
        check_order(plan_of(random_case(seed, nodes=40).graph))


@pytest.mark.parametrize("graph", [mlp(3), mlp_gradient(3), softmax(), updates(5, 5, 7)])
def test_steps_read_what_is_there_in_networks(graph: Graph) -> None:
    check_order(plan_of(graph))


def test_kernels_have_one_space() -> None:
    """Members are full or kept; reductions reduce the axes of the kernel."""
    for seed in range(60):
        plan = plan_of(kernel_case(seed, nodes=40, largest=500).graph)
        for step in plan.kernels:
            assert len(step.nodes) <= MAX_NODES
            kept = tuple(step.shape[k] for k in step.kept)
            for node in [n for n in step.nodes if n not in step.sides]:
                shape = tuple(s for s in node.results[0].type.shape if s != 1)  # type: ignore[union-attr]
                assert shape in ((kept,) if node.op.has(Trait.REDUCTION) else (step.shape, kept))


# --- Vertical fusion ------------------------------------------------------------------------------------------------------


def test_a_chain_is_one_kernel() -> None:
    b = Builder()
    x = b.input(f32[8, 9], "x")
    y = x
    for _ in range(20):
        y = b.tanh(b.add(y, x))
    assert kinds(b.build([y])) == ["kernel"]


def test_softmax_is_one_kernel() -> None:
    for graph in (softmax(), softmax(1, 7), softmax(128, 1000)):
        assert kinds(graph) == ["kernel"]


def test_a_reduction_is_fused_with_what_it_reads_and_with_what_reads_it() -> None:
    b = Builder()
    x, y = b.input(f32[8, 9], "x"), b.input(f32[8, 9], "y")
    error = b.sub(x, y)
    loss = b.mul(b.reduce_sum(b.mul(error, error), axes=(0, 1)), 1 / 72)
    (step,) = plan_of(b.build([loss, b.mul(error, 2 / 72)])).steps
    assert (step.shape, step.reduced) == ((8, 9), frozenset({0, 1}))


def test_sums_over_different_axes_share_a_pass() -> None:
    """Columns are added up while rows pass by; a second step combines their blocks."""
    b = Builder()
    x = b.input(f32[8, 9], "x")
    plan = plan_of(b.build([b.reduce_sum(b.exp(x), axes=(0,)), b.reduce_sum(b.exp(x), axes=(1,))]))
    assert [step.reduced for step in plan.kernels] == [{1}, {0}]
    assert [names(step) for step in plan.kernels] == [["exp", "reduce_sum", "reduce_sum"], ["reduce_sum"]]


def test_sums_that_do_not_pass_by_are_kernels_of_their_own() -> None:
    """Over the middle axis, or of everything where rows do not fill the lanes."""
    b = Builder()
    x, y = b.input(f32[8, 9, 5], "x"), b.input(f32[8, 9], "y")
    sums = [b.reduce_sum(v, axes=axes) for v, axes in ((x, (2,)), (x, (1,)), (y, (1,)), (y, (0, 1)))]
    plan = plan_of(b.build(sums))
    assert [step.reduced for step in plan.kernels] == [{2}, {1}, {1}, {0, 1}]
    assert "a reduction over other axes" in plan.kernels[1].reason
    assert "a reduction over other axes" in plan.kernels[3].reason


def test_what_reads_a_sum_that_passed_by_comes_later() -> None:
    b = Builder()
    x = b.input(f32[8, 9], "x")
    rows, columns = b.reduce_sum(x, axes=(1,)), b.reduce_sum(x, axes=(0,))
    y = b.mul(x, b.broadcast_to(columns, shape=(8, 9), dims=(1,)))
    plan = plan_of(b.build([rows, b.exp(y)]))
    assert [names(step) for step in plan.kernels] == [["reduce_sum", "reduce_sum"], ["reduce_sum"], ["mul", "exp"]]


def test_pads_compute_again_what_is_cheap() -> None:
    """The gradient of a sum over neighbours is one kernel; what is dear goes through memory, and is read where it lies."""
    b = Builder()
    x = b.input(f32[50], "x")
    part = b.slice(x, starts=(1,), limits=(50,), strides=(1,))
    left, right = b.pad(b.mul(part, 2.0), low=(1,), high=(0,), value=0.0), b.pad(b.mul(part, part), low=(0,), high=(1,), value=0.0)
    (step,) = plan_of(b.build([b.add(left, right)])).steps
    assert names(step) == ["pad", "pad", "add"]
    assert len(step.inlined) == 2
    plan = plan_of(b.build([b.pad(b.tanh(part), low=(1,), high=(0,), value=0.0)]))
    assert [names(step) for step in plan.kernels] == [["tanh"], ["pad"]]


def test_transposed_readers_wait() -> None:
    b = Builder()
    x = b.input(f32[9, 9], "x")
    y = b.exp(x)
    plan = plan_of(b.build([b.add(y, b.transpose(y, perm=(1, 0)))]))
    assert [names(step) for step in plan.kernels] == [["exp"], ["add"]]
    assert "reads a member at another index" in plan.kernels[1].reason


def test_no_path_leads_out_of_a_kernel_and_back() -> None:
    """tanh reads the exp of its own space and the product of it: in one kernel it would wait for itself."""
    b = Builder()
    x, w = b.input(f32[8, 8], "x"), b.input(f32[8, 8], "w")
    y = b.exp(x)
    graph = b.build([b.tanh(b.add(y, b.dot_general(y, w, **DOT)))])
    assert kinds(graph) == ["kernel", "product", "kernel"]
    assert "would make a cycle" in plan_of(graph).kernels[1].reason


def test_full_kernels_stop_growing() -> None:
    b = Builder()
    y = x = b.input(f32[8], "x")
    for k in range(3 * MAX_NODES):
        y = b.maximum(b.mul(y, x), 0.5 + k)
    graph = b.build([y])
    sizes = [len(step.nodes) for step in plan_of(graph).kernels]
    assert sum(sizes) == 6 * MAX_NODES
    assert max(sizes) <= MAX_NODES
    check(graph, np.linspace(-1, 1, 8, dtype=np.float32))


# --- Horizontal fusion ------------------------------------------------------------------------------------------------------


def test_readers_of_one_input_share_a_kernel() -> None:
    b = Builder()
    x = b.input(f32[100], "x")
    outputs = [b.exp(x), b.reduce_sum(x, axes=(0,)), b.reduce_max(b.mul(x, x), axes=(0,)), b.neg(x)]
    assert kinds(b.build(outputs)) == ["kernel"]


def test_an_update_is_one_kernel() -> None:
    """Of one parameter: w and its velocity; parameters of other sizes have kernels of their own."""
    assert len(plan_of(updates(100)).kernels) == 1
    assert len(plan_of(updates(100, 50)).kernels) == 2


def test_kernels_that_share_only_numbers_stay_apart() -> None:
    """Fused they would save no memory traffic and need more code; apart, equal ones are emitted once."""
    b = Builder()
    x, y, rate = b.input(f32[100], "x"), b.input(f32[100], "y"), b.input(f32[()], "rate")
    scale = b.broadcast_to(rate, shape=(100,), dims=())
    assert kinds(b.build([b.mul(b.exp(x), scale), b.mul(b.exp(y), scale)])) == ["kernel", "kernel"]
    assert kinds(updates(100, 100)) == ["kernel", "kernel"]
    assert generated(updates(*[100] * 5)).llvm.count("define internal") == 1


# --- Counts of known programs ----------------------------------------------------------------------------------------------


def test_layers_of_a_network() -> None:
    """Forward: a product and a kernel a layer; the last kernel makes the loss, in two passes over classes and rows."""
    for depth in (2, 3, 4):
        assert kinds(mlp(depth)) == ["product", "kernel"] * depth + ["kernel"]


def test_gradients_of_a_network() -> None:
    """Backward: two products a layer but the first, which has one, and a kernel a layer for the cotangent and the bias."""
    for depth in (2, 3, 4):
        counted = kinds(mlp_gradient(depth))
        assert counted.count("product") == depth + 2 * depth - 1
        assert counted.count("kernel") == (depth - 1) + 4 + (depth - 1)
        assert set(counted) == {"product", "kernel"}


# --- Memory -----------------------------------------------------------------------------------------------------------------


def test_movement_costs_nothing_where_readers_follow_it() -> None:
    b = Builder()
    x = b.input(f32[6, 8], "x")
    moved = b.flip(b.slice(b.transpose(x, perm=(1, 0)), starts=(1, 0), limits=(8, 6), strides=(2, 1)), axes=(1,))
    (step,) = plan_of(b.build([b.exp(moved)])).steps
    assert names(step) == ["exp"]


def test_a_reshape_of_memory_is_another_name_for_it() -> None:
    b = Builder()
    x, w = b.input(f32[2, 3, 8], "x"), b.input(f32[8, 4], "w")
    y = b.dot_general(b.reshape(x, shape=(6, 8)), w, **DOT)
    assert kinds(b.build([b.exp(b.reshape(y, shape=(2, 3, 4)))])) == ["alias", "product", "alias", "kernel"]


def test_parts_of_a_concat_are_written_to_their_places() -> None:
    b = Builder()
    x, y = b.input(f32[2, 3], "x"), b.input(f32[2, 4], "y")
    plan = plan_of(b.build([b.concat(b.exp(x), y, axis=1)]))
    placed = [(store.offset, store.strides) for step in plan.kernels for store in step.stores if store.strides is not None]
    assert placed == [(0, (7, 1)), (3, (7, 1))]


def test_what_a_step_does_not_share_has_a_reason() -> None:
    """The obstacle that kept its first node out of the kernels it came near to; none where no kernel came into question."""
    reasons = [step.reason.partition(": ")[2] for step in plan_of(mlp_gradient(2)).kernels]
    assert reasons == ["", "", "", "a reduction over other axes", "", "would make a cycle"]


def test_axes_of_size_1_do_not_count() -> None:
    b = Builder()
    x, y = b.input(f32[1, 8, 1, 9], "x"), b.input(f32[8, 9], "y")
    z = b.reshape(b.exp(x), shape=(8, 9))
    total = b.reduce_sum(b.add(z, y), axes=(1,))
    kept = b.broadcast_to(b.reshape(total, shape=(8, 1)), shape=(8, 9), dims=(0, 1))
    (step,) = plan_of(b.build([b.div(z, kept)])).steps
    assert (step.shape, step.reduced) == ((8, 9), frozenset({1}))


def test_symbolic_sizes_fuse_like_known_ones() -> None:
    m, n = symbol("m"), symbol("n")
    b = Builder()
    x, v = b.input(f32[m, n], "x"), b.input(f32[n], "v")
    y = bias(b, x, v)
    assert kinds(b.build([b.sub(y, b.broadcast_to(b.reduce_max(y, axes=(1,)), shape=(m, n), dims=(0,)))])) == ["kernel"]


# --- Bugs that were ----------------------------------------------------------------------------------------------------


def test_a_gather_waits_until_all_of_its_operand_is_there() -> None:
    b = Builder()
    x, i = b.input(f32[300], "x"), b.input(i64[300], "i")
    graph = b.build([b.gather(b.neg(x), i, axis=0)])
    numbers = np.arange(300, dtype=np.float32)
    (got,) = compile_graph(graph).run([numbers, np.arange(300)[::-1].copy()])
    np.testing.assert_array_equal(got, -numbers[::-1])


def test_an_operand_that_gets_memory_ends_earlier_views_through_it() -> None:
    """The first reshape could name the memory of x, if the second did not give memory to the transpose in between."""
    b = Builder()
    x = b.input(f32[4, 3], "x")
    turned = b.transpose(x, perm=(1, 0))
    back = b.transpose(b.reshape(turned, shape=(3, 1, 4)), perm=(2, 1, 0))
    graph = b.build([b.add(b.reshape(back, shape=(12,)), 1.0), b.mul(b.reshape(turned, shape=(12,)), 2.0)])
    numbers = np.arange(12, dtype=np.float32).reshape(4, 3)
    for got in (compile_graph(graph).run([numbers]), run_plan(generated(graph), [numbers])):
        np.testing.assert_array_equal(got[0], numbers.reshape(-1) + 1)
        np.testing.assert_array_equal(got[1], numbers.T.reshape(-1) * 2)


def test_a_reshape_of_a_part_is_no_name_for_the_whole() -> None:
    """The first rows lie together; the first columns do not."""
    numbers = np.arange(30, dtype=np.float32).reshape(5, 6)
    for limits, expected in (((3, 6), ["alias", "kernel"]), ((3, 4), ["kernel", "alias", "kernel"])):
        b = Builder()
        x = b.input(f32[5, 6], "x")
        part = b.slice(x, starts=(0, 0), limits=limits, strides=(1, 1))
        graph = b.build([b.neg(b.reshape(part, shape=(limits[0] * limits[1],)))])
        (got,) = compile_graph(graph).run([numbers])
        np.testing.assert_array_equal(got, -numbers[: limits[0], : limits[1]].reshape(-1))
        assert kinds(graph) == expected


def test_a_copy_is_read_by_a_later_kernel() -> None:
    """The transpose is copied for the reshape; its other reader has the same space, but must not join the copying kernel."""
    b = Builder()
    x = b.input(f32[4, 3], "x")
    turned = b.transpose(x, perm=(1, 0))
    graph = b.build([b.neg(b.reshape(turned, shape=(12,))), b.exp(turned)])
    assert [names(step) for step in plan_of(graph).kernels] == [["transpose"], ["neg"], ["exp"]]
    numbers = np.arange(12, dtype=np.float32).reshape(4, 3)
    np.testing.assert_array_equal(run_plan(generated(graph), [numbers])[1], np.exp(numbers.T))


def test_kernels_that_only_pads_read_are_waited_for_by_nobody() -> None:
    b = Builder()
    x = b.input(f32[3, 4], "x")
    ends = [b.slice(x, starts=(0, k), limits=(3, k + 1), strides=(1, 1)) for k in (0, 3)]
    middle = b.mul(b.slice(x, starts=(0, 1), limits=(3, 3), strides=(1, 1)), 0.5)
    total = b.add(b.pad(ends[1], low=(0, 2), high=(0, 0), value=0.0), b.pad(ends[0], low=(0, 0), high=(0, 2), value=0.0))
    total = b.add(b.add(total, b.pad(middle, low=(0, 1), high=(0, 0), value=0.0)), b.pad(middle, low=(0, 0), high=(0, 1), value=0.0))
    right, left = b.pad(b.neg(total), low=(0, 0), high=(0, 1), value=0.0), b.pad(total, low=(0, 1), high=(0, 0), value=0.0)
    check(b.build([b.add(right, left)], "gradient_of_differences"), np.arange(12, dtype=np.float32).reshape(3, 4))
