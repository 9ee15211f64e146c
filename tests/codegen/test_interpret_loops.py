"""The loop interpreter itself: each op of the dialect, and what it refuses that native code would do silently."""

from __future__ import annotations

import numpy as np
import pytest

from rustorch.codegen.expand import expand_math
from rustorch.errors import CompilerBug
from rustorch.ir.builder import Builder
from rustorch.ir.dtypes import bool_, f32, i32, i64
from rustorch.ir.graph import Graph
from rustorch.ir.op import REGISTRY, Trait
from rustorch.ir.parser import parse
from rustorch.ir.printer import to_text
from rustorch.ir.types import BufferType, VectorType
from rustorch.ops import interpret_loops
from rustorch.ops.interpret_loops import run_kernel
from tests.codegen.comparison import Array
from tests.codegen.execution import generated
from tests.codegen.random_kernels import kernel_case


def kernel(body: str, inputs: str = "%x: buf<f32[8]>, %y: buf<f32[8]>") -> Graph:
    """A kernel as text, parsed."""
    lines = "\n".join(f"  {line.strip()}" for line in body.strip().splitlines())
    return parse(f"func @k({inputs}) -> () {{\n{lines}\n  return\n}}\n")


def run(body: str, x: Array, inputs: str = "%x: buf<f32[8]>, %y: buf<f32[8]>", **dims: int) -> Array:
    """What the kernel leaves in y, which starts as nines."""
    y = np.full(8, 9, np.float32)
    run_kernel(kernel(body, inputs), [x, y], dims)
    return y


COUNT = np.arange(8, dtype=np.float32)


def test_every_op_of_the_dialect_is_interpreted() -> None:
    assert {op.name for op in REGISTRY if op.has(Trait.LOOP)} | {"const"} == set(interpret_loops._LOOP)


def test_loads_and_stores() -> None:
    got = run(
        """
        %0 = const 2 : i64
        %1 = load %x, %0 {offset = 1, type = vec<4xf32>} : vec<4xf32>
        store %y, %0, %1 {offset = 0}
        """,
        COUNT,
    )
    np.testing.assert_array_equal(got, [9, 9, 3, 4, 5, 6, 9, 9])


def test_masked_lanes_are_zero_and_not_written() -> None:
    """And may lie outside the buffer."""
    got = run(
        """
        %0 = const 6 : i64
        %1 = const 2 : i64
        %2 = mask_below %1 {lanes = 4} : vec<4xbool>
        %3 = load %x, %0, %2 {offset = 0, type = vec<4xf32>} : vec<4xf32>
        %4 = const 0 : i64
        store %y, %4, %3 {offset = 0}
        store %y, %0, %3, %2 {offset = 0}
        """,
        COUNT,
    )
    np.testing.assert_array_equal(got, [6, 7, 0, 0, 9, 9, 6, 7])


def test_strides_and_indices() -> None:
    got = run(
        """
        %0 = const 7 : i64
        %1 = const -2 : i64
        %2 = load_strided %x, %0, %1 {offset = 0, type = vec<4xf32>} : vec<4xf32>
        %3 = const 0 : i64
        %4 = const 2 : i64
        store_strided %y, %3, %2, %4 {offset = 0}
        %5 = lane_index {lanes = 4} : vec<4xi64>
        %6 = const 3 : i64
        %7 = splat %6 {lanes = 4} : vec<4xi64>
        %8 = mul %5, %7 : vec<4xi64>
        %9 = mask_below %4 {lanes = 4} : vec<4xbool>
        %10 = load_indexed %x, %8, %9 : vec<4xf32>
        store_strided %y, %3, %10, %4 {offset = 1}
        """,
        COUNT,
    )
    np.testing.assert_array_equal(got, [7, 0, 5, 3, 3, 0, 1, 0])


def test_loops_carry_values() -> None:
    got = run(
        """
        %0 = const 0 : i64
        %1 = const 0.0 : f32
        %2 = for %0, %n, %1 {step = 2} (%i: i64, %a: f32) {
          %3 = load %x, %i {offset = 0, type = f32} : f32
          %4 = add %a, %3 : f32
          yield %4
        } : f32
        store %y, %0, %2 {offset = 0}
        """,
        COUNT,
        "%x: buf<f32[8]>, %y: buf<f32[8]>, %n: i64",
        n=7,
    )
    assert got[0] == 0 + 2 + 4 + 6


def test_lanes_are_combined_as_a_tree() -> None:
    """(1e8 + -1e8) + (1 + 1), where one after the other would lose a 1."""
    got = run(
        """
        %0 = const 0 : i64
        %1 = load %x, %0 {offset = 0, type = vec<4xf32>} : vec<4xf32>
        %2 = reduce_lanes %1 {combine = "add"} : f32
        store %y, %0, %2 {offset = 0}
        """,
        np.array([1e8, 1, -1e8, 1, 0, 0, 0, 0], np.float32),
    )
    assert got[0] == 2


