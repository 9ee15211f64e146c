"""Graph to text: for people (`to_text`), for digests (`canonical_text`); `docs/ir.md` describes the language.

    func @loss(%x: f32[1024]) -> f32[] {
      %0 = mul %x, 2.0 : f32[1024]
      %1 = reduce_sum %0 {axes = [0]} : f32[]
      return %1
    }

A splat constant is written bare where its type is that of the result, and has a line of its own elsewhere. An attribute
called `type` is the result's type and is not written twice. Arrays above 16 elements are written by digest; `payloads`
gathers them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from rustorch.errors import CompilerBug
from rustorch.ir.dims import Dim, Size, rename, symbols
from rustorch.ir.graph import Attribute, Graph, Node, Payload, Value
from rustorch.ir.op import Trait
from rustorch.ir.types import BufferType, DType, TensorType, Type, VectorType, element

INLINE_ELEMENTS = 16
"""The largest array that is written out."""

_PLAIN_NAME = re.compile(r"[A-Za-z_]\w*")
_PLAIN_FUNCTION = re.compile(r"[A-Za-z_][\w.]*")


def to_text(graph: Graph, locations: bool = False) -> str:
    """The text of a graph; with `locations`, each line ends in a comment with the user's file and line."""
    return _Printer(graph, hints=True, locations=locations).function()


def canonical_text(graph: Graph) -> str:
    """The text that a digest is taken of: no function name, no hints, symbols of sizes renamed by first use."""
    return _Printer(graph, hints=False, locations=False).function()


def node_text(node: Node, graph: Graph | None = None) -> str:
    """The first line of a node, for messages; values are named as in the text of `graph` where one is given."""
    printer = _Printer(graph or Graph("", node.operands, (node,), ()), hints=True, locations=False)
    for value in (*printer.graph.inputs, *_defined(printer.graph)):
        printer.name(value)
    return printer.node_lines(node, "")[0]


def payloads(graph: Graph) -> dict[str, Payload]:
    """The arrays that the text mentions by digest only: the sidecar that `parse` needs."""
    found: dict[str, Payload] = {}

    def visit(attribute: Attribute) -> None:
        if isinstance(attribute, Payload) and attribute.array.size > INLINE_ELEMENTS:
            found[attribute.digest] = attribute
        elif isinstance(attribute, tuple):
            for part in attribute:
                visit(part)

    for node in walk(graph):
        for attribute in node.attrs.values():
            visit(attribute)
    return found


def walk(graph: Graph) -> Iterator[Node]:
    """All nodes, those of regions behind the node that has them."""
    for node in graph.nodes:
        yield node
        for region in node.regions:
            yield from walk(region)


def bare_constants(graph: Graph) -> dict[Value, Node]:
    """The splat constants that are written at their uses: each use is an operand of the type of the node's only result."""
    constants: dict[Value, Node] = {}
    used: set[Value] = set()
    kept: set[Value] = set()
    pending = [graph]
    while pending:
        region = pending.pop()
        kept.update(region.outputs)
        for node in region.nodes:
            if Trait.CONSTANT in node.op.traits and node.op.name == "const" and not isinstance(node.attrs["value"], Payload):
                constants[node.results[0]] = node
            only = node.results[0].type if len(node.results) == 1 else None
            for operand in node.operands:
                used.add(operand)
                if operand.type is not only:
                    kept.add(operand)
            pending.extend(node.regions)
    return {value: node for value, node in constants.items() if value in used and value not in kept}


# --- Parts that stand alone -------------------------------------------------------------------------------------------


def literal_text(value: Any, dtype: DType) -> str:
    """A number of an element type: shortest decimal that reads back, else hexadecimal; `nan`, `inf`, `-0.0` spelled."""
    if dtype.kind == "bool":
        return "true" if value else "false"
    if dtype.kind == "int":
        return str(int(value))
    number = float(value)
    if dtype.bits == 64:
        return repr(number)
    with np.errstate(over="ignore"):
        short = dtype.numpy.type(number)
    return str(short) if float(short) == number or number != number else number.hex()


def array_text(payload: Payload) -> str:
    """Nested brackets, or `payload<digest>` above 16 elements."""
    array = payload.array
    if array.size > INLINE_ELEMENTS:
        return f"payload<{payload.digest}>"
    kind = {"f": "float", "b": "bool"}.get(array.dtype.kind, "int")
    dtype = DType(array.dtype.name, "", kind, array.dtype.itemsize * 8)

    def text(part: np.ndarray[Any, Any]) -> str:
        if part.ndim == 0:
            return literal_text(part.item(), dtype)
        return f"[{', '.join(text(p) for p in part)}]"

    return text(array)


def function_name(name: str) -> str:
    """`@name`, quoted where it is not a plain dotted name."""
    return f"@{name}" if _PLAIN_FUNCTION.fullmatch(name) else f"@{json.dumps(name)}"


def attribute_text(value: Attribute, type_text: Callable[[Type], str] = str, size_text: Callable[[Size], str] = str) -> str:
    """An attribute's value."""
    if isinstance(value, (bool, np.bool_)):
        return "true" if value else "false"
    if isinstance(value, (int, np.integer)):
        return str(int(value))
    if isinstance(value, (tuple, list)):
        return f"[{', '.join([attribute_text(part, type_text, size_text) for part in value])}]"
    if isinstance(value, (float, np.floating)):
        return repr(float(value))
    if isinstance(value, str):
        return json.dumps(value)
    if value is None:
        return "none"
    if isinstance(value, Dim):
        return size_text(value)
    if isinstance(value, (DType, TensorType, VectorType, BufferType)):
        return type_text(value)
    if isinstance(value, Payload):
        return f"{array_text(value)} : {value.array.dtype.name}"
    raise CompilerBug(f"an attribute of {type(value).__name__} has no text: {value!r}")


