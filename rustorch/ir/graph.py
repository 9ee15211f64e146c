"""The frozen SSA graph: values, nodes in topological order, regions.

Nothing here is ever mutated. A `Value`'s identity is its name; who uses it, or which node made it, is an analysis of a `Graph`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from rustorch.ir.location import UNKNOWN, Location
from rustorch.ir.op import OpDef
from rustorch.ir.types import Type

Attribute = Any
"""int, float, bool, str, size, element type, `Payload`, or a tuple of attributes."""


class Payload:
    """The elements of a constant array. Compared by content; printed by digest when large."""

    __slots__ = ("array", "digest")

    def __init__(self, array: np.ndarray[Any, Any]) -> None:
        self.array = np.ascontiguousarray(array).reshape(np.shape(array))
        self.array.setflags(write=False)
        content = f"{self.array.dtype.str}{self.array.shape}".encode() + self.array.tobytes()
        self.digest = hashlib.sha256(content).hexdigest()[:16]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Payload) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def __repr__(self) -> str:
        return f"Payload({self.array.dtype}{list(self.array.shape)} {self.digest})"


class Value:
    """A value of the graph; `hint` is a name for people, never part of the meaning."""

    __slots__ = ("type", "hint", "__weakref__")

    def __init__(self, type_: Type, hint: str = "") -> None:
        self.type, self.hint = type_, hint

    def __repr__(self) -> str:
        return f"<%{self.hint or hex(id(self))[-5:]}: {self.type}>"


class Node:
    """One operation: what, on which operands, with which attributes and regions, giving which results, from which line."""

    __slots__ = ("op", "operands", "attrs", "regions", "results", "location")

    def __init__(
        self,
        op: OpDef,
        operands: tuple[Value, ...],
        attrs: Mapping[str, Attribute],
        results: tuple[Value, ...],
        regions: tuple[Graph, ...] = (),
        location: Location = UNKNOWN,
    ) -> None:
        self.op, self.operands, self.attrs = op, operands, attrs
        self.results, self.regions, self.location = results, regions, location

    @property
    def result(self) -> Value:
        """The only result."""
        (value,) = self.results
        return value

    def __repr__(self) -> str:
        return f"<node {self.op.name} {list(self.operands)} {dict(self.attrs)}>"


class Graph:
    """A function: inputs, nodes in topological order, outputs. A region is a Graph whose outputs are what it yields."""

    __slots__ = ("name", "inputs", "nodes", "outputs", "__weakref__")

    def __init__(self, name: str, inputs: tuple[Value, ...], nodes: tuple[Node, ...], outputs: tuple[Value, ...]) -> None:
        self.name, self.inputs, self.nodes, self.outputs = name, inputs, nodes, outputs

    def __iter__(self) -> Iterator[Node]:
        return iter(self.nodes)

    def __len__(self) -> int:
        return len(self.nodes)

    def renamed(self, name: str) -> Graph:
        """The same graph under another name."""
        return Graph(name, self.inputs, self.nodes, self.outputs)

    def __repr__(self) -> str:
        return f"<graph @{self.name}: {len(self.inputs)} inputs, {len(self.nodes)} nodes, {len(self.outputs)} outputs>"
