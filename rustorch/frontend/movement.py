"""Shapes and places: views, joins and copies of elements.

On concrete tensors that record no gradient a view that numpy can make without copying is made at once. Elsewhere a view is
recorded, and knows its base, so that writing to either is seen by the other (`storage.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from rustorch.errors import ArgumentError, DimensionError, ShapeError, compose
from rustorch.frontend.base import TensorBase, concrete
from rustorch.frontend.dtype import Size as Size_
from rustorch.frontend.emission import (
    Builder,
    Shape,
    Value,
    axes_of,
    axis_of,
    broadcast_shapes,
    convert,
    dtype_of,
    operation,
    result_type,
    shape_of,
)
from rustorch.frontend.emission import broadcast_to as repeated
from rustorch.frontend.emission import reshape as reshaped
from rustorch.frontend.sizes import plain
from rustorch.frontend.state import local
from rustorch.frontend.storage import into, link, noted
from rustorch.ir.dims import Dim, Size, product
from rustorch.ir.dtypes import bool_, i64
from rustorch.ir.types import TensorType

# --- Operations -------------------------------------------------------------------------------------------------------


@operation(name="reshape")
def reshape_op(b: Builder, input: Value, shape: Shape) -> Value:
    """The elements in another shape; one size may be -1."""
    return reshaped(b, input, whole_shape(shape_of(input), shape))


def whole_shape(own: Shape, asked: Shape) -> Shape:
    """The asked shape with its -1 worked out."""
    for size in asked:
        if isinstance(size, int) and size < -1:
            raise ShapeError(f"invalid shape dimension {size}")
    total = product(own)
    if -1 in asked:
        rest = product(tuple(s for s in asked if s != -1))
        if asked.count(-1) > 1:
            raise ShapeError("only one dimension can be inferred")
        if rest and (total % rest if isinstance(total, int) and isinstance(rest, int) else total - total // rest * rest) == 0:
            return tuple(total // rest if s == -1 else s for s in asked)
    elif product(asked) == total:
        return asked
    raise ShapeError(compose(f"shape '{list(asked)}' is invalid for input of size {total}", f"the tensor has shape {list(own)}"))


@operation(name="permute")
def permute_op(b: Builder, input: Value, dims: tuple[int, ...]) -> Value:
    """The dimensions in another order."""
    rank = len(shape_of(input))
    if len(dims) != rank:
        raise ShapeError(
            f"permute(sparse_coo): number of dimensions in the tensor input does not match the length of the desired ordering of "
            f"dimensions i.e. input.dim() = {rank} is not equal to len(dims) = {len(dims)}"
        )
    perm = tuple(axis_of(d, rank) for d in dims)
    if len(set(perm)) != rank:
        raise ArgumentError("permute(): duplicate dims are not allowed.")
    return input if perm == tuple(range(rank)) else b.transpose(input, perm=perm)


@operation(name="expand")
def expand_op(b: Builder, input: Value, sizes: tuple[int, ...]) -> Value:
    """The tensor repeated to a larger shape; -1 keeps a size."""
    own = shape_of(input)
    lead = len(sizes) - len(own)
    if lead < 0:
        raise ShapeError(
            f"expand(): the number of sizes provided ({len(sizes)}) must be greater or equal to the number of dimensions in the "
            f"tensor ({len(own)})"
        )
    return repeated(b, input, tuple(own[i - lead] if s == -1 and i >= lead else s for i, s in enumerate(sizes)))


@operation(name="cat")
def cat_op(b: Builder, tensors: Sequence[Value], dim: int) -> Value:
    """Tensors one behind the other along a dimension."""
    if not tensors:
        raise ArgumentError("torch.cat(): expected a non-empty list of Tensors")
    dtype = result_type(*tensors)
    if any(shape_of(x) != (0,) for x in tensors):  # a vector of nothing goes with everything, as it does in PyTorch
        tensors = [x for x in tensors if shape_of(x) != (0,)]
    for i, x in enumerate(tensors):
        if not shape_of(x):
            raise ShapeError(f"zero-dimensional tensor (at position {i}) cannot be concatenated")
    first = shape_of(tensors[0])
    axis = axis_of(dim, len(first))
    for i, x in enumerate(tensors):
        other = shape_of(x)
        if len(other) != len(first):
            raise ShapeError(f"Tensors must have same number of dimensions: got {len(first)} and {len(other)}")
        for d, (s, t) in enumerate(zip(first, other, strict=True)):
            if d != axis and s != t:
                raise ShapeError(
                    f"Sizes of tensors must match except in dimension {axis}. Expected size {s} but got size {t} for tensor number "
                    f"{i} in the list."
                )
    joined: Value = b.concat(*(convert(b, x, dtype) for x in tensors), axis=axis)
    return joined


@operation(name="stack")
def stack_op(b: Builder, tensors: Sequence[Value], dim: int) -> Value:
    """Tensors of one shape along a new dimension."""
    if not tensors:
        raise ArgumentError("stack expects a non-empty TensorList")
    first = shape_of(tensors[0])
    axis = axis_of(dim, len(first) + 1)
    for i, x in enumerate(tensors):
        if shape_of(x) != first:
            shapes = f"{list(first)} at entry 0 and {list(shape_of(x))} at entry {i}"
            raise ShapeError(f"stack expects each tensor to be equal size, but got {shapes}")
    dtype = result_type(*tensors)
    rows = [reshaped(b, convert(b, x, dtype), (*first[:axis], 1, *first[axis:])) for x in tensors]
    joined: Value = b.concat(*rows, axis=axis)
    return joined


@operation(name="flip")
def flip_op(b: Builder, input: Value, dims: tuple[int, ...]) -> Value:
    """The order of elements turned around along dimensions."""
    axes = axes_of(dims, len(shape_of(input)))
    return b.flip(input, axes=axes) if dims else input


@operation(name="slice")
def slice_op(b: Builder, input: Value, starts: tuple[int, ...], limits: tuple[int, ...], strides: tuple[int, ...]) -> Value:
    """A region: every `strides`-th element from `starts` up to `limits`."""
    region: Value = b.slice(input, starts=starts, limits=limits, strides=strides)
    return region


def part(b: Builder, x: Value, axis: int, start: Size, stop: Size) -> Value:
    """The places from `start` to before `stop` along one axis."""
    own = shape_of(x)
    if start == 0 and stop == own[axis]:
        return x
    starts = tuple(start if a == axis else 0 for a in range(len(own)))
    limits = tuple(stop if a == axis else size for a, size in enumerate(own))
    found: Value = b.slice(x, starts=starts, limits=limits, strides=(1,) * len(own))
    return found


def check_source(src: Value, wanted: Shape) -> None:
    """That what replaces a part of a tensor has its shape."""
    if shape_of(src) != wanted:
        raise ShapeError(
            f"expected src to have a size equal to the slice of self. src size = {list(shape_of(src))}, slice size = {list(wanted)}"
        )


@operation(name="put_slice")
def put_slice_op(
    b: Builder, input: Value, value: Value, starts: tuple[int, ...], limits: tuple[int, ...], strides: tuple[int, ...]
) -> Value:
    """The tensor with a region replaced."""
    own = shape_of(input)
    region = tuple(-(-(stop - start) // step) for start, stop, step in zip(starts, limits, strides, strict=True))
    value = repeated(b, convert(b, value, dtype_of(input)), region)
    if region == own:
        return value
    if any(step != 1 and size > 1 for step, size in zip(strides, region, strict=True)):
        return place(b, input, value, np.arange(_number(own)).reshape(sizes_from((own,)))[tuple(map(slice, starts, limits, strides))])
    high = tuple(int(size) - start - length for size, start, length in zip(own, starts, region, strict=True))  # type: ignore[arg-type]
    inside = b.pad(b.const(True, TensorType(bool_, region)), low=starts, high=high, value=False)
    spread = b.pad(value, low=starts, high=high, value=zero_of(input))
    chosen: Value = b.select(inside, spread, input)
    return chosen


def place(b: Builder, input: Value, value: Value, places: Any) -> Value:
    """The tensor with the elements at the flat `places` (an array of the value's shape) replaced; the last of equal ones stays."""
    own = shape_of(input)
    size = _number(own)
    source = np.full(size, -1, np.int64)
    source[places.reshape(-1)] = np.arange(places.size)
    flat = reshaped(b, input, (size,))
    if places.size == 0:
        return input
    index = b.const(np.maximum(source, 0), TensorType(i64, (size,)))
    found = b.gather(reshaped(b, value, (places.size,)), index, axis=0)
    mask = b.const(source >= 0, TensorType(bool_, (size,)))
    return reshaped(b, b.select(mask, found, flat), own)


def _number(shape: Shape) -> int:
    size = product(shape)
    if not isinstance(size, int):
        raise ShapeError(compose("this needs known sizes", f"found {list(shape)}"))
    return size


def zero_of(x: Value) -> int | float | bool:
    """Zero as a Python number of the kind of `x`."""
    return {"bool": False, "int": 0, "float": 0.0}[dtype_of(x).kind]


# --- Views ------------------------------------------------------------------------------------------------------------


def is_plain(x: TensorBase) -> bool:
    """Whether a view of `x` can be made by numpy, unrecorded: concrete elements, no gradient to follow, no recorded views."""
    if x._array is None or x._requires_grad or not local.segment.writes_memory:
        return False
    extra = x._extra
    return extra is None or (extra.scatter is None and not extra.views)


def plain_view(x: TensorBase, array: Any) -> Any:
    """A tensor that looks into the memory of `x`."""
    view = concrete(array, TensorType(x._type.dtype, array.shape))
    base, extra = x._more(), view._more()
    extra.exposed = base.exposed
    base.shared = extra.shared = True
    extra.base = x
    base.plain = noted(base.plain, view)
    return view


def viewed(x: TensorBase, call: Callable[..., Any], args: tuple[Any, ...], scatter: Callable[[Any, Any], Any]) -> Any:
    """The view `call(x, *args)`, linked to its base."""
    return link(call(x, *args), x, lambda base: call(base, *args), scatter)


def reshape(input: Any, *shape: Any) -> Any:
    """The tensor with the same elements in another shape; one size may be -1."""
    asked = sizes_from(shape)
    own = input._type.shape
    if is_plain(input):
        array = input._array.reshape(whole_shape(own, asked))
        if np.may_share_memory(array, input._array):
            return plain_view(input, array)
        return reshape_op(input, asked)
    return viewed(input, reshape_op, (asked,), lambda base, value: reshape_op(value, own))


view = reshape


def sizes_from(given: tuple[Any, ...]) -> tuple[Any, ...]:
    """Sizes that were given one by one or as one sequence: ints, or sizes without a value yet."""
    sizes = given[0] if len(given) == 1 and not isinstance(given[0], (int, np.integer, TensorBase, Dim)) else given
    if _INT.issuperset(map(type, sizes)):
        return tuple(sizes)
    return tuple(size if type(size) is int else plain(size) if isinstance(size, Dim) else _index(size) for size in sizes)


_INT = frozenset({int})


def _index(size: Any) -> int:
    try:
        return int(size.__index__())
    except AttributeError:
        raise ArgumentError(f"a size or dimension must be an int, not {type(size).__name__}") from None


def permute(input: Any, *dims: Any) -> Any:
    """The dimensions in another order."""
    order = sizes_from(dims)
    whole, back = _both_ways(order, len(input._type.shape))
    if back is not None and is_plain(input):
        return plain_view(input, input._array.transpose(whole))
    return viewed(input, permute_op, (order,), lambda base, value: permute_op(value, back))


@lru_cache(maxsize=1024)
def _both_ways(order: tuple[int, ...], rank: int) -> tuple[tuple[int, ...], tuple[int, ...] | None]:
    """An order of dimensions, counted from the front, and the one that undoes it; None where it is no order."""
    whole = tuple(d % rank if -rank <= d < rank else d for d in order)
    return whole, tuple(map(whole.index, range(rank))) if sorted(whole) == list(range(rank)) else None


def transpose(input: Any, dim0: int, dim1: int) -> Any:
    """Two dimensions exchanged."""
    rank = len(input._type.shape)
    order = list(range(rank))
    a, c = axis_of(dim0, rank), axis_of(dim1, rank)
    if rank:
        order[a], order[c] = c, a
    return permute(input, tuple(order))


def t(input: Any) -> Any:
    """The transpose of a matrix; vectors and numbers as they are."""
    rank = len(input._type.shape)
    if rank > 2:
        raise ShapeError(f"t() expects a tensor with <= 2 dimensions, but self is {rank}D")
    return permute(input, tuple(range(rank))[::-1])


def expand(input: Any, *sizes: Any) -> Any:
    """The tensor repeated to a larger shape without asking for memory; -1 keeps a size."""
    return viewed(input, expand_op, (sizes_from(sizes),), _refuse_writing)


def _refuse_writing(base: Any, value: Any) -> Any:
    raise ShapeError(
        compose(
            "unsupported operation: more than one element of the written-to tensor refers to a single memory location.",
            todo="Please clone() the tensor before performing the operation.",
        )
    )


def expand_as(input: Any, other: Any) -> Any:
    """The tensor repeated to the shape of another."""
    return expand(input, other._type.shape)


def broadcast_sizes(*shapes: tuple[int, ...]) -> Size_:
    """The shape that shapes broadcast to, as users see shapes."""
    return Size_(broadcast_shapes(*shapes))  # type: ignore[arg-type]


def broadcast_to(input: Any, size: Any) -> Any:
    """The tensor repeated to a larger shape without asking for memory."""
    return expand(input, size)


def listed(tensors: Sequence[Any]) -> list[Any]:
    """The tensors of arguments that are tensors, or one list of them."""
    return list(tensors[0]) if len(tensors) == 1 and isinstance(tensors[0], (list, tuple)) else list(tensors)


def broadcast_tensors(*tensors: Any) -> tuple[Any, ...]:
    """The tensors repeated to one shape."""
    given = listed(tensors)
    shape = broadcast_shapes(*(x._type.shape for x in given))
    return tuple(expand(x, shape) for x in given)


def squeeze(input: Any, dim: int | tuple[int, ...] | None = None) -> Any:
    """The tensor without its dimensions of size 1, or without those named that have it."""
    own = input._type.shape
    axes = axes_of(dim, len(own))
    return reshape(input, tuple(s for a, s in enumerate(own) if not (a in axes and s == 1)))


def unsqueeze(input: Any, dim: int) -> Any:
    """The tensor with a new dimension of size 1."""
    own = input._type.shape
    axis = axis_of(dim, len(own) + 1)
    return reshape(input, (*own[:axis], 1, *own[axis:]))


def flatten(input: Any, start_dim: int = 0, end_dim: int = -1) -> Any:
    """The dimensions from `start_dim` to `end_dim` as one."""
    own = input._type.shape
    first, last = axis_of(start_dim, len(own)), axis_of(end_dim, len(own))
    if first > last:
        raise ArgumentError("flatten() has invalid args: start_dim cannot come after end_dim")
    if not own:
        return reshape(input, (1,))
    return reshape(input, (*own[:first], product(own[first : last + 1]), *own[last + 1 :]))


def unflatten(input: Any, dim: int, sizes: tuple[int, ...]) -> Any:
    """One dimension as several."""
    own = input._type.shape
    axis = axis_of(dim, len(own))
    return reshape(input, (*own[:axis], *whole_shape((own[axis],), tuple(sizes)), *own[axis + 1 :]))


def narrow(input: Any, dim: int, start: int, length: int) -> Any:
    """`length` places from `start` along a dimension."""
    own = input._type.shape
    axis = axis_of(dim, len(own))
    if start < 0:
        start += own[axis]
    if not 0 <= start <= own[axis] - length or length < 0:
        raise DimensionError(f"start ({start}) + length ({length}) exceeds dimension size ({own[axis]}).")
    return region(input, tuple(slice(start, start + length) if a == axis else slice(0, s) for a, s in enumerate(own)))


def region(input: Any, slices: tuple[slice, ...]) -> Any:
    """The view of a region, given by slices of known positive steps, one a dimension."""
    if is_plain(input):
        return plain_view(input, input._array[slices])
    return cut(input, (tuple(s.start for s in slices), tuple(s.stop for s in slices), tuple(s.step or 1 for s in slices)))


def cut(input: Any, args: tuple[Any, Any, Any]) -> Any:
    """The view of a region, given by its first places, ends and steps; recorded."""
    return viewed(input, slice_op, args, lambda base, value: put_slice_op(base, value, *args))


# --- Joins and parts --------------------------------------------------------------------------------------------------


def cat(tensors: Sequence[Any], dim: int = 0, *, out: Any = None) -> Any:
    """Tensors one behind the other along a dimension."""
    return into(out, cat_op(tuple(tensors), dim))


def stack(tensors: Sequence[Any], dim: int = 0, *, out: Any = None) -> Any:
    """Tensors of one shape along a new dimension."""
    return into(out, stack_op(tuple(tensors), dim))


def split(input: Any, split_size: int | Sequence[int], dim: int = 0) -> tuple[Any, ...]:
    """Parts of a size, or of sizes, along a dimension."""
    own = input._type.shape
    axis = axis_of(dim, len(own))
    total = own[axis]
    if isinstance(split_size, int):
        if split_size <= 0:
            raise ArgumentError(f"split expects split_size be non-negative, but got split_size={split_size}")
        sizes = [min(split_size, total - i) for i in range(0, total, split_size)] or [0]
    else:
        sizes = list(split_size)
        if sum(sizes) != total:
            raise ShapeError(
                f"split_with_sizes expects split_sizes to sum exactly to {total} (input tensor's size at dimension {axis}), "
                f"but got split_sizes={sizes}"
            )
    starts = np.cumsum([0, *sizes]).tolist()
    return tuple(narrow(input, axis, start, size) for start, size in zip(starts, sizes, strict=False))


def chunk(input: Any, chunks: int, dim: int = 0) -> tuple[Any, ...]:
    """At most `chunks` parts of one size (the last may be smaller) along a dimension."""
    total = input._type.shape[axis_of(dim, len(input._type.shape))]
    return split(input, max(-(-total // chunks), 1), dim)


def unbind(input: Any, dim: int = 0) -> tuple[Any, ...]:
    """The slices along a dimension, each without it."""
    axis = axis_of(dim, len(input._type.shape))
    return tuple(select(input, axis, i) for i in range(input._type.shape[axis]))


def select(input: Any, dim: int, index: int) -> Any:
    """The slice at `index` along a dimension, without it."""
    own = input._type.shape
    axis = axis_of(dim, len(own))
    if not -own[axis] <= index < own[axis]:
        raise DimensionError(f"select(): index {index} out of range for tensor of size {list(own)} at dimension {axis}")
    return squeeze(narrow(input, axis, index % own[axis], 1), axis)


def flip(input: Any, *dims: Any) -> Any:
    """The order of elements turned around along dimensions."""
    return flip_op(input, sizes_from(dims))


FUNCTIONS = (
    reshape, permute, transpose, t, squeeze, unsqueeze, flatten, unflatten, narrow, split, chunk, unbind, select, flip,
    broadcast_to,
)  # fmt: skip
"""Functions that are methods, too."""
