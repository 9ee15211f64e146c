"""Long graphs in pieces: what code generation does to a graph must not take longer than its length says.

Fusion looks back at the steps that it has made, so a graph beyond `LONGEST` nodes is cut into runs of consecutive nodes that are
fused one by one. A piece hands values to later ones through memory. Constants and movement are not handed over but repeated
where they are read, so that they still cost nothing. All pieces share one memory plan and one native entry.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rustorch.codegen.fuse import Plan
from rustorch.codegen.views import is_virtual
from rustorch.ir.analysis import live_nodes, producers
from rustorch.ir.graph import Graph, Node, Value

LONGEST = 5000
"""Nodes of a piece, repeated ones not counted."""


def cut(graph: Graph, longest: int = LONGEST) -> list[Graph]:
    """The pieces in order; the graph itself where it is short. Their nodes and values are those of the graph."""
    return [graph] if len(graph.nodes) <= longest else _Cut(graph, longest).pieces()


class _Cut:
    def __init__(self, graph: Graph, longest: int) -> None:
        self.graph = graph
        self.producers = producers(graph)
        self.nodes = live_nodes(graph)
        self.position = {node: place for place, node in enumerate(self.nodes)}
        self.runs = [self.nodes[start : start + longest] for start in range(0, len(self.nodes), longest)]
        self.home = {v: number for number, run in enumerate(self.runs) for node in run if not _is_repeated(node) for v in node.results}
        """The piece that computes a value."""

    def pieces(self) -> list[Graph]:
        """All pieces."""
        returned = self._returned()
        bodies = [self._body([v for n in run if not _is_repeated(n) for v in n.operands], run) for run in self.runs[:-1]]
        last = [v for node in self.runs[-1] if not _is_repeated(node) for v in node.operands]
        bodies.append(self._body([*last, *returned[-1]], self.runs[-1]))
        outputs: list[dict[Value, None]] = [dict.fromkeys(found) for found in returned[:-1]]
        for _, given in bodies:
            for value in given:
                home = self.home.get(value)
                if home is not None and home < len(outputs):
                    outputs[home][value] = None
        found = [
            Graph(self.graph.name, tuple(given), tuple(nodes), tuple(out)) for (nodes, given), out in zip(bodies[:-1], outputs, strict=True)
        ]
        nodes, given = bodies[-1]
        return [*found, Graph(self.graph.name, tuple(given), tuple(nodes), tuple(returned[-1]))]

    def _returned(self) -> list[list[Value]]:
        """The graph's outputs by the piece that gives them: the one that computes it, for its first mention; else the last."""
        found: list[list[Value]] = [[] for _ in self.runs]
        seen: set[Value] = set()
        for value in self.graph.outputs:
            found[-1 if value in seen else self.home.get(value, -1)].append(value)
            seen.add(value)
        return found

    def _body(self, read: Iterable[Value], run: Sequence[Node]) -> tuple[list[Node], list[Value]]:
        """The nodes of a piece, repeated ones included, and the values that it is given, for what its own nodes read."""
        nodes = {node: None for node in run if not _is_repeated(node)}
        own = {v for node in nodes for v in node.results}
        given: dict[Value, None] = {}
        waiting = list(read)
        while waiting:
            value = waiting.pop()
            node = self.producers.get(value)
            if value in own or value in given or (node is not None and node in nodes):
                continue
            if node is not None and _is_repeated(node):
                nodes[node] = None
                waiting += node.operands
            else:
                given[value] = None
        return sorted(nodes, key=self.position.__getitem__), list(given)


def _is_repeated(node: Node) -> bool:
    """Whether a node costs so little that every piece has its own."""
    return not node.operands or node.op.name == "reshape" or is_virtual(node)


def join(graph: Graph, plans: Sequence[Plan]) -> Plan:
    """One plan of the plans of a graph's pieces; steps are numbered anew."""
    if len(plans) == 1:
        return plans[0]
    joined = Plan(graph, [], {}, producers(graph), {})
    lies_in: dict[Value, list[Value]] = {}
    for plan in plans:
        start = len(joined.steps)
        for step in plan.steps:
            step.index += start
        joined.steps += plan.steps
        joined.memory |= plan.memory
        joined.aliases |= plan.aliases
        for value, place in zip(plan.graph.outputs, plan.outputs, strict=True):
            lies_in.setdefault(value, []).append(place)
    joined.outputs = [lies_in[value].pop(0) for value in graph.outputs]
    return joined
