"""Hooks of a traced function whose gradients come from outside: what they do becomes part of the graph, as the derivative of a node.

A backward pass inside of the function calls hooks itself (`walk.py`). For one that comes later, when the function has become a graph, a
hooked value passes through a node `custom` that changes nothing, with a region that does to its cotangent what the hooks do. The hooks
are called once, when the function is traced.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rustorch.errors import TraceError, compose
from rustorch.frontend.applied import Stated
from rustorch.frontend.base import TensorBase
from rustorch.frontend.course import course
from rustorch.frontend.graph import OperationNode
from rustorch.frontend.hooks import call_tensor_hooks
from rustorch.frontend.rules import state_rules, traced_rule
from rustorch.frontend.segment import tensor_type
from rustorch.frontend.trace import Trace, set_embedding
from rustorch.ir.graph import Graph, Node, Value
from rustorch.ir.location import UNKNOWN
from rustorch.ir.op import REGISTRY

_ATTRIBUTES = {"name": "hook", "inputs": 1, "results": 1, "saves": False}


def hooked_nodes(trace: Trace, arguments: Sequence[TensorBase], numbers: Sequence[int]) -> list[Node]:
    """For each hooked value on the way back from some numbers, a node that its readers are to read instead."""
    hooks = {n: list(found.values()) for n, found in trace.hooks.items() if found}
    for x in arguments:
        if x._extra is not None and x._extra.hooks:
            hooks[x._number] = list(x._extra.hooks.values())
    watched = [n for n, node in trace.nodes.items() if node.before or node.after]
    if not numbers or not (hooks or watched):
        return []
    way = course(trace, tuple(numbers), tuple(trace.sources))
    for first in watched:
        if first in way.runs:
            raise TraceError(
                compose(
                    "gradients from outside would pass a node with hooks inside a traced function",
                    f"the node is {OperationNode(trace, first).name()} of the function {trace.name}",
                    todo="Take the gradients inside of the function, or put the hook on a tensor (register_hook).",
                )
            )
    found = []
    for number in sorted(hooks.keys() & way.reached):
        (value,) = trace.building.values((number,))
        found.append(_hooked(trace, value, hooks[number]))
    return found


def _hooked(trace: Trace, value: Value, hooks: Sequence[Any]) -> Node:
    node = Node(REGISTRY["custom"], (value, value), dict(_ATTRIBUTES), (Value(value.type, value.hint),), (), UNKNOWN)
    rule = traced_rule("hook", [tensor_type(value)], lambda given: [call_tensor_hooks(hooks, given[0], True)])
    stated: Stated = state_rules(trace, node, ("vjp",), [rule], behind=value)
    attrs = {**node.attrs, "rules": stated.rules}
    return Node(node.op, (*node.operands, *stated.read), attrs, node.results, stated.regions, UNKNOWN)


def with_hooked(graph: Graph, nodes: Sequence[Node]) -> Graph:
    """The graph, where readers of hooked values read what their nodes give."""
    if not nodes:
        return graph
    at = {node.operands[0]: node for node in nodes}
    new: dict[Value, Value] = {}
    placed: list[Node] = []

    def place(values: Sequence[Value]) -> None:
        for value in values:
            if value in at:
                node = at[value]
                operands = (value, value, *_of(node.operands[2:], new))
                placed.append(Node(node.op, operands, node.attrs, node.results, node.regions, UNKNOWN))
                new[value] = node.results[0]

    place(graph.inputs)
    for node in graph.nodes:
        placed.append(Node(node.op, _of(node.operands, new), node.attrs, node.results, node.regions, node.location))
        place(node.results)
    return Graph(graph.name, graph.inputs, tuple(placed), _of(graph.outputs, new))


def _of(values: Sequence[Value], new: Mapping[Value, Value]) -> tuple[Value, ...]:
    return tuple(new.get(v, v) for v in values)


set_embedding(hooked_nodes, with_hooked)
