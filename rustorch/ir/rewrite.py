"""Replaying a graph through a builder: how every pass makes its result."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from rustorch.ir.builder import Builder, Rewriter
from rustorch.ir.graph import Graph, Node, Value
from rustorch.ir.op import Trait

Visit = Callable[[Builder, Node, tuple[Value, ...]], Sequence[Value] | None]


def replay_into(b: Builder, graph: Graph, values: Mapping[Value, Value], visit: Visit | None = None) -> dict[Value, Value]:
    """Emit the nodes of `graph` into `b`, with `values` standing for its inputs; gives old value → new value.

    `visit(b, node, operands)` may give replacement results for a node (with its new operands); None copies the node.
    Locations are those of the old nodes.
    """
    new = dict(values)
    _replay_nodes(b, graph, new, visit)
    return new


def _replay_nodes(b: Builder, graph: Graph, new: dict[Value, Value], visit: Visit | None) -> None:
    for node in graph.nodes:
        operands = tuple(new[v] for v in node.operands)
        with b.at(node.location):
            results = visit(b, node, operands) if visit is not None else None
            if results is None:
                results = b.emit(node.op, operands, node.attrs, tuple(_replay_region(b, node, r, new, visit) for r in node.regions))
        for old, value in zip(node.results, results, strict=True):
            if not value.hint and old.hint:
                value.hint = old.hint
            new[old] = value


def _replay_region(b: Builder, node: Node, region: Graph, new: dict[Value, Value], visit: Visit | None) -> Graph:
    """A region of a node again; it may read values around it, unless the op says that it does not."""
    inner = Builder(b.rewriter) if node.op.has(Trait.ISOLATED) else b.region(guarded=node.op.has(Trait.GUARDED))
    new.update((old, inner.input(old.type, old.hint)) for old in region.inputs)
    _replay_nodes(inner, region, new, visit)
    return inner.build([new[v] for v in region.outputs], region.name)


def replay(graph: Graph, visit: Visit | None = None, rewriter: Rewriter | None = None, name: str | None = None) -> Graph:
    """A new graph: `graph` with nodes replaced by what `visit` and `rewriter` make of them."""
    b = Builder(rewriter)
    values = {old: b.input(old.type, old.hint) for old in graph.inputs}
    new = replay_into(b, graph, values, visit)
    return b.build([new[v] for v in graph.outputs], name or graph.name)


def expansion(node: Node) -> Graph | None:
    """The op's definition by other ops, for the node's operand types and attributes: a graph from operands to results.

    None where the op has none for these types.
    """
    if node.op.expand is None:
        return None
    b = Builder()
    b.location = node.location
    operands = [b.input(v.type) for v in node.operands]
    results = node.op.expand(b, *operands, **node.attrs)
    if results is None:
        return None
    return b.build(results if isinstance(results, (tuple, list)) else (results,), node.op.name)