class Names(dict[Value, str]):
    """The names of values, with the percent sign: hints made unique, numbers for values without a hint."""

    def __init__(self, hints: bool = True) -> None:
        super().__init__()
        self.hints = hints
        self.taken: dict[str, int] = {}
        self.numbered = 0

    def define(self, value: Value) -> str:
        """The name of a value; the first call for it decides."""
        known = self.get(value)
        if known is not None:
            return known
        if self.hints and value.hint:
            base = name = value.hint if _PLAIN_NAME.fullmatch(value.hint) else "_" + re.sub(r"\W", "_", value.hint)
            while name in self.taken:  # the counter makes many equal hints cost linear time
                self.taken[base] += 1
                name = f"{base}_{self.taken[base]}"
            self.taken[name] = 0
        else:
            name = str(self.numbered)
            self.numbered += 1
        self[value] = f"%{name}"
        return self[value]


# --- The printer ------------------------------------------------------------------------------------------------------


class _Printer:
    """One print: the names given so far, the texts of types, the constants written bare."""

    def __init__(self, graph: Graph, hints: bool, locations: bool) -> None:
        self.graph, self.hints, self.locations = graph, hints, locations
        self.bare = bare_constants(graph)
        self.names = Names(hints)
        self.name = self.names.define
        self.types: dict[Type, str] = {}
        self.symbols: dict[str, str] = {}

    def function(self) -> str:
        graph = self.graph
        name = function_name(graph.name) if self.hints else "@_"
        inputs = self.parameters(graph.inputs)
        types = self.type_list([v.type for v in graph.outputs], always=len(graph.outputs) == 0)
        lines = [f"func {name}({inputs}) -> {types} {{"]
        lines += self.body(graph, "  ", "return")
        lines.append("}\n")
        return "\n".join(lines)

    def body(self, graph: Graph, indent: str, last: str) -> list[str]:
        lines: list[str] = []
        bare = self.bare
        for node in graph.nodes:
            if not (node.results and node.results[0] in bare):
                lines += self.node_lines(node, indent)
        if graph.outputs or last == "return":
            lines.append(f"{indent}{last} {', '.join([self.names[v] for v in graph.outputs])}".rstrip())
        return lines

    def node_lines(self, node: Node, indent: str) -> list[str]:
        op, results = node.op, node.results
        head = f"{', '.join([self.name(v) for v in results])} = {op.name}" if results else op.name
        words = [head]
        attrs = node.attrs
        if op.name == "const":
            words.append(self.constant(node))
            attrs = {}
        elif node.operands:
            words.append(", ".join([self.operand(v) for v in node.operands]))
        if attrs:
            parts = [f"{k} = {self.attribute(v)}" for k, v in sorted(attrs.items()) if k != "type" or v is not results[0].type]
            if parts:
                words.append(f"{{{', '.join(parts)}}}")
        lines: list[str] = []
        for region in node.regions:
            lines.append(f"{indent}{' '.join(words)} ({self.parameters(region.inputs)}) {{")
            lines += self.body(region, indent + "  ", "yield")
            words = ["}"]
        if results:
            words += [":", self.type_list([v.type for v in results])]
        line = indent + " ".join(words)
        lines.append(f"{line:<56}  // {node.location.short}" if self.locations and node.location.line else line)
        return lines

    def constant(self, node: Node) -> str:
        value = node.attrs["value"]
        return array_text(value) if isinstance(value, Payload) else literal_text(value, element(node.results[0].type))

    def operand(self, value: Value) -> str:
        node = self.bare.get(value)
        return self.names[value] if node is None else self.constant(node)

    def parameters(self, values: Iterable[Value]) -> str:
        return ", ".join([f"{self.name(v)}: {self.type(v.type)}" for v in values])

    def attribute(self, value: Attribute) -> str:
        return attribute_text(value, self.type, self.size)

    def type_list(self, types: list[Type], always: bool = False) -> str:
        if len(types) == 1 and not always:
            return self.type(types[0])
        return f"({', '.join(map(self.type, types))})"

    def type(self, type_: Type) -> str:
        known = self.types.get(type_)
        if known is None:
            known = self.types[type_] = self.make_type(type_)
        return known

    def make_type(self, type_: Type) -> str:
        if self.hints or not isinstance(type_, (TensorType, BufferType)):
            return str(type_)
        text = f"{type_.dtype}[{', '.join(map(self.size, type_.shape))}]"
        return f"buf<{text}>" if isinstance(type_, BufferType) else text

    def size(self, size: Size) -> str:
        if self.hints or not isinstance(size, Dim):
            return str(size)
        for name in sorted(symbols(size)):
            self.symbols.setdefault(name, f"d{len(self.symbols)}")
        return str(rename(size, self.symbols))


def _defined(graph: Graph) -> Iterator[Value]:
    """Values that nodes define and that are not written bare, in the order of the text."""
    bare = bare_constants(graph)

    def inside(region: Graph) -> Iterator[Value]:
        for node in region.nodes:
            yield from (v for v in node.results if v not in bare)
            for inner in node.regions:
                yield from inner.inputs
                yield from inside(inner)

    return inside(graph)
