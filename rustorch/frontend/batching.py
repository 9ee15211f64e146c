"""`vmap`: a function on single examples becomes one on batches.

The function is traced on examples. Then every node of the graph that depends on a batched argument is replaced by its op's own
rule for batches (`OpDef.batch`), and the whole is one operation of the open segment: differentiable, and compiled with the rest.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from rustorch.errors import ArgumentError, DimensionError, ShapeError, TraceError, Unsupported, compose
from rustorch.frontend import tree
from rustorch.frontend.base import TensorBase, recorded
from rustorch.frontend.creation import tensor
from rustorch.frontend.modes import Transforming
from rustorch.frontend.movement import cat, permute
from rustorch.frontend.pull import Inlined
from rustorch.frontend.random import stream_keys
from rustorch.frontend.state import local
from rustorch.frontend.trace import Output, Outside, Trace, Traced, run_traced
from rustorch.ir.analysis import dependents, digest
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


def vmap(
    func: Callable[..., Any],
    in_dims: Any = 0,
    out_dims: Any = 0,
    randomness: str = "error",
    *,
    chunk_size: int | None = None,
) -> Callable[..., Any]:
    """The function on batches: `func` at every index of the dimensions `in_dims` of its arguments, results along `out_dims`.

    `in_dims` is a dimension for all arguments, or a nested container of dimensions like that of the arguments; None: the argument
    is the same for all examples, and so is a result with None in `out_dims`. `randomness`: whether examples draw "different" numbers,
    the "same", or none ("error"). With `chunk_size`, so many examples are computed at a time.
    """
    if randomness not in ("error", "same", "different"):
        raise TraceError(f"Only allowed values for randomness are 'error', 'different', or 'same'. Got {randomness}")
    if chunk_size is not None and chunk_size <= 0:
        raise ArgumentError(f"vmap: chunk_size should be None or greater than 0. (got {chunk_size})")
    name = getattr(func, "__name__", type(func).__name__)

    @functools.wraps(func)
    def over_batches(*args: Any, **kwargs: Any) -> Any:
        leaves, structure = tree.flatten(args)
        more, form = tree.flatten(kwargs)
        call = f"vmap({name}, in_dims={in_dims}, ...)(<inputs>)"
        if not args:
            raise ArgumentError(
                f"vmap({name})(<inputs>): got no inputs. Maybe you forgot to add inputs, or you are trying to vmap over a function with no "
                "inputs. The latter is unsupported."
            )
        if not isinstance(in_dims, (int, tuple)):
            raise ArgumentError(
                f"{call}: expected `in_dims` to be int or a (potentially nested) tuple matching the structure of inputs, got: "
                f"{type(in_dims)}."
            )
        dims = [*_spread(in_dims, structure, call), *[0 if isinstance(x, TensorBase) else None for x in more]]
        moved = [_to_front(x, d, call) for x, d in zip((*leaves, *more), dims, strict=True)]
        size = _batch_size(moved, dims)
        step = size if chunk_size is None else chunk_size
        parts = []
        for k in range(0, max(size, 1), max(step, 1)):
            some = [x if d is None or step >= size else x[k : k + step] for x, d in zip(moved, dims, strict=True)]
            parts.append(_over_batch(func, name, some, dims, structure, form, len(leaves), min(step, size - k), out_dims, randomness))
        found, dims_out, result = parts[0]
        if len(parts) > 1:
            columns = zip(*(part[0] for part in parts), strict=True)
            found = [c[0] if d is None else cat(list(c), d) for c, d in zip(columns, dims_out, strict=True)]
        return tree.unflatten(result, found)

    return over_batches


def _over_batch(
    func: Callable[..., Any],
    name: str,
    moved: Sequence[Any],
    dims: Sequence[Dims],
    structure: tree.Structure,
    form: tree.Structure,
    count: int,
    size: int,
    out_dims: Any,
    randomness: str,
) -> tuple[list[Any], list[Dims], tree.Structure]:
    """The results for a batch, along which dimensions they are batched, and their containers."""
    batch = Batch(size, randomness, [x for x, d in zip(moved, dims, strict=True) if d is not None])
    traced = _traced(func, moved, dims, structure, form, count, batch)
    if traced.written or traced.grads or traced.leaked:
        raise Unsupported(
            compose("vmap of a function that writes to tensors from outside", todo="Return what it should write, and write outside.")
        )
    for x in traced.leaves:
        if not isinstance(x, Output):
            raise ArgumentError(
                f"vmap({name}, ...): `{name}` must only return Tensors, got type {type(x)}. Did you mean to set out_dims= to None for "
                "output?"
            )
    results, along = batch.call(traced.graph, traced.outside, traced.differentiable)
    outs = _spread(out_dims, traced.structure, f"vmap({name}, ..., out_dims={out_dims})(<inputs>)", "out_dims", "outputs")
    found = []
    for x, d in zip(traced.leaves, outs, strict=True):
        if d is None and along[x.index]:
            raise ArgumentError(f"vmap({name}, ...): `{name}` can not return a BatchedTensor when out_dim is None")
        found.append(_from_front(results[x.index], d))
    return found, outs, traced.structure


def _spread(dims: Any, structure: tree.Structure, call: str, what: str = "in_dims", of: str = "inputs") -> list[Dims]:
    """A dimension for each leaf."""
    if dims is None or isinstance(dims, int):
        return [dims] * structure.leaves
    parts = list(dims.values()) if isinstance(dims, dict) else list(dims)
    if len(parts) != len(structure.children):
        raise ArgumentError(
            f"{call}: {what} is not compatible with the structure of `{of}`. {what} has {len(parts)} entries but {of} has structure "
            f"{structure!r}."
        )
    found: list[Dims] = []
    for part, child in zip(parts, structure.children, strict=True):
        found += _spread(part, child, call, what, of)
    return found


def _to_front(x: Any, dim: Dims, call: str) -> Any:
    """An argument with its batched dimension first."""
    if dim is None:
        return x
    if not isinstance(x, TensorBase):
        if not isinstance(x, np.ndarray):
            raise ArgumentError(
                f"{call}: Got in_dim={dim} for an input but the input is of type {type(x)}. We cannot vmap over non-Tensor arguments, "
                "please use None as the respective in_dim"
            )
        x = tensor(x)
    rank = len(x._type.shape)
    if not -rank <= dim < rank:
        raise DimensionError(
            f"{call}: Got in_dim={dim} for some input, but that input is a Tensor of dimensionality {rank} so expected in_dim to satisfy "
            f"-{rank} <= in_dim < {rank}."
        )
    axis = dim % rank
    return x if axis == 0 else permute(x, (axis, *(a for a in range(rank) if a != axis)))


def _from_front(x: Any, dim: Dims) -> Any:
    """A result with its batched dimension where it belongs; None: the one that all examples share."""
    if dim is None:
        return x[0]
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
    func: Callable[..., Any],
    moved: Sequence[Any],
    dims: Sequence[Dims],
    structure: tree.Structure,
    form: tree.Structure,
    count: int,
    batch: Batch,
) -> Traced:
    """The function, traced on one example."""

    def begin(trace: Trace) -> list[Any]:
        trace.batch = batch
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


class Batch:
    """The examples of one `vmap`: what a function that is traced on one of them stands for."""

    def __init__(self, size: int, randomness: str, arguments: list[Any]) -> None:
        self.size, self.randomness, self.arguments = size, randomness, arguments
        self.examples: dict[int, tuple[Any, Any]] = {}
        """By `id`: tensors that stand for examples inside the trace, and the batches, which were made outside in between."""

    def call(self, graph: Graph, outside: Sequence[Any], flows: Sequence[bool]) -> tuple[list[Any], list[bool]]:
        """The outputs for all examples, recorded in the open segment; and for each whether it depends on the example."""
        operands, flags = list(self.arguments), [True] * len(self.arguments)
        for each in outside:
            operand, flag = self.operand(each)
            operands.append(operand)
            flags.append(flag)
        batched = batched_graph(graph, flags, self.size)
        call = _calls.setdefault((digest(batched), tuple(flows)), Inlined(batched, "vmap", tuple(flows)))
        segment = local.segment
        found: list[Any] = segment.record_key(call, (call, True, *[segment.number_of(x) for x in operands]))
        dependent = dependents(graph, [v for v, flag in zip(graph.inputs, flags, strict=True) if flag])
        return found, [v in dependent for v in graph.outputs]

    def operand(self, outside: Any) -> tuple[Any, bool]:
        """What an input of the traced graph that is no argument stands for, and whether it has an entry for each example."""
        if isinstance(outside, Outside):
            x = outside.found()
            known = self.examples.get(id(x))
            return (x, False) if known is None else (known[1], True)
        if self.randomness == "error":
            raise TraceError(
                "vmap: called random operation while in randomness error mode. Please either use the 'same' or 'different' randomness "
                "flags on vmap or perform the randomness operation out of vmap"
            )
        generator, count = outside
        if self.randomness == "same":
            return local.segment.draw(generator, count), False
        return stream_keys(local.segment.draw(generator, count * self.size), self.size, count), True

    def outside(self, trace: Any, tensors: Sequence[Any]) -> list[tuple[Any, bool]]:
        """What tensors of the trace stand for, in the segment around it: the batch, or the tensor that is the same for all examples."""
        inside = [x for x in tensors if x._segment is trace and x._array is None]
        building, numbers = trace.building, [x._number for x in inside]
        graph = Graph("vmap", tuple(building.b.inputs), tuple(building.b.nodes), tuple(building.values(numbers)))
        leaves = [Outside(x, False) for x in trace.leaves[len(self.arguments) :]]
        found, along = self.call(graph, leaves, [building.grads[n] for n in numbers]) if inside else ([], [])
        results = iter(zip(found, along, strict=True))
        answer = []
        for x in tensors:
            if id(x) in self.examples:
                answer.append((self.examples[id(x)][1], True))
            elif x._segment is trace and x._array is None:
                batch, varies = next(results)
                answer.append((batch, True) if varies else (batch[0], False))
            else:
                answer.append((x, False))
        return answer

    def example(self, batch: Any) -> Any:
        """A tensor that stands for one example of a batch, inside the trace."""
        type_ = batch._type
        stand_in = recorded(local.segment, -1, type_.with_shape(type_.shape[1:]), batch._requires_grad)
        self.examples[id(stand_in)] = stand_in, batch
        return stand_in


class VmapInfo(NamedTuple):
    """What the `vmap` of a Function is told."""

    batch_size: int
    randomness: str


def call_vmap_rule(function: Any, args: Sequence[Any]) -> Any:
    """The results of a Function with a rule for batches, applied inside a function that `vmap` traces.

    The rule is called around the trace, on the batches that its arguments stand for.
    """
    trace = local.segment
    batch: Batch = trace.batch
    if trace.generators:
        raise Unsupported(compose(f"the vmap rule of {function.__name__} behind random numbers", todo="Draw the numbers outside of vmap."))
    local.segment = trace.outer
    try:
        given = iter(batch.outside(trace, [x for x in args if isinstance(x, TensorBase)]))
        pairs = [next(given) if isinstance(x, TensorBase) else (x, False) for x in args]
        in_dims = tuple(0 if varies else None for _, varies in pairs)
        answer = function.vmap(VmapInfo(batch.size, batch.randomness), in_dims, *(x for x, _ in pairs))
        if not (isinstance(answer, tuple) and len(answer) == 2):
            raise TraceError(
                "Expected the vmap staticmethod to have two returns, an output and out_dims with pytree structure compatible with the "
                "output. "
            )
        leaves, structure = tree.flatten(answer[0])
        outs = _spread(answer[1], structure, f"{function.__name__}.vmap", "out_dims", "outputs")
        shown = [x if d is None else batch.example(_to_front(x, d, function.__name__)) for x, d in zip(leaves, outs, strict=True)]
    finally:
        trace.outer = local.segment  # a new one, if the rule has looked at numbers
        local.segment = trace
    return tree.unflatten(structure, shown)


__all__ = ["batch_nodes", "batched_graph", "repeated", "call_vmap_rule", "vmap"]
