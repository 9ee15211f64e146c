"""Reading and writing at computed places along a dimension: gather, scatter and their relatives.

An index that is out of range is an IndexError that names it, in compiled programs too, and before anything is written: the ops
`gather`, `scatter` and `scatter_add` check, and what a program writes into tensors is written after it has succeeded.
"""

from __future__ import annotations

import builtins
from collections.abc import Sequence
from typing import Any

import numpy as np

from rustorch.errors import ArgumentError, DimensionError, DTypeError, ShapeError, compose
from rustorch.frontend.arrangement import along, slices_op
from rustorch.frontend.emission import (
    Builder,
    Operand,
    Shape,
    TensorType,
    Value,
    axis_of,
    broadcast,
    broadcast_shapes,
    broadcast_to,
    convert,
    dtype_of,
    operation,
    reshape,
    scaled,
    shape_of,
)
from rustorch.frontend.indexing import added_at, index_put_op, nonzero, nonzero_arrays, wrapped
from rustorch.frontend.movement import check_source, part, put_slice_op
from rustorch.frontend.operation import from_array
from rustorch.frontend.statistics import running_sum
from rustorch.frontend.storage import into
from rustorch.ir.dims import product
from rustorch.ir.dtypes import bool_, i32, i64, title

# --- Indices of a tensor's rank ---------------------------------------------------------------------------------------


def _check_index(name: str, index: Value) -> None:
    if dtype_of(index) not in (i32, i64):
        raise DTypeError(compose(f"{name}(): Expected dtype int64 for index", f"found {dtype_of(index).name}", todo="index.long()"))


def _aligned(b: Builder, name: str, input: Value, dim: int, index: Value) -> tuple[Value, Value, int]:
    """The tensor, cut beside the axis to the size of the index, the index, and the axis; 0-d ones have one dimension."""
    x, places = (reshape(b, v, (1,)) if not shape_of(v) else v for v in (input, index))
    _check_index(name, places)
    own, asked = shape_of(x), shape_of(places)
    axis = axis_of(dim, len(own))
    if len(own) != len(asked):
        raise ShapeError("Index tensor must have the same number of dimensions as input tensor")
    for a, (s, t) in enumerate(zip(own, asked, strict=True)):
        if a == axis or s == t:
            continue
        if isinstance(s, int) and isinstance(t, int) and t > s:
            raise ShapeError(
                f"Size does not match at dimension {a} expected index {list(asked)} to be no larger than self {list(own)} apart from "
                f"dimension {axis}"
            )
        x = part(b, x, a, 0, t)
    return x, places, axis


@operation
def gather(b: Builder, input: Value, dim: int, index: Value, *, sparse_grad: bool = False) -> Value:
    """The elements at places `index` along a dimension."""
    x, places, axis = _aligned(b, "gather", input, dim, index)
    return reshape(b, b.gather(x, places, axis=axis), shape_of(index))


def _write(b: Builder, name: str, input: Value, dim: int, index: Value, src: Value, write: Any) -> Value:
    """What `write(x, places, updates, axis)` makes of the part of the tensor that the index speaks of."""
    x, places, axis = _aligned(b, name, input, dim, index)
    added = reshape(b, src, (1,)) if not shape_of(src) else src
    if len(shape_of(added)) != len(shape_of(places)):
        raise ShapeError("Index tensor must have the same number of dimensions as src tensor")
    for a, size in enumerate(shape_of(places)):
        have = shape_of(added)[a]
        if isinstance(have, int) and isinstance(size, int) and size > have:
            raise ShapeError(
                f"Expected index {list(shape_of(places))} to be no larger than src {list(shape_of(added))} in every dimension"
            )
        added = part(b, added, a, 0, size)
    if product(shape_of(places)) == 0:
        return input
    written = write(x, places, added, axis)
    own = shape_of(input)
    if shape_of(x) in (own, (1,)) and not (own and shape_of(x) != own):
        return reshape(b, written, own)
    return put_slice_op.emit(b, input, written, (0,) * len(own), shape_of(x), (1,) * len(own))  # type: ignore[no-any-return]


def _same_type(name: str, input: Value, src: Value) -> None:
    if dtype_of(src) is not dtype_of(input):
        raise DTypeError(
            compose(
                f"{name}(): Expected self.dtype to be equal to src.dtype",
                f"found {dtype_of(input).name} and {dtype_of(src).name}",
                todo="Convert one of them first.",
            )
        )


