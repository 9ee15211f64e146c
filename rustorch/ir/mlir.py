"""Graph to MLIR's generic operation syntax, which upstream MLIR tools read (`mlir-opt --allow-unregistered-dialect`).

Ops are those of an unregistered dialect `rustorch`; tensors are MLIR's, with the sizes' text as encoding where a size is
symbolic: `tensor<?x3xf32, "n, 3">`; buffers are memrefs.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np

from rustorch.errors import CompilerBug
from rustorch.ir.dims import Dim, Size
from rustorch.ir.graph import Attribute, Graph, Node, Payload, Value
from rustorch.ir.location import Location
from rustorch.ir.printer import Names
from rustorch.ir.types import BufferType, DType, TensorType, Type, VectorType, element

_ELEMENTS = {"bool": "i1"}


def to_mlir(graph: Graph, locations: bool = False) -> str:
    """A module with the graph as its only function."""
    names = Names()
    inputs = ", ".join(f"{names.define(v)}: {mlir_type(v.type)}" for v in graph.inputs)
    types = f"{_types(graph.inputs)} -> {_types(graph.outputs)}"
    lines = ['"builtin.module"() ({', '  "func.func"() ({', f"  ^bb0({inputs}):"]
    lines += _body(graph, names, "    ", '"func.return"', locations)
    lines += [f"  }}) {{function_type = {types}, sym_name = {_string(graph.name)}}} : () -> ()", "}) : () -> ()", ""]
    return "\n".join(lines)


def mlir_type(type_: Type) -> str:
    """A type as MLIR spells it."""
    if isinstance(type_, DType):
        return _ELEMENTS.get(type_.short, type_.short)
    if isinstance(type_, VectorType):
        return f"vector<{type_.lanes}x{mlir_type(type_.dtype)}>"
    sizes = "".join(f"{s if isinstance(s, int) else '?'}x" for s in type_.shape)
    if isinstance(type_, BufferType):
        return f"memref<{sizes}{mlir_type(type_.dtype)}>"
    encoding = "" if type_.is_static else f', "{_sizes(type_.shape)}"'
    return f"tensor<{sizes}{mlir_type(type_.dtype)}{encoding}>"


def _sizes(shape: Sequence[Size]) -> str:
    return ", ".join(map(str, shape))


def _types(values: Sequence[Value]) -> str:
    return f"({', '.join(mlir_type(v.type) for v in values)})"


def _body(graph: Graph, names: Names, indent: str, last: str, locations: bool) -> list[str]:
    lines: list[str] = []
    for node in graph.nodes:
        lines += _node(node, names, indent, locations)
    lines.append(f"{indent}{last}({', '.join(names[v] for v in graph.outputs)}) : {_types(graph.outputs)} -> ()")
    return lines


def _node(node: Node, names: Names, indent: str, locations: bool) -> list[str]:
    results = ", ".join(names.define(v) for v in node.results)
    head = f'{results} = "rustorch.{node.op.name}"' if results else f'"rustorch.{node.op.name}"'
    line = f"{indent}{head}({', '.join(names[v] for v in node.operands)})"
    lines: list[str] = []
    for index, region in enumerate(node.regions):
        lines.append(f"{line} ({{" if index == 0 else f"{indent}}}, {{")
        inputs = ", ".join(f"{names.define(v)}: {mlir_type(v.type)}" for v in region.inputs)
        lines.append(f"{indent}^bb0({inputs}):")
        lines += _body(region, names, indent + "  ", '"rustorch.yield"', locations)
        line = f"{indent}}})"
    attrs = _attributes(node)
    place = f" {_location(node.location)}" if locations and node.location.line else ""
    lines.append(f"{line}{attrs} : {_types(node.operands)} -> {_types(node.results)}{place}")
    return lines


def _attributes(node: Node) -> str:
    """The attributes; one called `type` is the result's type, which MLIR writes anyway."""
    parts = []
    for name, value in sorted(node.attrs.items()):
        if node.op.name == "const" and name == "value":
            parts.append(f"value = {_constant(value, node.results[0].type)}")
        elif name != "type" or value is not node.results[0].type:
            parts.append(f"{name} = {_attribute(value)}")
    return f" {{{', '.join(parts)}}}" if parts else ""


def _constant(value: Attribute, type_: Type) -> str:
    if isinstance(value, Payload):
        return _attribute(value)
    dtype = element(type_)
    if dtype.kind == "bool":
        return "true" if value else "false"
    return f"{_number(value, dtype.bits) if dtype.is_floating_point else int(value)} : {dtype.short}"


def _attribute(value: Attribute) -> str:
    if isinstance(value, (bool, np.bool_)):
        return "true" if value else "false"
    if isinstance(value, (int, np.integer)):
        return f"{int(value)} : i64"
    if isinstance(value, (float, np.floating)):
        return f"{_number(float(value), 64)} : f64"
    if isinstance(value, (tuple, list)):
        return f"[{', '.join(map(_attribute, value))}]"
    if value is None:
        return "unit"
    if isinstance(value, (str, Dim)):
        return _string(str(value))
    if isinstance(value, (DType, TensorType, VectorType, BufferType)):
        return mlir_type(value)
    if isinstance(value, Payload):
        return _array(value.array)
    raise CompilerBug(f"an attribute of {type(value).__name__} has no MLIR text: {value!r}")


def _array(array: np.ndarray[Any, Any]) -> str:
    dtype = "i1" if array.dtype.kind == "b" else f"{'f' if array.dtype.kind == 'f' else 'i'}{array.dtype.itemsize * 8}"
    shape = "".join(f"{n}x" for n in array.shape)
    if array.size == 0:
        return f"dense<> : tensor<{shape}{dtype}>"
    if dtype == "i1":
        return f"dense<{str(array.tolist()).lower()}> : tensor<{shape}{dtype}>"
    little = array.astype(array.dtype.newbyteorder("<"))
    return f'dense<"0x{little.tobytes().hex().upper()}"> : tensor<{shape}{dtype}>'


def _number(value: float, bits: int) -> str:
    """A floating-point number: decimal where it is finite, else its bits."""
    if not math.isfinite(value):
        code, whole = ("<f", "<I") if bits == 32 else ("<d", "<Q")
        return f"0x{struct.unpack(whole, struct.pack(code, value))[0]:0{bits // 4}X}"
    mantissa, _, exponent = repr(value).partition("e")
    return f"{mantissa if '.' in mantissa else mantissa + '.0'}{'e' + exponent if exponent else ''}"


def _string(text: str) -> str:
    """Quoted, with the bytes of what is not plain as hexadecimal escapes."""
    plain = (chr(byte) if 32 <= byte < 127 and byte not in b'"\\' else f"\\{byte:02X}" for byte in text.encode())
    return f'"{"".join(plain)}"'


def _location(location: Location) -> str:
    return f"loc({_string(location.file)}:{location.line}:{location.column})"
