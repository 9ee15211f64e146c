"""Any graph by the ops' numpy references: the oracle of the tests, and what `RUSTORCH_EAGER=1` runs.

Every result is checked against the inferred type, so a reference and an `infer` that disagree are found at the node.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rustorch.errors import ArgumentError, CompilerBug, DimensionError, DTypeError, LinAlgError, ShapeError, compose
from rustorch.ir.dims import Dim, Size, evaluate, symbols
from rustorch.ir.graph import Graph, Node, Value
from rustorch.ir.types import TensorType, Type, element
from rustorch.ops.family import Array, sizes_of


def interpret(graph: Graph, arrays: Sequence[Any], sizes: Mapping[str, int] | None = None) -> list[Array]:
    """The outputs of a graph for given inputs, one array per output.

    Symbolic sizes are read off the inputs; `sizes` gives those that no input shows.
    """
    given = [np.asarray(a) for a in arrays]
    bound = bind_sizes(graph, given, sizes)
    with np.errstate(all="ignore"):
        return _run(graph, given, bound, {})


def bind_sizes(graph: Graph, arrays: Sequence[Array], sizes: Mapping[str, int] | None = None) -> dict[str, int]:
    """The value of every symbolic size of the inputs; types and arrays that do not fit are refused."""
    if len(arrays) != len(graph.inputs):
        raise ArgumentError(compose(f"{graph.name} takes {len(graph.inputs)} arrays", f"found {len(arrays)}"))
    bound = dict(sizes or {})
    for value, array in zip(graph.inputs, arrays, strict=True):
        shape = sizes_of(value.type)
        if array.dtype != element(value.type).numpy:
            raise DTypeError(compose(f"input {value.hint or 'of the graph'} is {value.type}", f"found {array.dtype}{list(array.shape)}"))
        if len(shape) != array.ndim:
            raise ShapeError(compose(f"input {value.hint or 'of the graph'} is {value.type}", f"found shape {list(array.shape)}"))
        for size, length in zip(shape, array.shape, strict=True):
            name = _single_symbol(size)
            if name is not None:
                bound.setdefault(name, length)
    for value, array in zip(graph.inputs, arrays, strict=True):
        _check_known(sizes_of(value.type), bound)
        expected = tuple(evaluate(size, bound) for size in sizes_of(value.type))
        if expected != array.shape:
            raise ShapeError(compose(f"input {value.hint or 'of the graph'} is {value.type}", f"found shape {list(array.shape)}"))
    return bound


def _single_symbol(size: Size) -> str | None:
    names = symbols(size)
    return str(size) if isinstance(size, Dim) and str(size) in names else None


def _check_known(shape: Sequence[Size], bound: Mapping[str, int]) -> None:
    for size in shape:
        unknown = sorted(symbols(size) - bound.keys())
        if unknown:
            raise ShapeError(compose(f"the size {unknown[0]} cannot be read off the inputs", todo="give it in `sizes`"))


def _run(graph: Graph, arrays: Sequence[Array], sizes: Mapping[str, int], outer: Mapping[Value, Array]) -> list[Array]:
    values: dict[Value, Array] = dict(zip(graph.inputs, arrays, strict=True))
    last = _last_uses(graph)
    for index, node in enumerate(graph.nodes):
        operands = [values[v] if v in values else outer[v] for v in node.operands]
        results = evaluate_node(node, operands, sizes, {**outer, **values} if node.regions else {})
        values.update(zip(node.results, results, strict=True))
        for value in {*node.operands, *node.results}:
            if last.get(value, -1) <= index:
                values.pop(value, None)
    return [values[v] if v in values else outer[v] for v in graph.outputs]


def _last_uses(graph: Graph) -> dict[Value, int]:
    last = {v: i for i, node in enumerate(graph.nodes) for v in node.operands}
    inside = {v: i for i, node in enumerate(graph.nodes) for region in node.regions for v in _read(region)}
    return {v: max(last.get(v, -1), inside.get(v, -1)) for v in {**last, **inside}} | dict.fromkeys(graph.outputs, len(graph.nodes))


def _read(region: Graph) -> set[Value]:
    found = {*region.outputs, *(v for node in region.nodes for v in node.operands)}
    for node in region.nodes:
        for inner in node.regions:
            found |= _read(inner)
    return found


def evaluate_node(node: Node, operands: Sequence[Array], sizes: Mapping[str, int], outer: Mapping[Value, Array]) -> list[Array]:
    """The results of one node by its reference, checked; regions reach the reference as functions of arrays."""
    attrs = {key: _concrete(value, sizes) for key, value in node.attrs.items()}
    if node.regions:
        attrs["regions"] = tuple((lambda r: lambda *arrays: _run(r, arrays, sizes, outer))(region) for region in node.regions)
    try:
        found = node.op.reference(*operands, **attrs)
    except (DimensionError, LinAlgError) as error:
        raise type(error)(compose(str(error), at=str(node.location) if node.location.line else "")) from None
    results = list(found) if isinstance(found, (tuple, list)) else [found]
    if len(results) != len(node.results):
        raise CompilerBug(f"the reference of {node.op.name} gave {len(results)} results, not {len(node.results)}")
    return [_checked(node, value.type, array, sizes) for value, array in zip(node.results, results, strict=True)]


def _checked(node: Node, type_: Type, result: Any, sizes: Mapping[str, int]) -> Array:
    array = np.asarray(result)
    expected = tuple(evaluate(size, sizes) for size in sizes_of(type_))
    if array.dtype != element(type_).numpy or array.shape != expected:
        raise CompilerBug(
            compose(
                f"the reference of {node.op.name} does not give its inferred type",
                f"found {array.dtype}{list(array.shape)} for {type_}",
                at=str(node.location),
            )
        )
    return array


def _concrete(attribute: Any, sizes: Mapping[str, int]) -> Any:
    """An attribute with its symbolic sizes replaced by numbers."""
    if isinstance(attribute, Dim):
        return evaluate(attribute, sizes)
    if isinstance(attribute, tuple):
        return tuple(_concrete(part, sizes) for part in attribute)
    if isinstance(attribute, TensorType) and not attribute.is_static:
        return attribute.with_shape(tuple(evaluate(size, sizes) for size in attribute.shape))
    return attribute
