"""`vmap`: a function on single examples becomes one on batches.

The function is traced on examples. Then every node of the graph that depends on a batched argument is replaced by its op's own
rule for batches (`OpDef.batch`), and the whole is one operation of the open segment: differentiable, and compiled with the rest.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from rustorch.errors import ArgumentError, DimensionError, ShapeError, Unsupported, compose
from rustorch.frontend import tree
from rustorch.frontend.base import TensorBase
from rustorch.frontend.creation import tensor
from rustorch.frontend.modes import Transforming
from rustorch.frontend.movement import permute
from rustorch.frontend.pull import Inlined
from rustorch.frontend.random import stream_keys
from rustorch.frontend.state import local
from rustorch.frontend.trace import Output, Outside, Trace, Traced, run_traced
from rustorch.ir.analysis import digest
from rustorch.ir.builder import Builder
from rustorch.ir.dims import Size
from rustorch.ir.graph import Graph, Node, Value
from rustorch.ir.rewrite import expansion
from rustorch.ir.types import TensorType

Dims = int | None
_calls: dict[tuple[str, tuple[bool, ...]], Inlined] = {}
"""Batched graphs as operations, by digest, so that equal ones are one edge of recorded programs."""


def batched_graph(graph: Graph, batched: Sequence[bool], size: Size) -> Graph:
    """The graph for `size` examples: inputs that are `batched`, and all outputs, have a new leading axis."""
    b = Builder()
    new: dict[Value, Value] = {}
    along: set[Value] = set()
    for value, yes in zip(graph.inputs, batched, strict=True):
        type_ = value.type
        assert isinstance(type_, TensorType)
        new[value] = b.input(type_.with_shape((size, *type_.shape)) if yes else type_, value.hint)
        if yes:
            along.add(value)
    batch_nodes(b, graph, new, along, size)
    return b.build([new[v] if v in along else repeated(b, new[v], size) for v in graph.outputs], graph.name)


def batch_nodes(b: Builder, graph: Graph, new: dict[Value, Value], along: set[Value], size: Size) -> None:
    """Emit the nodes of a graph; `new` says what stands for a value, `along` which of them are batched."""
    for node in graph.nodes:
        operands = [new[v] for v in node.operands]
        flags = [v in along for v in node.operands]
        with b.at(node.location):
            if not any(flags):
                results: Sequence[Value] = b.emit(node.op, operands, node.attrs, node.regions)
            elif node.regions:
                results = _batch_regions(b, node, operands, flags, size)
            elif node.op.batch is not None:
                made = node.op.batch(b, operands, flags, dict(node.attrs))
                results = made if isinstance(made, (tuple, list)) else (made,)
            else:
                results = _batch_expansion(b, node, operands, flags, size)
        for old, value in zip(node.results, results, strict=True):
            new[old] = value
            if any(flags):
                along.add(old)


def _batch_regions(b: Builder, node: Node, operands: list[Value], flags: list[bool], size: Size) -> Sequence[Value]:
    """A node `custom`: its inputs and results all become batched, so that the regions speak of the same types as before."""
    count = node.attrs["inputs"] + node.attrs["results"]
    spread = [x if yes or i >= count else repeated(b, x, size) for i, (x, yes) in enumerate(zip(operands, flags, strict=True))]
    along = [yes or i < count for i, yes in enumerate(flags)]
    regions = []
    for region in node.regions:
        rest = len(region.inputs) - len(along)
        regions.append(batched_graph(region, [*along, *[True] * rest], size))
    return b.emit(node.op, spread, node.attrs, tuple(regions))


def _batch_expansion(b: Builder, node: Any, operands: list[Value], flags: list[bool], size: Size) -> list[Value]:
    graph = expansion(node)
    if graph is None:
        raise Unsupported(compose(f"{node.op.name} has no rule for batches", todo="Write the batch dimension out, or loop over examples."))
    new = dict(zip(graph.inputs, operands, strict=True))
    along = {v for v, yes in zip(graph.inputs, flags, strict=True) if yes}
    batch_nodes(b, graph, new, along, size)
    return [new[v] if v in along else repeated(b, new[v], size) for v in graph.outputs]


def repeated(b: Builder, x: Value, size: Size) -> Value:
    """The same value for every example."""
    type_ = x.type
    assert isinstance(type_, TensorType)
    repeated: Value = b.broadcast_to(x, shape=(size, *type_.shape), dims=tuple(range(1, type_.rank + 1)))
    return repeated


# --- The transform ----------------------------------------------------------------------------------------------------


def vmap(func: Callable[..., Any], in_dims: Any = 0, out_dims: Any = 0, randomness: str = "error") -> Callable[..., Any]:
    """The function on batches: `func` at every index of the dimensions `in_dims` of its arguments, results along `out_dims`.

    `in_dims` is a dimension for all arguments, or a nested container of dimensions like that of the arguments; None: the argument
    is the same for all examples. `randomness`: whether examples draw "different" numbers, the "same", or none ("error").
    """
    if randomness not in ("error", "same", "different"):
        raise ArgumentError(f"Only allowed values for randomness are 'error', 'different', or 'same'. Got {randomness}")

    @functools.wraps(func)
    def over_batches(*args: Any, **kwargs: Any) -> Any:
        leaves, structure = tree.flatten(args)
        more, form = tree.flatten(kwargs)
        dims = [*_spread(in_dims, args, structure), *[0 if isinstance(x, TensorBase) else None for x in more]]
        given = [x if d is None or isinstance(x, TensorBase) else tensor(x) for x, d in zip((*leaves, *more), dims, strict=True)]
        moved = [_to_front(x, d) for x, d in zip(given, dims, strict=True)]
        size = _batch_size(moved, dims)
        traced = _traced(func, moved, dims, structure, form, len(leaves))
        if traced.written or traced.grads or traced.leaked:
            raise Unsupported(
                compose("vmap of a function that writes to tensors from outside", todo="Return what it should write, and write outside.")
            )
        results = _call(traced, [x for x, d in zip(moved, dims, strict=True) if d is not None], size, randomness)
        found = [results[x.index] if isinstance(x, Output) else x for x in traced.leaves]
        result = tree.unflatten(traced.structure, found)
        outs = _spread(out_dims, result, traced.structure)
        return tree.unflatten(traced.structure, [_from_front(x, d) for x, d in zip(found, outs, strict=True)])

    return over_batches


def _spread(dims: Any, container: Any, structure: tree.Structure) -> list[Dims]:
    """A dimension for each leaf."""
    if dims is None or isinstance(dims, int):
        return [dims if dims is None or structure.leaves else 0] * structure.leaves
    parts = list(dims.values()) if isinstance(dims, dict) else list(dims)
    if len(parts) != len(structure.children):
        raise ArgumentError(
            f"vmap: in_dims is not compatible with the structure of inputs: got {len(parts)} entries for {len(structure.children)}"
        )
    found: list[Dims] = []
    for part, child in zip(parts, structure.children, strict=True):
        found += _spread(part, None, child)
    return found


def _to_front(x: Any, dim: Dims) -> Any:
    if dim is None:
        return x
    rank = len(x._type.shape)
    if not -rank <= dim < rank:
        raise DimensionError(
            f"vmap: Got in_dim={dim} for an input of dimensionality {rank}, expected in_dim to satisfy -{rank} <= in_dim < {rank}"
        )
    axis = dim % rank
    return x if axis == 0 else permute(x, (axis, *(a for a in range(rank) if a != axis)))


def _from_front(x: Any, dim: Dims) -> Any:
    if not isinstance(x, TensorBase):
        return x
    if dim is None:
        return x[0]  # type: ignore[index]
    rank = len(x._type.shape)
    axis = dim % rank
    order = list(range(1, rank))
    order.insert(axis, 0)
    return x if axis == 0 else permute(x, tuple(order))


def _batch_size(moved: Sequence[Any], dims: Sequence[Dims]) -> int:
    sizes = {x._type.shape[0] for x, d in zip(moved, dims, strict=True) if d is not None}
    if not sizes:
        raise ArgumentError("vmap: no input is batched: an in_dim of at least one tensor must be an int")
    if len(sizes) > 1:
        raise ShapeError(
            f"vmap: Expected all tensors to have the same size in the mapped dimension, got sizes {sorted(sizes)} for the mapped dimension"
        )
    return int(sizes.pop())


def _traced(
    func: Callable[..., Any], moved: Sequence[Any], dims: Sequence[Dims], structure: tree.Structure, form: tree.Structure, count: int
) -> Traced:
    """The function, traced on one example."""

    def begin(trace: Trace) -> list[Any]:
        made = []
        for x, d in zip(moved, dims, strict=True):
            if d is not None:
                made.append(trace.add_argument(x._type.with_shape(x._type.shape[1:]), x._requires_grad, ""))
        return made

    def call(arguments: list[Any]) -> tuple[list[Any], tree.Structure]:
        examples = iter(arguments)
        full = [x if d is None else next(examples) for x, d in zip(moved, dims, strict=True)]
        with Transforming():
            return tree.flatten(func(*tree.unflatten(structure, full[:count]), **tree.unflatten(form, full[count:])))

    return run_traced(getattr(func, "__name__", "vmap"), local.segment.mode, begin, call)


def _call(traced: Traced, batched: list[Any], size: int, randomness: str) -> list[Any]:
    """The batched outputs, recorded in the open segment."""
    operands, flags = list(batched), [True] * len(batched)
    for outside in traced.outside:
        if isinstance(outside, Outside):
            operands.append(outside.found())
            flags.append(False)
            continue
        if randomness == "error":
            raise ArgumentError(
                "vmap: called random operation while in randomness error mode. Please either use the 'same' or 'different' randomness "
                "flags on vmap or perform the randomness operation out of vmap"
            )
        generator, count = outside
        same = randomness == "same"
        key = local.segment.draw(generator, count if same else count * size)
        operands.append(key if same else stream_keys(key, size, count))
        flags.append(not same)
    graph = batched_graph(traced.graph, flags, size)
    flows = tuple(traced.differentiable)
    call = _calls.setdefault((digest(graph), flows), Inlined(graph, "vmap", flows))
    segment = local.segment
    found: list[Any] = segment.record_key(call, (call, True, *[segment.number_of(x) for x in operands]))
    return found


__all__ = ["batch_nodes", "batched_graph", "repeated", "vmap"]
