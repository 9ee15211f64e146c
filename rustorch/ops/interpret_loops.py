"""Loop graphs by the ops' numpy references, one lane array at a time: the oracle between lowering and LLVM.

    run_kernel(graph, [x, y, flag], {"n": 5})        # writes into the arrays of its buffers

Stricter than native code: every element that is read or written must lie inside its buffer, a `load` must not read from a
buffer that the kernel writes (it may be moved out of loops), and every result must have its inferred type.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from rustorch.errors import CompilerBug, compose
from rustorch.ir.graph import Graph, Node, Value
from rustorch.ir.op import REGISTRY
from rustorch.ir.types import BufferType, Type, VectorType, element

Array = np.ndarray[Any, Any]

_PURE_LOADS = ("load", "load_strided", "load_indexed")
_STORES = ("store", "store_strided")


def run_kernel(graph: Graph, buffers: Sequence[Array], dims: Mapping[str, int] | None = None) -> None:
    """Run a kernel on the memory of its buffers, which are flat arrays in the order of the inputs; `dims` gives the sizes by name."""
    sizes = dims or {}
    given = iter(buffers)
    values: dict[Value, Any] = {}
    for value in graph.inputs:
        if isinstance(value.type, BufferType):
            array = next(given)
            if array.ndim != 1 or array.dtype != value.type.dtype.numpy or not array.flags.c_contiguous:
                raise CompilerBug(f"@{graph.name}: {value.type} is no flat array, but {array.dtype}{list(array.shape)}")
            values[value] = array
        else:
            values[value] = np.int64(sizes[value.hint])
    written = {node.operands[0] for node in _all_nodes(graph) if node.op.name in _STORES}
    for node in _all_nodes(graph):
        if node.op.name in _PURE_LOADS and node.operands[0] in written:
            raise CompilerBug(compose(f"@{graph.name}: {node.op.name} from a buffer that the kernel writes", at=str(node.location)))
    with np.errstate(all="ignore"):
        _run(graph.nodes, values)


def _all_nodes(graph: Graph) -> list[Node]:
    return [inner for node in graph.nodes for inner in (node, *(n for region in node.regions for n in _all_nodes(region)))]


def _run(nodes: Sequence[Node], values: dict[Value, Any]) -> None:
    for node in nodes:
        run = _LOOP.get(node.op.name, _elementwise)
        results = run(node, values)
        for value, result in zip(node.results, results, strict=True):
            values[value] = _checked(node, value.type, result)


def _checked(node: Node, type_: Type, result: Any) -> Array:
    array = np.asarray(result)
    shape = (type_.lanes,) if isinstance(type_, VectorType) else ()
    if array.dtype != element(type_).numpy or array.shape != shape:
        raise CompilerBug(compose(f"{node.op.name} gave {array.dtype}{list(array.shape)} for {type_}", at=str(node.location)))
    return array


def _elementwise(node: Node, values: dict[Value, Any]) -> tuple[Any, ...]:
    return (node.op.reference(*(values[v] for v in node.operands), **node.attrs),)


def _const(node: Node, values: dict[Value, Any]) -> tuple[Any, ...]:
    type_ = node.result.type
    shape = (type_.lanes,) if isinstance(type_, VectorType) else ()
    return (np.full(shape, node.attrs["value"], element(type_).numpy),)


# --- control ------------------------------------------------------------------------------------------------------------


def _for(node: Node, values: dict[Value, Any]) -> tuple[Any, ...]:
    lo, hi, *carried = (values[v] for v in node.operands)
    (body,) = node.regions
    for i in range(int(lo), int(hi), node.attrs["step"]):
        values.update(zip(body.inputs, (np.int64(i), *carried), strict=True))
        _run(body.nodes, values)
        carried = [values[v] for v in body.outputs]
    return tuple(carried)


def _when(node: Node, values: dict[Value, Any]) -> tuple[Any, ...]:
    mask, *otherwise = (values[v] for v in node.operands)
    (body,) = node.regions
    if not mask.any():
        return tuple(otherwise)
    _run(body.nodes, values)
    return tuple(values[v] for v in body.outputs)


# --- memory -------------------------------------------------------------------------------------------------------------


def _places(node: Node, buffer: Array, places: Array, mask: Array) -> Array:
    """The places where the mask holds; outside the buffer is a bug of the kernel."""
    active: Array = np.asarray(places)[mask]
    if active.size and (active.min() < 0 or active.max() >= buffer.size):
        found = f"lanes {active.tolist()} of a buffer of {buffer.size} elements"
        raise CompilerBug(compose(f"{node.op.name} outside its buffer", found, at=str(node.location)))
    return active


def _consecutive(index: Array, stride: int, offset: int, type_: Type) -> Array:
    lanes = np.arange(type_.lanes) if isinstance(type_, VectorType) else np.int64(0)
    return np.asarray(index + offset + lanes * stride)


def _mask(mask: Sequence[Array], places: Array) -> Array:
    return mask[0] if mask else np.ones(places.shape, bool)


def _read(node: Node, buffer: Array, places: Array, mask: Array) -> tuple[Any, ...]:
    result = np.zeros(places.shape, buffer.dtype)
    result[mask] = buffer[_places(node, buffer, places, mask)]
    return (result,)


def _write(node: Node, buffer: Array, places: Array, value: Array, mask: Array) -> tuple[Any, ...]:
    buffer[_places(node, buffer, places, mask)] = value[mask]
    return ()


def _load(node: Node, values: dict[Value, Any]) -> tuple[Any, ...]:
    buffer, index, *mask = (values[v] for v in node.operands)
    places = _consecutive(index, 1, node.attrs["offset"], node.result.type)
    return _read(node, buffer, places, _mask(mask, places))


def _load_strided(node: Node, values: dict[Value, Any]) -> tuple[Any, ...]:
    buffer, index, stride, *mask = (values[v] for v in node.operands)
    places = _consecutive(index, stride, node.attrs["offset"], node.result.type)
    return _read(node, buffer, places, _mask(mask, places))


def _load_indexed(node: Node, values: dict[Value, Any]) -> tuple[Any, ...]:
    buffer, index, mask = (values[v] for v in node.operands)
    return _read(node, buffer, index, mask)


def _store(node: Node, values: dict[Value, Any]) -> tuple[Any, ...]:
    buffer, index, value, *mask = (values[v] for v in node.operands)
    places = _consecutive(index, 1, node.attrs["offset"], node.operands[2].type)
    return _write(node, buffer, places, value, _mask(mask, places))


def _store_strided(node: Node, values: dict[Value, Any]) -> tuple[Any, ...]:
    buffer, index, value, stride, *mask = (values[v] for v in node.operands)
    places = _consecutive(index, stride, node.attrs["offset"], node.operands[2].type)
    return _write(node, buffer, places, value, _mask(mask, places))


def _check(node: Node, values: dict[Value, Any]) -> tuple[Any, ...]:
    mask, flag = (values[v] for v in node.operands)
    if mask.any():
        flag[0] = node.attrs["number"]
    return ()


# --- lanes --------------------------------------------------------------------------------------------------------------


def _splat(node: Node, values: dict[Value, Any]) -> tuple[Any, ...]:
    return (np.full(node.attrs["lanes"], values[node.operands[0]]),)


def _lane_index(node: Node, values: dict[Value, Any]) -> tuple[Any, ...]:
    return (np.arange(node.attrs["lanes"], dtype=np.int64),)


def _mask_below(node: Node, values: dict[Value, Any]) -> tuple[Any, ...]:
    return (np.arange(node.attrs["lanes"]) < values[node.operands[0]],)


def _reduce_lanes(node: Node, values: dict[Value, Any]) -> tuple[Any, ...]:
    x = values[node.operands[0]]
    combine = REGISTRY[node.attrs["combine"]].reference
    while x.size > 1:
        half = x.size // 2
        x = combine(x[:half], x[half:])
    return (x[0],)


_LOOP: dict[str, Callable[[Node, dict[Value, Any]], tuple[Any, ...]]] = {
    "const": _const,
    "for": _for,
    "when": _when,
    "load": _load,
    "reload": _load,
    "load_strided": _load_strided,
    "load_indexed": _load_indexed,
    "store": _store,
    "store_strided": _store_strided,
    "check": _check,
    "splat": _splat,
    "lane_index": _lane_index,
    "mask_below": _mask_below,
    "reduce_lanes": _reduce_lanes,
}
