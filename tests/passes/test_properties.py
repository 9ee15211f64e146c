"""What every pass promises, on random graphs: the same values, a well-formed graph, and nothing left to do."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rustorch.ir.builder import Builder
from rustorch.ir.dtypes import f32
from rustorch.ir.graph import Graph
from rustorch.ir.location import Location
from rustorch.ir.printer import to_text
from rustorch.ir.types import element
from rustorch.ir.verifier import verify
from rustorch.ops import interpret
from rustorch.passes import canonicalize, dead_code, fold, inline, simplify
from tests.random_graphs import Case, random_case

Array = np.ndarray[Any, Any]

EXACT = [canonicalize.run, dead_code.run, fold.run]
"""Passes that keep every bit."""
NEAR = [inline.run, simplify.run]
"""Passes that may round otherwise: definitions of composite ops, powers as products."""


def same_bits(got: Array, want: Array) -> bool:
    """Equal, with NaN in the same places and the same signs of zero."""
    if got.dtype != want.dtype or got.shape != want.shape:
        return False
    if got.dtype.kind != "f":
        return np.array_equal(got, want)
    numbers = ~np.isnan(want)
    return np.array_equal(got, want, equal_nan=True) and np.array_equal(np.signbit(got)[numbers], np.signbit(want)[numbers])


def tolerance(graph: Graph) -> float:
    """Some ulp of the narrowest float in the graph, grown by a dozen ops."""
    single = any(element(v.type) is f32 for node in graph.nodes for v in (*node.operands, *node.results))
    return 1e-4 if single else 1e-12


@pytest.mark.parametrize("special", [True, False])
@pytest.mark.parametrize("run", EXACT, ids=lambda run: run.__module__.rpartition(".")[2])
@given(seed=st.integers(0, 2**32 - 1))
def test_passes_keep_the_bits(run: Any, special: bool, seed: int) -> None:
    case = random_case(seed, special=special)
    after = verify(run(case.graph))
    for got, want in zip(interpret(after, case.arrays), interpret(case.graph, case.arrays), strict=True):
        assert same_bits(got, want), f"{to_text(case.graph)}{to_text(after)}"
    assert run(after) is after


@pytest.mark.parametrize("run", NEAR, ids=lambda run: run.__module__.rpartition(".")[2])
@given(seed=st.integers(0, 2**32 - 1))
def test_passes_keep_the_meaning(run: Any, seed: int) -> None:
    case = random_case(seed, smooth=True)
    after = verify(run(case.graph))
    for got, want in zip(interpret(after, case.arrays), interpret(case.graph, case.arrays), strict=True):
        np.testing.assert_allclose(got, want, rtol=tolerance(case.graph), err_msg=to_text(case.graph))
    assert run(after) is after


@given(seed=st.integers(0, 2**32 - 1))
def test_the_passes_in_a_row_leave_nothing_to_do(seed: int) -> None:
    case: Case = random_case(seed, nodes=20)
    passes = [inline.run, canonicalize.run, simplify.run, dead_code.run]
    graph = case.graph
    for run in passes:
        graph = verify(run(graph))
    assert all(run(graph) is graph for run in passes)


def test_what_a_rule_makes_has_the_location_of_its_root() -> None:
    b = Builder()
    x = b.input(f32[3], "x")
    first, second = Location("a.py", 1, 1, "f"), Location("a.py", 2, 1, "f")
    with b.at(first):
        y = b.exp(x)
    with b.at(second):
        z = b.pow(y, b.const(3, y))
    graph = simplify.run(b.build([z]))
    assert [(n.op.name, n.location.line) for n in graph.nodes] == [("exp", 1), ("mul", 2), ("mul", 2)]
