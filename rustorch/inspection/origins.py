"""Which node of one stage is which node of another: every node carries a number from the traced graph to the assembly.

Passes keep the location of the node that they rewrite, whatever they make of it. A `Mark` is a location with a number, so a
graph whose nodes are marked tells afterwards, for every node of its result, which node it comes from. `Origins.mark` does
that stage by stage: a node keeps its number where it is the same operation on the same operands, or the same operation in
the same place on rewritten operands; any other node gets a number of its own whose parents are the nodes that it comes from:
the one that it replaces, and those that are gone because it does their work too (the product in a fused multiply-add).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from rustorch.ir.analysis import dependents, live_nodes
from rustorch.ir.graph import Graph, Node, Value
from rustorch.ir.location import UNKNOWN, Location
from rustorch.ir.op import Trait
from rustorch.ir.printer import attribute_text


class Mark(Location):
    """A location that knows the number of its node, among the nodes of one inspection."""

    number: int
    origins: Origins

    def __init__(self, at: Location, number: int, origins: Origins) -> None:
        super().__init__(at.file, at.line, at.column, at.function)
        vars(self).update(number=number, origins=origins)  # around the frozen fields


class Origin(NamedTuple):
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
        self._places: dict[int, tuple[Location, list[int]]] = {}
        """By identity: the locations of unmarked nodes (one object for each operation that a user wrote), and their nodes."""
        self._before: list[Node] = []
        """The marked nodes of the stage before."""

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
        first_new = len(self.all)
        for node in graph.nodes:
            number = self._number(node, numbers, stage, taken)
            taken.add(number)
            numbers.update((value, number) for value in node.results)
            marked.append(Node(node.op, node.operands, node.attrs, node.results, node.regions, Mark(node.location, number, self)))
        self._absorb(taken, first_new)
        self._before = marked
        return Graph(graph.name, graph.inputs, tuple(marked), graph.outputs), numbers

    def _absorb(self, present: set[int], first_new: int) -> None:
        """A node of the stage before that is gone becomes a parent of what its readers became, where that is new."""
        heirs: dict[int, set[int]] = {}
        for origin in self.all[first_new:]:
            for parent in origin.parents:
                heirs.setdefault(parent, set()).add(origin.number)
        kept = present | heirs.keys()
        readers: dict[Value, set[int]] = {}
        for node in reversed(self._before):
            number = number_of(node)
            assert number is not None
            if number not in kept:
                read = {reader for value in node.results for reader in readers.get(value, ())}
                heirs[number] = {heir for reader in read for heir in heirs.get(reader, ())}
                for heir in heirs[number]:
                    self.all[heir] = self.all[heir]._replace(parents=(*self.all[heir].parents, number))
            for value in node.operands:
                readers.setdefault(value, set()).add(number)

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
        mark = at if isinstance(at, Mark) and at.origins is self else None
        parents = self._beside(node, stage) if mark is None else (mark.number,)
        if mark is not None and mark.number not in taken:
            parent = self.all[mark.number]
            if (parent.op, parent.type) == (node.op.name, _type_text(node.results)):
                return parent.number
        return self._new(node.op.name, node.results, stage, Location(at.file, at.line, at.column, at.function), parents)

    def _beside(self, node: Node, stage: str) -> tuple[int, ...]:
        """The nodes of earlier stages that have this node's location: backward nodes have that of the operation they derive."""
        at = node.location
        if not at.line:
            return ()
        numbers = self._places.setdefault(id(at), (at, []))[1]
        if all(self.all[number].stage == stage for number in numbers):
            numbers.append(len(self.all))
            return ()
        return tuple(number for number in numbers if self.all[number].stage != stage)

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

    def related(self, number: int) -> set[int]:
        """A node, the nodes that it comes from, and those that were made from it."""
        found = {number} | self.ancestors(number)
        made = {number}
        for origin in self.all[number + 1 :]:  # parents come before their children
            if not made.isdisjoint(origin.parents):
                made.add(origin.number)
        return found | made


def number_of(node: Node) -> int | None:
    """The number that a node was marked with, directly or through the passes that made it."""
    return node.location.number if isinstance(node.location, Mark) else None


def primal_part(graph: Graph) -> Graph:
    """The part of a recorded program that is no derivative, nor depends on one; the whole graph where there is none.

    Every operation that a user wrote has a location object of its own, and the backward nodes have that of the operation they
    derive. So a node whose location was left behind and comes back is a backward node.
    """
    seen: set[int] = set()
    current, back = 0, False
    derived: set[Value] = set()
    nodes: list[Node] = []
    forward = 0
    for node in graph.nodes:
        place = id(node.location)
        if place != current:
            current, back = place, place in seen and node.location.line > 0
            seen.add(place)
        if back or not derived.isdisjoint(node.operands):
            derived.update(node.results)
        else:
            nodes.append(node)
            forward = forward if derived else len(nodes)
    if not derived:
        return graph
    read = {v for node in nodes for v in node.operands}
    alive = dependents(Graph(graph.name, graph.inputs, tuple(nodes), ()), graph.inputs)
    last = [v for node in nodes[:forward] for v in node.results if v not in read and v in alive]  # a loss that nobody returns
    outputs = tuple(dict.fromkeys([*(v for v in graph.outputs if v not in derived), *last]))
    part = Graph(graph.name, graph.inputs, tuple(nodes), outputs)
    return Graph(graph.name, graph.inputs, tuple(live_nodes(part)), outputs)


def _type_text(values: Sequence[Value]) -> str:
    return ", ".join(str(v.type) for v in values)
