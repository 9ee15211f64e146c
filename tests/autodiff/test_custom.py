"""Nodes `custom`: their regions are the derivative, in both directions and again; compiled, they are not there."""

from __future__ import annotations

import numpy as np
import pytest

import rustorch.ops  # noqa: F401  (registers the ops)
from rustorch.autodiff.jvp import jvp
from rustorch.autodiff.vjp import grad
from rustorch.errors import GradError
from rustorch.ir.analysis import digest
from rustorch.ir.parser import parse
from rustorch.ir.printer import to_text
from rustorch.ir.verifier import verify
from rustorch.ops import interpret
from rustorch.passes import inline

THRICE = """
func @f(%x: f64[]) -> f64[] {
  %y = mul %x, %x : f64[]
  %0 = custom %x, %y {inputs = 1, name = "Thrice", results = 1, rules = ["RULE"]} (%x1: f64[], %y1: f64[], %z: f64[], %moved: f64[]) {
    %1 = mul %x1, 3.0 : f64[]
    %2 = mul %1, %moved : f64[]
    yield %2
  } : f64[]
  return %0
}
"""
"""x^2, whose derivative is said to be 3x."""


@pytest.mark.parametrize("rule", ["vjp", "jvp"])
def test_one_rule_serves_both_directions_and_higher_orders(rule: str) -> None:
    graph = verify(parse(THRICE.replace("RULE", rule)))
    first, second = verify(grad(graph, [0])), verify(grad(grad(graph, [0]), [0]))
    assert [interpret(g, [np.float64(5)])[0] for g in (graph, first, second)] == [25.0, 15.0, 3.0]
    forward = verify(jvp(graph, [0]))
    assert interpret(forward, [np.float64(5), np.float64(2)]) == [25.0, 30.0]
    twice = verify(jvp(grad(graph, [0]), [0]))
    assert interpret(twice, [np.float64(5), np.float64(2)]) == [15.0, 6.0]


def test_text_reads_back_with_regions_that_stand_alone() -> None:
    graph = parse(THRICE.replace("RULE", "vjp"))
    again = parse(to_text(graph))
    assert digest(again) == digest(graph)
    (region,) = next(n for n in again.nodes if n.op.name == "custom").regions
    defined = {*region.inputs, *(v for n in region.nodes for v in n.results)}
    assert all(v in defined for n in region.nodes for v in n.operands)


def test_inlined_it_is_gone() -> None:
    graph = verify(inline.run(parse(THRICE.replace("RULE", "vjp"))))
    assert [n.op.name for n in graph.nodes] == ["mul"]


def test_without_regions_nothing_flows_and_a_refusal_is_raised() -> None:
    text = 'func @f(%x: f64[]) -> f64[] {\n  %0 = custom %x, %x {inputs = 1, name = "Once", results = 1} : f64[]\n  return %0\n}\n'
    assert interpret(grad(parse(text), [0]), [np.float64(5)]) == [0.0]
    with pytest.raises(GradError, match=r"^not twice$"):
        grad(parse(text.replace("inputs = 1", 'inputs = 1, refusal = "not twice"')), [0])
