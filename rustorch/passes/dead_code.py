"""No node without a reader.

    func @f(%x: f32[4]) -> f32[4] {        func @f(%x: f32[4]) -> f32[4] {
      %0 = exp %x : f32[4]                   %0 = neg %x : f32[4]
      %1 = neg %x : f32[4]                   return %0
      return %1                            }
    }
"""

from __future__ import annotations

from rustorch.ir.analysis import live_nodes
from rustorch.ir.graph import Graph


def run(graph: Graph) -> Graph:
    """The graph without the pure nodes that no output and no effect depends on."""
    live = live_nodes(graph)
    return graph if len(live) == len(graph.nodes) else Graph(graph.name, graph.inputs, tuple(live), graph.outputs)
