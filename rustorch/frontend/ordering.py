"""Running sums, products and extremes; elements in order, and what is found by their order."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from rustorch.errors import DimensionError, DTypeError, ShapeError, Unsupported, compose
from rustorch.frontend.base import TensorBase
from rustorch.frontend.dtype import as_dtype
from rustorch.frontend.emission import Builder, Value, axis_of, convert, dtype_of, operation, promote, shape_of
from rustorch.frontend.movement import part, reshape
from rustorch.frontend.operation import from_array
from rustorch.ir.dtypes import i32, i64, title
from rustorch.ir.types import DType, TensorType


class Ordered(NamedTuple):
    """Elements, and their places along the dimension that they are from."""

    values: Any
    indices: Any


def _axis(x: Value, dim: int) -> int:
    return axis_of(dim, max(len(shape_of(x)), 1))


def _summed(dtype: DType, wanted: DType | None) -> DType:
    """What sums and products are kept in: integers and bools as int64, unless said otherwise."""
    if wanted is not None:
        return as_dtype(wanted)
    return dtype if dtype.kind == "float" else i64


# --- Scans ------------------------------------------------------------------------------------------------------------


@operation
def cumsum(b: Builder, input: Value, dim: int, *, dtype: DType | None = None) -> Value:
    """Sums of all elements up to each one, along a dimension; integers and bools add up as int64."""
    x, axis = convert(b, input, _summed(dtype_of(input), dtype)), _axis(input, dim)
    if not shape_of(x):
        return x
    found: Value = b.cumsum(x, axis=axis, reverse=False)
    return found


@operation
def cumprod(b: Builder, input: Value, dim: int, *, dtype: DType | None = None) -> Value:
    """Products of all elements up to each one, along a dimension; integers and bools multiply as int64."""
    x, axis = convert(b, input, _summed(dtype_of(input), dtype)), _axis(input, dim)
    if not shape_of(x):
        return x
    found: Value = b.cumprod(x, axis=axis)
    return found


def _running(b: Builder, op: str, x: Value, dim: int) -> Ordered:
    axis, shape = _axis(x, dim), shape_of(x)
    if not shape:
        return Ordered(x, b.const(0, TensorType(i64, ())))
    kind = dtype_of(x)
    wide = convert(b, x, i32) if kind.kind == "bool" else x
    values, places = (b.cummax if op == "cummax" else b.cummin)(wide, axis=axis)
    return Ordered(convert(b, values, kind), places)


@operation
def cummax(b: Builder, input: Value, dim: int) -> Ordered:
    """The largest element up to each one along a dimension, and where the last such stands; from a NaN on, NaN."""
    return _running(b, "cummax", input, dim)


@operation
def cummin(b: Builder, input: Value, dim: int) -> Ordered:
    """The smallest element up to each one along a dimension, and where the last such stands; from a NaN on, NaN."""
    return _running(b, "cummin", input, dim)


@operation
def logcumsumexp(b: Builder, input: Value, dim: int) -> Value:
    """The logarithm of the sum of exponentials of all elements up to each one, along a dimension, without overflow."""
    if dtype_of(input).kind != "float":
        words = f"\"logcumsumexp_out_cpu\" not implemented for '{title(dtype_of(input))}'"
        raise Unsupported(compose(words, todo="Convert the input to floats."))
    axis = _axis(input, dim)
    if not shape_of(input):
        return input
    found: Value = b.logcumsumexp(input, axis=axis)
    return found


# --- Sorting ----------------------------------------------------------------------------------------------------------


def ordered(b: Builder, x: Value, axis: int, descending: bool = False, count: int | None = None) -> tuple[Value, Value]:
    """The elements in order along an axis (a 0-d value: itself) and their places; `count`: the first of them."""
    if not shape_of(x):
        return x, b.const(0, TensorType(i64, ()))
    values, places = b.sort(x, axis=axis, descending=descending, count=shape_of(x)[axis] if count is None else count)
    return values, places


@operation(name="sort")
def _sort(b: Builder, input: Value, dim: int, descending: bool) -> Ordered:
    """The elements in order along a dimension, and their places."""
    return Ordered(*ordered(b, input, _axis(input, dim), descending))


def sort(input: Any, dim: int = -1, descending: bool = False, stable: bool = True) -> Any:
    """The elements in order along a dimension, and their places. Equal ones keep their order; NaN is larger than all numbers."""
    return _sort(input, dim, bool(descending))


def argsort(input: Any, dim: int = -1, descending: bool = False, stable: bool = True) -> Any:
    """The places of the elements in order along a dimension."""
    return _sort(input, dim, bool(descending))[1]


def msort(input: Any) -> Any:
    """The elements in order along the first dimension."""
    return _sort(input, 0, False)[0]


def _length(x: Value, axis: int) -> int:
    """The size of an axis, which must be known; 1 of a 0-d value."""
    size = shape_of(x)[axis] if shape_of(x) else 1
    if not isinstance(size, int):
        raise Unsupported(compose("a choice by order needs a known size", f"found {size} along dimension {axis}"))
    return size


@operation(name="topk")
def _topk(b: Builder, input: Value, k: int, dim: int, largest: bool) -> Ordered:
    """The k largest or smallest elements along a dimension, in order, and their places."""
    axis = _axis(input, dim)
    size = _length(input, axis)
    if not 0 <= k <= size:
        raise ShapeError(compose("selected index k out of range", f"k is {k} and dimension {axis} has size {size}"))
    return Ordered(*ordered(b, input, axis, largest, k))


def topk(input: Any, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> Any:
    """The `k` largest (or smallest) elements along a dimension, in order, and their places."""
    return _topk(input, int(k), dim, bool(largest))


def _picked(b: Builder, x: Value, values: Value, places: Value, axis: int, k: int, keepdim: bool) -> Ordered:
    """Element k in order along an axis, and its place."""
    if not shape_of(x):
        return Ordered(values, places)
    return _one(b, [part(b, v, axis, k, k + 1) for v in (values, places)], axis, keepdim)


def _one(b: Builder, found: list[Value], axis: int, keepdim: bool) -> Ordered:
    """An element and its place, of size 1 along an axis, which is left out unless it is kept."""
    if keepdim:
        return Ordered(*found)
    return Ordered(*(b.reshape(v, shape=tuple(n for a, n in enumerate(shape_of(v)) if a != axis)) for v in found))


@operation(name="kthvalue")
def _kthvalue(b: Builder, input: Value, k: int, dim: int, keepdim: bool) -> Ordered:
    """The k-th smallest element along a dimension, and its place."""
    axis = _axis(input, dim)
    size = _length(input, axis)
    if not 1 <= k <= size:
        raise ShapeError(compose(f"kthvalue(): selected number k out of range for dimension {axis}", f"k is {k}, and there are {size}"))
    return _picked(b, input, *ordered(b, input, axis, count=k), axis, k - 1, keepdim)


def kthvalue(input: Any, k: int, dim: int = -1, keepdim: bool = False) -> Any:
    """The `k`-th smallest element along a dimension (`k` from 1 on), and its place."""
    return _kthvalue(input, int(k), dim, bool(keepdim))


@operation(name="median")
def _median(b: Builder, input: Value, dim: int, keepdim: bool, skip: bool) -> Ordered:
    """The lower of the middle elements along a dimension, and its place; NaN where one is NaN, or of the numbers (`skip`)."""
    axis, shape = _axis(input, dim), shape_of(input)
    size = _length(input, axis)
    if size == 0:
        raise DimensionError(f"median(): Expected reduction dim {axis} to have non-zero size.")
    values, places = ordered(b, input, axis)
    if not shape:
        return Ordered(values, places)
    one = (*shape[:axis], 1, *shape[axis + 1 :])
    place = b.const((size - 1) // 2, TensorType(i64, one))
    if dtype_of(input).kind == "float":
        flags = b.reduce_sum(b.convert(b.ne(input, input), dtype=i64), axes=(axis,))
        count = b.reshape(flags, shape=one)
        if skip:
            numbers = b.sub(size, count)
            place = b.maximum(b.div(b.sub(numbers, 1), 2), 0)
        else:  # the first NaN of those at the end
            place = b.select(b.gt(count, 0), b.sub(size, count), place)
    return _one(b, [b.gather(x, place, axis=axis) for x in (values, places)], axis, keepdim)


def _middle(input: Any, dim: int | None, keepdim: bool, skip: bool) -> Any:
    if dim is None:
        if input.numel() == 0:
            return from_array(np.full((), math.nan, input._type.dtype.numpy))
        return _median(reshape(input, (-1,)), 0, False, skip)[0]
    return _median(input, dim, bool(keepdim), skip)


def median(input: Any, dim: int | None = None, keepdim: bool = False) -> Any:
    """The lower of the two middle elements: of all, or along a dimension with its place. NaN where there is one."""
    return _middle(input, dim, keepdim, False)


def nanmedian(input: Any, dim: int | None = None, keepdim: bool = False) -> Any:
    """`median` of the elements that are not NaN."""
    return _middle(input, dim, keepdim, True)


@operation
def mode(b: Builder, input: Value, dim: int = -1, keepdim: bool = False) -> Ordered:
    """The most frequent element along a dimension, the smallest of several, and where it stands last."""
    axis, shape = _axis(input, dim), shape_of(input)
    values, places = ordered(b, input, axis)
    if not shape:
        return Ordered(values, places)
    if shape[axis] == 0:
        raise DimensionError(f"mode(): Expected reduction dim {axis} to have non-zero size.")
    counts = b.iota(type=TensorType(i64, shape), axis=axis)
    new = b.or_(b.eq(counts, 0), b.ne(values, _before(b, values, axis)))
    start, _ = b.cummax(b.select(new, counts, b.const(0, counts)), axis=axis)
    last = b.reshape(b.argmax(b.sub(counts, start), axis=axis), shape=(*shape[:axis], 1, *shape[axis + 1 :]))
    return _one(b, [b.gather(x, last, axis=axis) for x in (values, places)], axis, keepdim)


def _before(b: Builder, x: Value, axis: int) -> Value:
    """Each element's predecessor; the first is its own."""
    size = shape_of(x)[axis]
    places = b.maximum(b.sub(b.iota(type=TensorType(i64, shape_of(x)), axis=axis), 1), 0)
    found: Value = b.gather(x, places, axis=axis) if size != 0 else x
    return found