@operation(name="scatter_add")
def scatter_add(b: Builder, input: Value, dim: int, index: Value, src: Value) -> Value:
    """The tensor with `src` added at places `index` along a dimension; equal places add up."""
    _same_type("scatter", input, src)
    return _write(b, "scatter", input, dim, index, src, lambda x, i, u, axis: added_at(b, x, i, u, axis))


_COMBINE = {"prod": "mul", "multiply": "mul", "amax": "maximum", "amin": "minimum"}


@operation(name="scatter")
def scatter_op(b: Builder, input: Value, dim: int, index: Value, src: Operand, reduce: str | None) -> Value:
    """The tensor with elements of `src`, or a number, put (added, multiplied) at places along a dimension."""
    if isinstance(src, Value) and (shape_of(src) or not shape_of(index)):
        _same_type("scatter", input, src)
    else:
        src = broadcast_to(b, convert(b, src, dtype_of(input)), shape_of(index))
    if reduce == "add":
        return scatter_add.emit(b, input, dim, index, src)  # type: ignore[no-any-return]
    combine = "replace" if reduce is None else _COMBINE[reduce]
    return _write(b, "scatter", input, dim, index, src, lambda x, i, u, axis: b.scatter(x, i, u, axis=axis, combine=combine))


def scatter(
    input: Any, dim: int, index: Any, src: Any = None, *, value: Any = None, reduce: str | None = None, out: Any = None
) -> Any:
    """The tensor with elements of `src`, or a number, put at places `index` along a dimension.

    `reduce` "add" or "multiply": combined with what is there. Of equal places the last one is kept, and has the gradient.
    """
    if reduce not in (None, "add", "multiply"):
        raise ArgumentError("reduce argument must be either add or multiply.")
    if src is None and value is None:
        raise ArgumentError(compose("scatter(): missing a tensor `src` or a number `value`"))
    return into(out, scatter_op(input, dim, index, value if src is None else src, reduce))


def _unchanged_sides(b: Builder, x: Value, places: Value, axis: int, kind: str) -> Value:
    """The tensor with what a reduction begins with in the place of elements that are going to be written."""
    identity: dict[str, Any] = {"sum": 0, "mean": 0, "prod": 1}
    value = identity.get(kind)
    if value is None:
        float_, limits = dtype_of(x).kind == "float", None if dtype_of(x).kind == "float" else np.iinfo(dtype_of(x).numpy)
        least, largest = (-np.inf, np.inf) if limits is None else (limits.min, limits.max)
        value = least if kind == "amax" else largest
        value = builtins.float(value) if float_ else builtins.int(value)
    start = b.const(value, TensorType(dtype_of(x), shape_of(places)))
    found: Value = b.scatter(x, places, start, axis=axis, combine="replace")
    return found


def _reduced(b: Builder, x: Value, places: Value, updates: Value, axis: int, kind: str, include_self: bool) -> Value:
    """The tensor with a reduction of what is written to each place, and of what was there."""
    kept = x if include_self else _unchanged_sides(b, x, places, axis, kind)
    if kind not in ("sum", "mean"):
        return b.scatter(kept, places, updates, axis=axis, combine=_COMBINE[kind])  # type: ignore[no-any-return]
    total = added_at(b, kept, places, updates, axis)
    if kind == "sum":
        return total
    ones = b.const(1, updates)
    count = b.scatter_add(b.const(1 if include_self else 0, x), places, ones, axis=axis)
    count = b.maximum(count, 1)
    return b.div(total, count) if dtype_of(x).kind == "float" else b.floor_div(total, count)  # type: ignore[no-any-return]


@operation(name="scatter_reduce")
def scatter_reduce_op(b: Builder, input: Value, dim: int, index: Value, src: Value, reduce: str, include_self: bool) -> Value:
    """See `scatter_reduce`."""
    if reduce not in ("sum", "prod", "mean", "amax", "amin"):
        raise ArgumentError(f"reduce argument must be either sum, prod, mean, amax or amin, got {reduce}.")
    _same_type("scatter", input, src)
    return _write(
        b, "scatter_reduce", input, dim, index, src, lambda x, i, u, axis: _reduced(b, x, i, u, axis, reduce, include_self)
    )


