"""Products that are only added become fused multiply-adds: the one rule that makes an `fma`.

    %2 = mul %x, %y : f32[n]          %3 = fma %x, %y, %z : f32[n]
    %3 = add %2, %z : f32[n]    →

It runs last, so that no other rule has to know `fma`, and for products with one reader only. `z - x*y` and `x*y - z` become
`fma(-x, y, z)` and `fma(x, y, -z)`; targets without the instruction round twice, as before.
"""

from __future__ import annotations

from collections.abc import Sequence

from rustorch.ir.analysis import producers, users
from rustorch.ir.builder import Builder
from rustorch.ir.graph import Graph, Node, Value
from rustorch.ir.pattern import Log
from rustorch.ir.rewrite import replay
from rustorch.ir.types import element


def run(graph: Graph, log: Log | None = None) -> Graph:
    """The graph with its single-reader products contracted; the same object where there is none."""
    made, read = producers(graph), users(graph)
    returned = set(graph.outputs)
    products: dict[Node, tuple[Node, int]] = {}
    """For each sum, the product that goes into it, and which operand that is."""
    for node in graph.nodes:
        if node.op.name not in ("add", "sub") or element(node.results[0].type).kind != "float":
            continue
        if node.operands[0] is node.operands[1]:
            continue
        for place, operand in enumerate(node.operands):
            product = made.get(operand)
            if product is not None and product.op.name == "mul" and len(read[operand]) == 1 and operand not in returned:
                products[node] = (product, place)
                break
    if not products:
        return graph
    gone = {product for product, _ in products.values()}
    new: dict[Value, Value] = {}

    def visit(b: Builder, node: Node, operands: tuple[Value, ...]) -> Sequence[Value] | None:
        if node in gone:
            new.update(zip(node.operands, operands, strict=True))
            return operands[:1]  # read by nobody
        found = products.get(node)
        if found is None:
            return None
        product, place = found
        x, y = (new[v] for v in product.operands)
        other = operands[1 - place]
        if node.op.name == "sub":
            if place == 1:
                x, y = _negated(b, x, y)
            else:
                other = b.neg(other)
        result: Value = b.fma(x, y, other)
        if log is not None:
            log("contract", node, (result,))
        return (result,)

    return replay(graph, visit)


def _negated(b: Builder, x: Value, y: Value) -> tuple[Value, Value]:
    """Two factors of -(x y). Of a broadcast one, what is broadcast is negated."""
    for first, second in ((x, y), (y, x)):
        node = b.producer(first)
        if node is not None and node.op.name == "broadcast_to":
            return b.broadcast_to(b.neg(node.operands[0]), **node.attrs), second
    return b.neg(x), y