@operation(name="quantile")
def _quantile(b: Builder, input: Value, q: Value, dim: int, keepdim: bool, interpolation: str, skip: bool) -> Value:
    """The elements at shares q of the way through the order, between neighbours as `interpolation` says; q's axis in front."""
    axis, shape = _axis(input, dim), shape_of(input)
    x = input if shape else b.reshape(input, shape=(1,))
    shape = shape_of(x)
    values, _ = ordered(b, x, axis)
    numbers, size = shape_of(q), _length(x, axis)
    if size == 0:
        raise ShapeError("quantile() input tensor must be non-empty")
    many = numbers[0] if numbers else 1
    wide = (*shape[:axis], many, *shape[axis + 1 :])
    nans = b.reduce_sum(b.convert(b.ne(x, x), dtype=i64), axes=(axis,))
    others = tuple(a for a in range(len(shape)) if a != axis)
    count = b.broadcast_to(nans, shape=wide, dims=others)
    share = b.broadcast_to(b.reshape(q, shape=(many,)), shape=wide, dims=(axis,))
    last = b.sub(size - 1, count) if skip else b.const(size - 1, count)
    at = b.mul(share, b.convert(b.maximum(last, 0), dtype=dtype_of(x)))
    if interpolation == "nearest":
        at = b.round_even(at)
    low, high = b.floor(at), b.ceil(at)
    below, above = (b.gather(values, b.convert(place, dtype=i64), axis=axis) for place in (low, high))
    weight = {"lower": 0.0, "higher": 1.0, "midpoint": 0.5}.get(interpolation)
    part = b.sub(at, low) if weight is None else b.select(b.eq(low, high), b.const(0, at), b.const(weight, at))
    found = b.select(b.eq(part, 0), below, b.add(below, b.mul(part, b.sub(above, below))))
    found = b.select(b.lt(last, 0) if skip else b.gt(count, 0), b.const(math.nan, found), found)
    front = b.transpose(found, perm=(axis, *others))
    rest = tuple(1 if a == axis else n for a, n in enumerate(shape)) if keepdim else tuple(shape[a] for a in others)
    if not shape_of(input):
        rest = ()
    arranged: Value = b.reshape(front, shape=(*numbers, *rest))
    return arranged


