"""Facts about a graph, computed when asked for: who uses a value, who made it, what is reachable, its digest."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable

from rustorch.ir.graph import Graph, Node, Value
from rustorch.ir.op import Trait
from rustorch.ir.printer import canonical_text


def producers(graph: Graph) -> dict[Value, Node]:
    """The node behind each value that a node made (top level)."""
    return {value: node for node in graph.nodes for value in node.results}


def users(graph: Graph) -> dict[Value, list[Node]]:
    """The nodes that read each value, in order (top level)."""
    found: dict[Value, list[Node]] = defaultdict(list)
    for node in graph.nodes:
        for value in dict.fromkeys(node.operands):
            found[value].append(node)
    return found


def live_nodes(graph: Graph, outputs: Iterable[Value] | None = None) -> list[Node]:
    """The nodes that outputs depend on, and those with effects, in order."""
    needed = set(graph.outputs if outputs is None else outputs)
    live: list[Node] = []
    for node in reversed(graph.nodes):
        if Trait.PURE not in node.op.traits or any(v in needed for v in node.results):
            live.append(node)
            needed.update(node.operands)
    return live[::-1]


def dependents(graph: Graph, roots: Iterable[Value]) -> set[Value]:
    """The values that depend on any of `roots`, roots included."""
    found = set(roots)
    for node in graph.nodes:
        if any(v in found for v in node.operands):
            found.update(node.results)
    return found


def digest(graph: Graph) -> str:
    """sha256 of the canonical text: names, hints and locations left out."""
    return hashlib.sha256(canonical_text(graph).encode()).hexdigest()
