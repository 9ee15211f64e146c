"""Graph to canonical text."""

from __future__ import annotations

from rustorch.ir.graph import Graph


def canonical_text(graph: Graph) -> str:
    """The text without names, hints and locations."""
    raise NotImplementedError(graph.name)