def _quantiles(input: Any, q: Any, dim: int | None, keepdim: bool, interpolation: str, skip: bool) -> Any:
    name = "nanquantile" if skip else "quantile"
    if interpolation not in ("linear", "lower", "higher", "midpoint", "nearest"):
        raise ShapeError(
            f"{name}() interpolation must be one of linear, lower, higher, midpoint or nearest, but got {interpolation}"
        )
    dtype = input._type.dtype
    if dtype.kind != "float":
        raise DTypeError(compose(f"{name}() input tensor must be either float or double dtype", f"found {dtype}"))
    if not isinstance(q, TensorBase):
        if not 0 <= q <= 1:
            raise ShapeError(f"{name}() q must be in the range [0, 1] but got {q}")
        q = from_array(np.asarray(q, dtype.numpy))
    if len(q.shape) > 1:
        raise ShapeError(f"{name}() q must be a scalar or 1D tensor")
    if q._type.dtype is not dtype:
        raise DTypeError(f"{name}() q tensor must be same dtype as the input tensor")
    if dim is None:
        whole = _quantile(reshape(input, (-1,)), q, 0, False, interpolation, skip)
        return reshape(whole, (*q.shape, *(1 for _ in input.shape))) if keepdim else whole
    return _quantile(input, q, dim, bool(keepdim), interpolation, skip)


