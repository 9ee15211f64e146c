"""The partition into kernels: what is fused, what goes through memory, and that the plan is in order."""

from __future__ import annotations

import numpy as np

from rustorch.compiler import compile_graph
from rustorch.ir.builder import Builder
from rustorch.ir.dtypes import f32, i64
from tests.codegen.execution import generated, run_plan

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