def scatter_reduce(
    input: Any, dim: int, index: Any, src: Any, reduce: str, *, include_self: bool = True, out: Any = None
) -> Any:
    """What is written to each place reduced by "sum", "prod", "mean", "amax" or "amin", with what was there unless told not to."""
    return into(out, scatter_reduce_op(input, dim, index, src, reduce, include_self))


# --- One vector of indices --------------------------------------------------------------------------------------------


def _vector(b: Builder, name: str, index: Value) -> Value:
    _check_index(name, index)
    if len(shape_of(index)) > 1:
        raise DimensionError(f"{name}(): Index is supposed to be a vector, but got dim: {len(shape_of(index))}")
    return reshape(b, index, (1,)) if not shape_of(index) else index


@operation
def index_select(b: Builder, input: Value, dim: int, index: Value) -> Value:
    """The slices at places `index` along a dimension."""
    places = _vector(b, "index_select", index)
    axis = axis_of(dim, len(shape_of(input)))
    if not shape_of(input):
        if shape_of(places) != (1,):
            raise ShapeError(
                f"index_select(): Index to scalar can have only 1 value, got {shape_of(places)[0]} value(s)"
            )
        return reshape(b, slices_op.emit(b, reshape(b, input, (1,)), places, 0), ())
    return slices_op.emit(b, input, places, axis)  # type: ignore[no-any-return]


def _slices_written(b: Builder, name: str, input: Value, dim: int, index: Value, source: Value, write: Any) -> Value:
    """What `write(x, places, updates, axis)` makes of slices at places."""
    places = _vector(b, name, index)
    if dtype_of(source) is not dtype_of(input):
        raise DTypeError(
            f"{name}(): self and source expected to have the same dtype, but got (self) {title(dtype_of(input))} and "
            f"(source) {title(dtype_of(source))}"
        )
    x, added = (reshape(b, v, (1,)) if not shape_of(v) else v for v in (input, source))
    axis = axis_of(dim, len(shape_of(x)))
    where = along(b, x, places, axis)
    if shape_of(added) != shape_of(where):
        raise ShapeError(
            compose(
                f"{name}(): the source's shape must be the tensor's but for the number of indices along dimension {axis}",
                f"found {list(shape_of(source))}, and {list(shape_of(where))} is wanted",
            )
        )
    return reshape(b, write(x, where, added, axis), shape_of(input)) if product(shape_of(where)) != 0 else input


@operation
def index_add(b: Builder, input: Value, dim: int, index: Value, source: Value, *, alpha: Operand = 1) -> Value:
    """The tensor with slices of `source`, times `alpha`, added at places along a dimension."""
    added = scaled(b, source, alpha)
    return _slices_written(b, "index_add", input, dim, index, added, lambda x, i, u, axis: added_at(b, x, i, u, axis))


@operation
def index_copy(b: Builder, input: Value, dim: int, index: Value, source: Value) -> Value:
    """The tensor with slices of `source` put at places along a dimension; of equal places the last is kept."""
    return _slices_written(
        b, "index_copy", input, dim, index, source, lambda x, i, u, axis: b.scatter(x, i, u, axis=axis, combine="replace")
    )


@operation
def index_reduce(
    b: Builder, input: Value, dim: int, index: Value, source: Value, reduce: str, *, include_self: bool = True
) -> Value:
    """Slices written to places reduced by "prod", "mean", "amax" or "amin", with what was there unless told not to."""
    if reduce not in ("prod", "mean", "amax", "amin"):
        raise ArgumentError(f"index_reduce(): Expected reduce to be one of prod, mean, amax or amin but got {reduce}.")
    return _slices_written(
        b, "index_reduce", input, dim, index, source, lambda x, i, u, axis: _reduced(b, x, i, u, axis, reduce, include_self)
    )


def _check_single(name: str, value: Operand) -> None:
    if isinstance(value, Value) and shape_of(value):
        raise ShapeError(
            f"{name} only supports a 0-dimensional value tensor, but got tensor with {len(shape_of(value))} dimension(s)."
        )


@operation
def index_fill(b: Builder, input: Value, dim: int, index: Value, value: Operand) -> Value:
    """The tensor with a number in the slices at places along a dimension."""
    x = reshape(b, input, (1,)) if not shape_of(input) else input
    axis = axis_of(dim, len(shape_of(x)))
    places = wrapped(b, _vector(b, "index_fill", index), shape_of(x)[axis])
    _check_single("index_fill_", value)
    where = along(b, x, places, axis)
    fill = broadcast_to(b, convert(b, value, dtype_of(x)), shape_of(where))
    if product(shape_of(where)) == 0:
        return input
    return reshape(b, b.scatter(x, where, fill, axis=axis, combine="replace"), shape_of(input))


