"""From recorded values to something that runs: inputs numbered by first use, outputs by definition, the rest outside.

Both doors come through here, so that the same program, recorded or traced, is the same graph and shares one compiled entry.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from rustorch import compiler
from rustorch.compiler import Compiled, NodeByNode
from rustorch.config import config
from rustorch.frontend.base import Array
from rustorch.ir.analysis import live_nodes
from rustorch.ir.dims import evaluate
from rustorch.ir.graph import Graph, Node, Value
from rustorch.ir.types import TensorType, Type
from rustorch.ops.interpret import interpret

REMEMBERED_SIZES = 4096
"""So many values of a program's dimensions are known to its native entry."""


@dataclass(frozen=True)
class Program:
    """A compiled graph between permutations: which inputs it reads, and which result is which."""

    graph: Graph
    inputs: tuple[int, ...]
    """Positions, in what `run` is given, of the graph's inputs."""
    outputs: tuple[tuple[bool, int], ...]
    """For each result of `run`: whether the graph computes it, and its place among the graph's outputs, else among the inputs."""
    copied: tuple[int, ...]
    """The results that need memory of their own: inputs that are passed through, and further copies of one output."""
    compiled: Compiled | None
    stepwise: NodeByNode | None = None
    """What runs it as long as it is not compiled; without it, the numpy references do."""
    types: dict[bytes, tuple[TensorType, ...]] = field(default_factory=dict)
    """Types of the graph's outputs by the values of its dimensions (64 bits each), for native entries."""

    @functools.cached_property
    def is_checked(self) -> bool:
        """Whether anomaly mode looks at its values: then the numpy references run it."""
        return any(node.op.name == "checked" for node in self.graph.nodes)

    @functools.cached_property
    def dims(self) -> tuple[str, ...]:
        """Names of the graph's symbolic dimensions, in the order of the compiled code's, where they may have other names."""
        names = (name for value in self.graph.inputs if isinstance(value.type, TensorType) for name in value.type.symbols())
        return tuple(dict.fromkeys(names))

    def note_sizes(self, sizes: Mapping[str, int]) -> None:
        """Let native entries take calls with these values of the graph's symbolic dimensions."""
        key = struct.pack(f"{len(self.dims)}q", *(sizes[name] for name in self.dims))
        if key not in self.types:
            if len(self.types) >= REMEMBERED_SIZES:
                self.types.clear()
            self.types[key] = tuple([sized(value.type, sizes) for value in self.graph.outputs])

    def run(self, arrays: Sequence[Array]) -> list[Array]:
        """The results for these inputs."""
        given = [arrays[i] for i in self.inputs]
        if not self.graph.outputs:
            found: Sequence[Array] = ()
        elif self.compiled is not None:
            found = self.compiled.run(given)
        elif self.stepwise is not None:
            found = self.stepwise.run(given)
        else:
            found = [np.asarray(x) for x in interpret(self.graph, given)]
        return self.arranged(found, arrays)

    def arranged(self, found: Sequence[Array], arrays: Sequence[Array]) -> list[Array]:
        """The results, given what the graph computed and what the program was given."""
        results = [found[i] if computed else arrays[i] for computed, i in self.outputs]
        for i in self.copied:
            results[i] = results[i].copy()
        return results


def sized(type_: Type, sizes: Mapping[str, int]) -> TensorType:
    """A tensor type with the values of its dimensions."""
    assert isinstance(type_, TensorType)
    return type_ if type_.is_static else TensorType(type_.dtype, tuple([evaluate(size, sizes) for size in type_.shape]))


def make_program(
    inputs: Sequence[Value],
    nodes: Sequence[Node],
    outputs: Sequence[Value],
    name: str = "main",
    eager: bool | None = None,
    later: bool = False,
) -> Program:
    """Compile what `outputs` depend on; the caller does that where it is left for `later`."""
    graph, given, places = runnable_form(inputs, nodes, outputs, name)
    eager = (config.eager if eager is None else eager) or any(node.op.name == "checked" for node in graph.nodes)
    copied = tuple(i for i, place in enumerate(places) if not place[0] or place in places[:i])
    return Program(graph, given, places, copied, None if eager or later or not graph.outputs else compiler.compile_graph(graph))


def runnable_form(
    inputs: Sequence[Value], nodes: Sequence[Node], outputs: Sequence[Value], name: str
) -> tuple[Graph, tuple[int, ...], tuple[tuple[bool, int], ...]]:
    """The normal form of what is going to run: an output that only stands for another value (an `alias`) is that value."""
    producer = {v: node for node in nodes for v in node.results}
    return normal_form(inputs, nodes, [_meant(v, producer) for v in outputs], name)


def normal_form(
    inputs: Sequence[Value], nodes: Sequence[Node], outputs: Sequence[Value], name: str
) -> tuple[Graph, tuple[int, ...], tuple[tuple[bool, int], ...]]:
    """The graph with its inputs in order of first use and its outputs, each once, in order of definition; and both permutations."""
    live = live_nodes(Graph(name, tuple(inputs), tuple(nodes), tuple(outputs)))
    position = {v: i for i, v in enumerate(inputs)}
    used = [v for v in dict.fromkeys(v for node in live for v in node.operands) if v in position]
    wanted = set(outputs)
    computed = [v for node in live for v in node.results if v in wanted]
    place = {v: i for i, v in enumerate(computed)}
    places = tuple((True, place[v]) if v in place else (False, position[v]) for v in outputs)
    return Graph(name, tuple(used), tuple(live), tuple(computed)), tuple(position[v] for v in used), places


def _meant(value: Value, producer: Mapping[Value, Node]) -> Value:
    """The value behind `custom`, `detach` and reshapes to the shape that it has already: what runs has no use for either."""
    node = producer.get(value)
    while node is not None and node.op.name in ("custom", "detach", "reshape"):
        place = node.attrs["inputs"] + node.results.index(value) if node.op.name == "custom" else 0
        if node.operands[place].type is not value.type:
            break
        value = node.operands[place]
        node = producer.get(value)
    return value
