"""What a graph assumes about its dimensions: sizes that no type can decide while they have no value.

A graph that slices `x[2:]` off `x: f64[n]` holds for `n - 2 >= 0` only.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from rustorch.ir.dims import Atom, Dim, Size
from rustorch.ir.graph import Graph, Node
from rustorch.ir.types import TensorType


def assumed(graph: Graph) -> Iterator[tuple[Size, Node]]:
    """Sizes that a graph takes as not negative, and where: those of every result, and how far slices stay inside their operands."""
    for node in graph.nodes:
        for value in node.results:
            if isinstance(value.type, TensorType):
                yield from ((size, node) for size in value.type.shape)
        if node.op.name == "slice":
            (x,) = node.operands
            assert isinstance(x.type, TensorType)
            for size, start, limit in zip(x.type.shape, node.attrs["starts"], node.attrs["limits"], strict=True):
                yield from ((margin, node) for margin in (start, limit - start, size - limit))
        if node.op.name == "pad":
            yield from ((width, node) for width in (*node.attrs["low"], *node.attrs["high"]))


def least(size: Size, symbol: int) -> int | None:
    """A number that the size is never below where every symbol is at least `symbol`; None where none is known."""
    if not isinstance(size, Dim):
        return size
    total = 0
    for monomial, coefficient in size.terms:
        smallest = [_least_atom(atom, symbol) for atom in monomial]
        if any(one is None or one < 0 for one in smallest) or (monomial and coefficient < 0):
            return None
        total += coefficient * math.prod(one for one in smallest if one is not None)
    return total


def _least_atom(atom: Atom, symbol: int) -> int | None:
    if atom.kind == "symbol":
        return symbol
    left = least(atom.left, symbol)
    if atom.kind == "floordiv" and left is not None and isinstance(atom.right, int) and atom.right > 0:
        return left // atom.right
    return None


def decisive(graph: Graph) -> dict[Size, int]:
    """Sizes, and the smallest value that each must have for the graph to mean what it says.

    Symbols stand for at least 2. What is computed from them must be at least 2, too, where it is the size of a result, since the
    sizes 0 and 1 broadcast, and at least 0 elsewhere.
    """
    found: dict[Size, int] = {}
    for size, node in assumed(graph):
        if not isinstance(size, Dim):
            continue
        wanted = 2 if any(isinstance(v.type, TensorType) and size in v.type.shape for v in node.results) else 0
        known = least(size, 2)
        if known is None or known < wanted:
            found[size] = max(wanted, found.get(size, 0))
    return found
