"""No node without a reader.

    func @f(%x: f32[4]) -> f32[4] {
      %0 = exp %x : f32[4]
      %1 = neg %x : f32[4]
      return %1
    }
    // becomes
    func @f(%x: f32[4]) -> f32[4] {
      %0 = neg %x : f32[4]
      return %0
    }
"""

from __future__ import annotations

from rustorch.ir.analysis import live_nodes
from rustorch.ir.graph import Graph
from rustorch.ir.pattern import Log


def run(graph: Graph, log: Log | None = None) -> Graph:
    """The graph without the pure nodes that no output and no effect depends on."""
    live = live_nodes(graph)
    if log is not None:
        kept = set(map(id, live))
        for node in graph.nodes:
            if id(node) not in kept:
                log("no-reader", node, ())
    return graph if len(live) == len(graph.nodes) else Graph(graph.name, graph.inputs, tuple(live), graph.outputs)