def test_rare_work_runs_only_where_a_lane_needs_it() -> None:
    body = """
        %0 = const 0 : i64
        %1 = load %x, %0 {offset = 0, type = vec<4xf32>} : vec<4xf32>
        %2 = const 2.0 : vec<4xf32>
        %3 = gt %1, %2 : vec<4xbool>
        %4 = when %3, %1 () {
          %5 = neg %1 : vec<4xf32>
          yield %5
        } : vec<4xf32>
        store %y, %0, %4 {offset = 0}
        """
    np.testing.assert_array_equal(run(body, COUNT)[:4], [0, -1, -2, -3])
    np.testing.assert_array_equal(run(body, COUNT / 8)[:4], COUNT[:4] / 8)


def test_checks_set_the_flag() -> None:
    b = Builder()
    x, flag = b.input(BufferType(i64, (4,)), "x"), b.input(BufferType(i32, (1,)), "flag")
    chosen = b.emit(REGISTRY["load"], (x, b.const(0, i64)), {"type": VectorType(i64, 4), "offset": 0})[0]
    b.emit(REGISTRY["check"], (b.ge(chosen, 3), flag), {"number": 7})
    graph = b.build((), "checks")
    for values, expected in (([0, 1, 2, 1], 0), ([0, 3, 2, 1], 7)):
        found = np.zeros(1, np.int32)
        run_kernel(graph, [np.array(values), found])
        assert found[0] == expected


def test_loops_print_and_parse() -> None:
    """Kernels of random graphs, and what their functions expand to."""
    for seed in range(12):
        code = generated(kernel_case(seed, nodes=30, symbolic=seed % 2 == 1).graph)
        for lowered in code.kernels:
            for graph in (lowered.graph, expand_math(lowered.graph, code.target)):
                text = to_text(graph)
                assert to_text(parse(text)) == text


# --- Refusals -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("start", "lanes"), [(5, 4), (8, 1), (-1, 1)])
@pytest.mark.parametrize("op", ["load", "store"])
def test_memory_outside_a_buffer(op: str, start: int, lanes: int) -> None:
    type_ = f"vec<{lanes}xf32>" if lanes > 1 else "f32"
    body = f"%0 = const {start} : i64\n"
    body += (
        f"%1 = load %x, %0 {{offset = 0, type = {type_}}} : {type_}"
        if op == "load"
        else f"%1 = const 0.0 : {type_}\nstore %y, %0, %1 {{offset = 0}}"
    )
    with pytest.raises(CompilerBug, match=f"{op} outside its buffer"):
        run(body, COUNT)


def test_a_pure_load_from_what_the_kernel_writes() -> None:
    with pytest.raises(CompilerBug, match="load from a buffer that the kernel writes"):
        run("%0 = const 0 : i64\n%1 = load %y, %0 {offset = 0, type = f32} : f32\nstore %y, %0, %1 {offset = 1}", COUNT)
    got = run("%0 = const 0 : i64\n%1 = reload %y, %0 {offset = 0, type = f32} : f32\nstore %y, %0, %1 {offset = 1}", COUNT)
    assert got[1] == 9


def test_arrays_of_another_type() -> None:
    with pytest.raises(CompilerBug, match="is no flat array"):
        run("%0 = const 0 : i64", COUNT.astype(np.float64))
    with pytest.raises(CompilerBug, match="is no flat array"):
        run("%0 = const 0 : i64", COUNT.reshape(2, 4))


def test_bools_are_bytes_in_memory_and_lanes_in_loops() -> None:
    b = Builder()
    x, y = b.input(BufferType(bool_, (4,)), "x"), b.input(BufferType(bool_, (4,)), "y")
    zero = b.const(0, i64)
    loaded = b.emit(REGISTRY["load"], (x, zero), {"type": VectorType(bool_, 4), "offset": 0})[0]
    b.emit(REGISTRY["store"], (y, zero, b.not_(loaded)), {"offset": 0})
    graph = b.build((), "flip")
    assert to_text(parse(to_text(graph))) == to_text(graph)
    got = np.zeros(4, bool)
    run_kernel(graph, [np.array([True, False, True, True]), got])
    np.testing.assert_array_equal(got, [False, True, False, False])


def test_f32_is_not_silently_double() -> None:
    """Scalars of the dialect have their type: 1 + 2^-30 is 1 in f32."""
    b = Builder()
    y = b.input(BufferType(f32, (1,)), "y")
    total = b.sub(b.add(b.const(1.0, f32), b.const(2.0**-30, f32)), b.const(1.0, f32))
    b.emit(REGISTRY["store"], (y, b.const(0, i64), total), {"offset": 0})
    got = np.ones(1, np.float32)
    run_kernel(b.build((), "rounded"), [got])
    assert got[0] == 0
