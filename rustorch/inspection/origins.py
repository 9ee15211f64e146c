"""Which node of one stage is which node of another: every node carries a number from the traced graph to the assembly.

Passes keep the location of the node that they rewrite, whatever they make of it. A `Mark` is a location with a number, so a
graph whose nodes are marked tells afterwards, for every node of its result, which node it comes from. `Origins.mark` does
that stage by stage: a node keeps its number where it is the same operation on the same operands, or the same operation in
the same place on rewritten operands; any other node gets a number of its own whose parent is the node that it comes from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rustorch.ir.graph import Graph, Node, Value
from rustorch.ir.location import UNKNOWN, Location
from rustorch.ir.op import Trait
from rustorch.ir.printer import attribute_text


@dataclass(frozen=True)
class Mark(Location):
    """A location that knows the number of its node."""

    number: int = -1


@dataclass(frozen=True)
class Origin:
    """A node (or an input) that appears in one stage or more: what it is, where it first appears, and what it comes from."""

    number: int
    op: str
    """The op's name; `input` for an input of the graph."""
    type: str
    stage: str
    """The first stage that has it."""
    location: Location
    parents: tuple[int, ...] = ()


class Origins:
    """The numbers of all nodes of all stages."""

    def __init__(self) -> None:
        self.all: list[Origin] = []
        self._inputs: dict[tuple[int, str], int] = {}
        self._known: dict[tuple[Any, ...], int] = {}

    def mark(self, graph: Graph, stage: str) -> tuple[Graph, dict[Value, int]]:
        """The graph with marked nodes, made of the same values; and the number of each value.

        Regions are left as they are: a tensor graph has none.
        """
        numbers: dict[Value, int] = {}
        for position, value in enumerate(graph.inputs):
            key = (position, str(value.type))
            if key not in self._inputs:
                self._inputs[key] = self._new("input", (value,), stage, UNKNOWN)
            numbers[value] = self._inputs[key]
        taken: set[int] = set()
        marked: list[Node] = []
        for node in graph.nodes:
            number = self._number(node, numbers, stage, taken)
            taken.add(number)
            numbers.update((value, number) for value in node.results)
            at = node.location
            location = Mark(at.file, at.line, at.column, at.function, number)
            marked.append(Node(node.op, node.operands, node.attrs, node.results, node.regions, location))
        return Graph(graph.name, graph.inputs, tuple(marked), graph.outputs), numbers

    def _number(self, node: Node, numbers: dict[Value, int], stage: str, taken: set[int]) -> int:
        operands = [numbers[v] for v in node.operands]
        if Trait.COMMUTATIVE in node.op.traits:
            operands.sort()
        attrs = tuple(f"{name}={attribute_text(value)}" for name, value in sorted(node.attrs.items()))
        key = (node.op.name, tuple(operands), attrs, tuple(str(v.type) for v in node.results))
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = self._renewed(node, stage, taken)
        return known

    def _renewed(self, node: Node, stage: str, taken: set[int]) -> int:
        """The number of the node that this one was made from, where it is that node still; else a new number."""
        at = node.location
        parents = (at.number,) if isinstance(at, Mark) else ()
        if parents and at.number not in taken:  # type: ignore[attr-defined]
            parent = self.all[parents[0]]
            if (parent.op, parent.type) == (node.op.name, _type_text(node.results)):
                return parent.number
        return self._new(node.op.name, node.results, stage, Location(at.file, at.line, at.column, at.function), parents)

    def _new(self, op: str, results: Sequence[Value], stage: str, location: Location, parents: tuple[int, ...] = ()) -> int:
        self.all.append(Origin(len(self.all), op, _type_text(results), stage, location, parents))
        return len(self.all) - 1

    def ancestors(self, number: int) -> set[int]:
        """The nodes that a node comes from, in the same or an earlier stage; itself left out."""
        found: set[int] = set()
        pending = list(self.all[number].parents)
        while pending:
            parent = pending.pop()
            if parent not in found:
                found.add(parent)
                pending.extend(self.all[parent].parents)
        return found


def number_of(node: Node) -> int | None:
    """The number that a node was marked with, directly or through the passes that made it."""
    return node.location.number if isinstance(node.location, Mark) else None


def _type_text(values: Sequence[Value]) -> str:
    return ", ".join(str(v.type) for v in values)
