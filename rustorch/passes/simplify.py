"""Fewer and cheaper nodes with the same bits: algebra, folding and canonical form, in one worklist on emission.

Every new node is tried against all rules before it is emitted, and so is what a rule makes of it; so one replay ends with
nothing left to do, and running the pass again changes nothing. The algebra is `ALGEBRA` in `ops/rules.py`.

    func @f(%x: f32[4]) -> f32[4] {
      %0 = add %x, %x : f32[4]
      %1 = mul %0, 1.0 : f32[4]
      return %1
    }
    // becomes
    func @f(%x: f32[4]) -> f32[4] {
      %0 = mul %x, 2.0 : f32[4]
      return %0
    }
"""

from __future__ import annotations

from rustorch.ir.graph import Graph
from rustorch.ir.pattern import AnyRule, Log, rewrite
from rustorch.ops.rules import ALGEBRA
from rustorch.passes import canonicalize, dead_code, fold

RULES: tuple[AnyRule, ...] = (*fold.RULES, *canonicalize.RULES, *ALGEBRA)


def run(graph: Graph, log: Log | None = None) -> Graph:
    """The graph after all rules; the same object where none fits and no node is dead."""
    return dead_code.run(rewrite(graph, RULES, log))