def quantile(input: Any, q: Any, dim: int | None = None, keepdim: bool = False, *, interpolation: str = "linear") -> Any:
    """The element at the share `q` (0 to 1; several: a first dimension) of the way through the order, of all or along a dimension.

    Between two elements `interpolation` decides: linear, lower, higher, midpoint or nearest. NaN where there is one.
    """
    return _quantiles(input, q, dim, keepdim, interpolation, False)


def nanquantile(input: Any, q: Any, dim: int | None = None, keepdim: bool = False, *, interpolation: str = "linear") -> Any:
    """`quantile` of the elements that are not NaN."""
    return _quantiles(input, q, dim, keepdim, interpolation, True)


# --- Searching --------------------------------------------------------------------------------------------------------


@operation(name="searchsorted")
def _search(b: Builder, sequence: Value, values: Value, sorter: Value | None, right: bool, narrow: bool) -> Value:
    """How many elements of sorted rows stand before each value: by halving steps, all values at once."""
    rows, wanted = promote(b, sequence, values)
    shape, lead = shape_of(wanted), shape_of(rows)[:-1]
    size = shape_of(rows)[-1]
    if not isinstance(size, int):
        raise ShapeError(compose("searchsorted needs a known number of boundaries", f"found {size}"))
    if not lead:  # one row for all values
        count: Any = 1
        for n in shape:
            count = count * n
        wanted = b.reshape(wanted, shape=(count,))
    low = b.const(0, TensorType(i64, shape_of(wanted)))
    axis, step = len(lead), 1
    while 2 * step <= size:
        step *= 2
    while step >= 1 and size:
        ahead = b.add(low, step)
        inside = b.le(ahead, size)
        place = b.sub(b.minimum(ahead, size), 1)
        if sorter is not None:
            place = b.gather(convert(b, sorter, i64), place, axis=axis)
        seen = b.gather(rows, place, axis=axis)
        before = b.not_(b.gt(seen, wanted) if right else b.ge(seen, wanted))  # so a NaN goes to the end
        low = b.select(b.and_(inside, before), ahead, low)
        step //= 2
    found = b.reshape(low, shape=shape)
    return convert(b, found, i32) if narrow else found


