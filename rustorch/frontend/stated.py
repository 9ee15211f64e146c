"""The end of a trace: the derivative of every `Function` that gradients may reach from outside becomes part of the graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rustorch.autodiff.forms import is_led
from rustorch.frontend.applied import Stated
from rustorch.ir.graph import Graph, Node, Value


def state_derivatives(trace: Any, numbers: Sequence[int]) -> dict[Value, Stated]:
    """For each applied Function on the way back from some numbers of a trace, by its first result: its derivative as regions."""
    building = trace.building
    applications = {building.values((n,))[0]: application for n, application in trace.packed.items()}
    if not applications:
        return {}
    needed = set(building.values(numbers))
    found: dict[Value, Stated] = {}
    for node in reversed(list(building.b.nodes)):
        if not any(v in needed for v in node.results):
            continue
        needed.update(v for i, v in enumerate(node.operands) if is_led(node, i))
        application = applications.get(node.results[0])
        if application is not None and hasattr(application, "regions") and not node.attrs.get("refusal"):
            found[node.results[0]] = application.regions(trace, node)
    return found


def with_regions(graph: Graph, stated: Mapping[Value, Stated]) -> Graph:
    """The graph with regions in its nodes `custom`."""
    if not stated:
        return graph
    return Graph(graph.name, graph.inputs, tuple(_with_region(node, stated) for node in graph.nodes), graph.outputs)


def _with_region(node: Node, stated: Mapping[Value, Stated]) -> Node:
    found = stated.get(node.results[0]) if node.results else None
    if found is None:
        return node
    attrs = {**node.attrs, "rules": found.rules}
    return Node(node.op, (*node.operands, *found.read), attrs, node.results, found.regions, node.location)
