"""Ops that are defined by other ops, replaced by their definition.

After this pass no node is left that code generation cannot lower; `detach` is gone too, so it runs after differentiation.

    func @f(%x: f32[4]) -> f32[4] {
      %0 = square %x : f32[4]
      return %0
    }
    // becomes
    func @f(%x: f32[4]) -> f32[4] {
      %0 = mul %x, %x : f32[4]
      return %0
    }
"""

from __future__ import annotations

from collections.abc import Sequence

from rustorch.ir.builder import Builder
from rustorch.ir.graph import Graph, Node, Value
from rustorch.ir.pattern import FunctionRule, Log, rewrite
from rustorch.ir.rewrite import replay
from rustorch.passes import dead_code


def _expand(b: Builder, node: Node) -> Value | None:
    if node.op.expand is None:
        return None
    result: Value | None = node.op.expand(b, *node.operands, **node.attrs)
    return result


RULES = (FunctionRule("expand", None, _expand),)


def _without_regions(b: Builder, node: Node, operands: tuple[Value, ...]) -> Sequence[Value] | None:
    """The definition of a node with regions: those state its derivative, which nobody asks for any more."""
    if node.op.expand is None or not (node.regions or len(node.results) > 1):
        return None
    results = node.op.expand(b, *operands, **node.attrs)
    return results if isinstance(results, (tuple, list)) else (results,)


def run(graph: Graph, log: Log | None = None) -> Graph:
    """The graph with every definition in place of its op, those inside definitions included."""
    if all(node.op.expand is None for node in graph.nodes):
        return graph
    if any(node.regions or len(node.results) > 1 for node in graph.nodes):
        graph = replay(graph, _without_regions)
    return dead_code.run(rewrite(graph, RULES, log))