def searchsorted(
    sorted_sequence: Any,
    input: Any,
    *,
    out_int32: bool = False,
    right: bool = False,
    side: str | None = None,
    sorter: Any = None,
) -> Any:
    """Where each element would be put into sorted rows: before equal ones, or behind them (`right`, or `side` "right").

    `sorted_sequence`: one row for all, or rows [..., n] for inputs [..., m]. `sorter`: the order of rows that are not sorted.
    """
    if side not in (None, "left", "right"):
        raise ShapeError(f"torch.searchsorted(): side can only be 'left' or 'right' but got {side}")
    if side == "left" and right:
        raise ShapeError("torch.searchsorted(): side and right can't be set to opposites, got side of left while right was True")
    right = right or side == "right"
    if not isinstance(input, TensorBase):
        input = from_array(np.asarray(input, np.float64 if isinstance(input, float) else np.int64))
    rows, shape = sorted_sequence.shape, input.shape
    if len(rows) == 0:
        raise ShapeError("torch.searchsorted(): boundaries tensor should have positive dimension, but got 0 dimension")
    if len(rows) != 1 and tuple(rows[:-1]) != tuple(shape[:-1]):
        raise ShapeError(
            "torch.searchsorted(): boundaries tensor should be 1 dimension or the first N-1 dimensions of boundaries tensor and input "
            f"value tensor must match, but we got boundaries tensor {list(rows)} and input value tensor {list(shape)}"
        )
    if sorter is not None and tuple(sorter.shape) != tuple(rows):
        raise ShapeError(
            f"torch.searchsorted(): boundary and sorter must have the same size, but got boundary tensor {list(rows)} and got sorter "
            f"tensor {list(sorter.shape)}"
        )
    return _search(sorted_sequence, input, sorter, right, bool(out_int32))


def bucketize(input: Any, boundaries: Any, *, out_int32: bool = False, right: bool = False) -> Any:
    """How many sorted boundaries are below each element; with `right`, not above it."""
    if boundaries._type.rank != 1:
        raise ShapeError(f"boundaries tensor must be 1 dimension, but got dim({boundaries._type.rank})")
    return searchsorted(boundaries, input, out_int32=out_int32, right=right)


# --- What is there, once ----------------------------------------------------------------------------------------------


def unique(input: Any, sorted: bool = True, return_inverse: bool = False, return_counts: bool = False, dim: int | None = None) -> Any:
    """The distinct elements in order (or the distinct slices along a dimension). How many there are is looked at.

    `return_inverse`: where each element is among them; `return_counts`: how often each is there.
    """
    x = input._elements()
    axis = None if dim is None else axis_of(dim, x.ndim)
    values, inverse, counts = np.unique(x, return_inverse=True, return_counts=True, axis=axis, equal_nan=False)
    shape = x.shape if axis is None else (x.shape[axis],)
    return _chosen(values, inverse.reshape(shape), counts, return_inverse, return_counts)


def unique_consecutive(input: Any, return_inverse: bool = False, return_counts: bool = False, dim: int | None = None) -> Any:
    """The elements (or slices along a dimension) without those that equal the one before. How many are left is looked at."""
    x = input._elements()
    rows = x.reshape(-1) if dim is None else np.moveaxis(x, axis_of(dim, x.ndim), 0)
    new = np.ones(len(rows), bool)
    if len(rows) > 1:
        new[1:] = (rows[1:] != rows[:-1]).reshape(len(rows) - 1, -1).any(1)
    starts = np.flatnonzero(new)
    inverse = np.cumsum(new) - 1
    values = rows[starts] if dim is None else np.moveaxis(rows[starts], 0, axis_of(dim, x.ndim))
    counts = np.diff([*starts, len(rows)])
    return _chosen(values, inverse.reshape(x.shape) if dim is None else inverse, counts, return_inverse, return_counts)


def _chosen(values: Any, inverse: Any, counts: Any, return_inverse: bool, return_counts: bool) -> Any:
    found = [values] + [inverse] * return_inverse + [counts] * return_counts
    tensors = [from_array(np.ascontiguousarray(v) if v is values else np.asarray(v, np.int64)) for v in found]
    return tensors[0] if len(tensors) == 1 else tuple(tensors)


FUNCTIONS = (
    cumsum, cumprod, cummax, cummin, logcumsumexp, sort, argsort, msort, topk, kthvalue, median, nanmedian, mode, quantile,
    nanquantile, unique, unique_consecutive,
)  # fmt: skip
"""Functions that are methods, too."""