# --- Indices of every dimension, and of flattened tensors -------------------------------------------------------------


def index_put(input: Any, indices: Sequence[Any], values: Any, accumulate: bool = False) -> Any:
    """The tensor with `values` put (or added) at `indices`, as `x[indices] = values` puts them."""
    listed, axes = _indices(indices)
    return index_put_op(input, tuple(listed), values, tuple(axes), accumulate) if listed else input


def _indices(indices: Sequence[Any]) -> tuple[list[Any], list[int]]:
    """Index tensors, a mask as one for each of its dimensions, and the dimensions that they index; None stands for all."""
    listed: list[Any] = []
    axes: list[int] = []
    axis = 0
    for index in indices:
        if index is None:
            axis += 1
        elif index._type.dtype is bool_:
            for places in nonzero_arrays(index):
                listed.append(from_array(places))
                axes.append(axis)
                axis += 1
        else:
            listed.append(index)
            axes.append(axis)
            axis += 1
    return listed, axes


def _flat_index(b: Builder, name: str, input: Value, index: Value) -> tuple[Value, Value]:
    """The flattened tensor, and places in it."""
    _check_index(name, index)
    total = product(shape_of(input))
    places = wrapped(b, reshape(b, index, (product(shape_of(index)),)), total)
    return reshape(b, input, (total,)), places


@operation
def take(b: Builder, input: Value, index: Value) -> Value:
    """The elements at places in the flattened tensor."""
    flat, places = _flat_index(b, "take", input, index)
    return reshape(b, b.gather(flat, places, axis=0), shape_of(index))


@operation
def put(b: Builder, input: Value, index: Value, source: Value, accumulate: bool = False) -> Value:
    """The tensor with elements of `source` put (or added) at places of its flattened self."""
    if dtype_of(source) is not dtype_of(input):
        raise DTypeError(
            f"put_(): self and source expected to have the same dtype, but got self.dtype = {dtype_of(input).name} and "
            f"source.dtype = {dtype_of(source).name}"
        )
    if product(shape_of(source)) != product(shape_of(index)):
        raise DimensionError(
            f"put_(): Expected source and index to have the same number of elements, but got source.numel() = "
            f"{product(shape_of(source))}, index.numel() = {product(shape_of(index))}"
        )
    flat, places = _flat_index(b, "put", input, index)
    updates = reshape(b, source, shape_of(places))
    if product(shape_of(places)) == 0:
        return input
    written = added_at(b, flat, places, updates, 0) if accumulate else b.scatter(flat, places, updates, axis=0, combine="replace")
    return reshape(b, written, shape_of(input))


@operation(name="take_along_dim")
def take_along_dim_op(b: Builder, input: Value, indices: Value, dim: int) -> Value:
    """The elements at places along a dimension, broadcast beside it."""
    own, asked = shape_of(input), shape_of(indices)
    if len(own) != len(asked):
        raise ShapeError(
            f"torch.take_along_dim(): input and indices should have the same number of dimensions, but got {len(own)} dimensions for "
            f"input, and {len(asked)} dimensions for indices"
        )
    _check_index("take_along_dim", indices)
    axis = axis_of(dim, len(own))
    beside = broadcast_shapes(*(tuple(1 if a == axis else s for a, s in enumerate(shape)) for shape in (own, asked)))
    x = broadcast_to(b, input, tuple(own[a] if a == axis else s for a, s in enumerate(beside)))
    places = broadcast_to(b, indices, tuple(asked[a] if a == axis else s for a, s in enumerate(beside)))
    found: Value = b.gather(x, wrapped(b, places, own[axis]), axis=axis)
    return found


def take_along_dim(input: Any, indices: Any, dim: int | None = None, *, out: Any = None) -> Any:
    """The elements at places along a dimension, broadcast beside it; without one, in the flattened tensor."""
    if dim is None:
        return into(out, take_along_dim_op(input.reshape(-1), indices.reshape(-1), 0))
    return into(out, take_along_dim_op(input, indices, dim))


# --- Masks ------------------------------------------------------------------------------------------------------------


