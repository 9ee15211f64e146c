"""Numerical stability: formulas that lose digits or overflow, replaced by ones that do not.

Runs before differentiation, so that derivatives are safe too. The rules are `STABILITY` in `ops/rules.py`.

    func @f(%x: f32[4]) -> f32[4] {
      %0 = add %x, 1.0 : f32[4]
      %1 = log %0 : f32[4]
      return %1
    }
    // becomes
    func @f(%x: f32[4]) -> f32[4] {
      %0 = log1p %x : f32[4]
      return %0
    }
"""

from __future__ import annotations

from rustorch.ir.graph import Graph
from rustorch.ir.pattern import Log, rewrite
from rustorch.ops.rules import STABILITY
from rustorch.passes import dead_code


def run(graph: Graph, log: Log | None = None) -> Graph:
    """The graph with each unstable formula replaced."""
    new = rewrite(graph, STABILITY, log)
    return graph if new is graph else dead_code.run(new)