@operation
def masked_fill(b: Builder, input: Value, mask: Value, value: Operand) -> Value:
    """The tensor with a number where the mask holds."""
    if dtype_of(mask) is not bool_:
        raise DTypeError("masked_fill_ only supports boolean masks, but got mask with dtype " + title(dtype_of(mask)).lower())
    _check_single("masked_fill_", value)
    if isinstance(value, float) and dtype_of(input).kind == "int":
        raise DTypeError(f"value cannot be converted to type {dtype_of(input).name} without overflow")
    mask, x = broadcast(b, mask, input)
    filled: Value = b.select(mask, broadcast_to(b, convert(b, value, dtype_of(x)), shape_of(x)), x)
    return filled


@operation
def masked_scatter(b: Builder, input: Value, mask: Value, source: Value) -> Value:
    """The tensor with the elements of `source`, in their order, where the mask holds."""
    if dtype_of(mask) is not bool_:
        raise ArgumentError("masked_scatter_ only supports boolean masks, but got mask with dtype " + dtype_of(mask).name)
    if dtype_of(input) is not dtype_of(source):
        raise DTypeError("masked_scatter: expected self and source to have same dtypes")
    mask, x = broadcast(b, mask, input)
    total, count = product(shape_of(x)), product(shape_of(source))
    if 0 in (total, count):
        return x
    flat = reshape(b, mask, (total,))
    place = b.sub(running_sum(b, convert(b, flat, i64), 0), 1)
    found = b.gather(reshape(b, source, (count,)), b.select(flat, place, b.const(0, place)), axis=0)
    return reshape(b, b.select(flat, found, reshape(b, x, (total,))), shape_of(x))


# --- Slices -----------------------------------------------------------------------------------------------------------


@operation
def select_scatter(b: Builder, input: Value, src: Value, dim: int, index: int) -> Value:
    """The tensor with the slice at an index along a dimension replaced."""
    own = shape_of(input)
    axis = axis_of(dim, len(own))
    size = own[axis] if own else 0
    if isinstance(size, int) and not -size <= index < size:
        raise DimensionError(f"select(): index {index} out of range for tensor of size {list(own)} at dimension {axis}")
    start = index + size if index < 0 else index
    wanted = (*own[:axis], *own[axis + 1 :])
    check_source(src, wanted)
    value = reshape(b, src, (*own[:axis], 1, *own[axis + 1 :]))
    return _region_put(b, input, value, axis, start, start + 1, 1)


@operation
def slice_scatter(
    b: Builder, input: Value, src: Value, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1
) -> Value:
    """The tensor with every `step`-th slice from `start` to before `end` along a dimension replaced."""
    own = shape_of(input)
    axis = axis_of(dim, len(own))
    size = own[axis]
    if not isinstance(size, int):
        raise ShapeError(compose("slice_scatter needs a known size", f"found {size}"))
    first, last, _ = slice(start, end, step).indices(size)
    last = max(first, last)
    wanted = tuple(-(-(last - first) // step) if a == axis else s for a, s in enumerate(own))
    check_source(src, wanted)
    return _region_put(b, input, src, axis, first, last, step)


def _region_put(b: Builder, x: Value, value: Value, axis: int, start: Any, stop: Any, step: int) -> Value:
    own: Shape = shape_of(x)
    starts = tuple(start if a == axis else 0 for a in range(len(own)))
    limits = tuple(stop if a == axis else s for a, s in enumerate(own))
    strides = tuple(step if a == axis else 1 for a in range(len(own)))
    return put_slice_op.emit(b, x, value, starts, limits, strides)  # type: ignore[no-any-return]


# --- Looking at elements ----------------------------------------------------------------------------------------------


def argwhere(input: Any) -> Any:
    """Where elements are nonzero, a row of places each. Looks at the elements."""
    return nonzero(input)


FUNCTIONS = (
    gather, scatter, scatter_add, scatter_reduce, index_select, index_add, index_copy, index_reduce, index_fill, index_put, take, put,
    take_along_dim, masked_fill, masked_scatter, select_scatter, slice_scatter, argwhere,
)  # fmt: skip
"""Functions that are methods, too."""
IN_PLACE = (
    scatter, scatter_add, scatter_reduce, index_add, index_copy, index_reduce, index_fill, index_put, put, masked_fill, masked_scatter,
)  # fmt: skip
"""Those that have a method with a trailing underscore."""
