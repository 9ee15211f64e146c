"""Sums, extremes, means and products: over all elements, or over dimensions with `dim` and `keepdim`."""

from __future__ import annotations

from typing import Any, NamedTuple

from rustorch.errors import ArgumentError, DimensionError, DTypeError, ShapeError, compose
from rustorch.frontend.base import TensorBase
from rustorch.frontend.dtype import as_dtype
from rustorch.frontend.elementwise import recorded
from rustorch.frontend.emission import (
    Builder,
    Operand,
    Value,
    average,
    axes_of,
    axis_of,
    broadcast,
    convert,
    count,
    dtype_of,
    keep,
    operation,
    promote,
    reduce,
    shape_of,
    together,
)
from rustorch.frontend.storage import into
from rustorch.ir.dtypes import bool_, i64, title
from rustorch.ir.types import DType

Dims = int | tuple[int, ...] | None


class Extremum(NamedTuple):
    """Extreme values along a dimension, and where the first of each is."""

    values: Any
    indices: Any


def dims_from(dim: Any) -> Dims:
    """Dimensions as an operation takes them: None, an int, or a tuple of ints."""
    return dim if dim is None or type(dim) is int else tuple(dim) if isinstance(dim, (list, tuple)) else int(dim)


@operation(name="sum")
def sum_op(b: Builder, input: Value, dim: Dims, keepdim: bool, dtype: DType | None) -> Value:
    """The sum; integers and bools add up as int64."""
    own = dtype_of(input)
    x = convert(b, input, dtype or (own if own.kind == "float" else i64))
    return reduce(b, "sum", x, dim, keepdim)


@operation(name="prod")
def prod_op(b: Builder, input: Value, dim: Dims, keepdim: bool, dtype: DType | None) -> Value:
    """The product; integers and bools multiply as int64."""
    own = dtype_of(input)
    return reduce(b, "prod", convert(b, input, dtype or (own if own.kind == "float" else i64)), dim, keepdim)


@operation(name="mean")
def mean_op(b: Builder, input: Value, dim: Dims, keepdim: bool, dtype: DType | None) -> Value:
    """The mean."""
    return average(b, input if dtype is None else convert(b, input, dtype), dim, keepdim)


@operation(name="amax")
def amax_op(b: Builder, input: Value, dim: Dims, keepdim: bool) -> Value:
    """The largest element; equal ones share the gradient."""
    return extreme(b, "max", input, dim, keepdim)


@operation(name="amin")
def amin_op(b: Builder, input: Value, dim: Dims, keepdim: bool) -> Value:
    """The smallest element; equal ones share the gradient."""
    return extreme(b, "min", input, dim, keepdim)


def extreme(b: Builder, kind: str, x: Value, dim: Dims, keepdim: bool) -> Value:
    """The largest or smallest element."""
    if 0 in [shape_of(x)[a] for a in axes_of(dim, len(shape_of(x)))]:
        kinds = DimensionError if dim is not None and dim != () else ShapeError
        raise kinds(
            compose(
                f"{kind}(): Expected reduction dim to be specified for input.numel() == 0. Specify the reduction dim with the 'dim' "
                "argument.",
                f"the tensor has shape {list(shape_of(x))}",
            )
        )
    if dtype_of(x) is bool_:
        return reduce(b, "or" if kind == "max" else "and", x, dim, keepdim)
    return reduce(b, kind, x, dim, keepdim)


@operation(name="max")
def max_dim_op(b: Builder, input: Value, dim: int, keepdim: bool) -> Any:
    """The largest elements along a dimension and their places; the gradient goes to the place that is named."""
    return _extremum(b, "max", input, dim, keepdim)


@operation(name="min")
def min_dim_op(b: Builder, input: Value, dim: int, keepdim: bool) -> Any:
    """The smallest elements along a dimension and their places; the gradient goes to the place that is named."""
    return _extremum(b, "min", input, dim, keepdim)


def _extremum(b: Builder, kind: str, x: Value, dim: int, keepdim: bool) -> Extremum:
    rank = len(shape_of(x))
    axis = axis_of(dim, rank)
    if not rank:
        return Extremum(x, b.const(0, _like(x, i64)))
    if shape_of(x)[axis] == 0:
        raise DimensionError(f"{kind}(): Expected reduction dim {axis} to have non-zero size.")
    places = keep(b, _arg(b, kind, x, axis), x, (axis,))
    values = b.gather(x, places, axis=axis)
    if keepdim:
        return Extremum(values, places)
    shape = tuple(s for a, s in enumerate(shape_of(x)) if a != axis)
    return Extremum(b.reshape(values, shape=shape), b.reshape(places, shape=shape))


def _like(x: Value, dtype: DType) -> Any:
    return x.type.with_dtype(dtype)  # type: ignore[union-attr]


def _arg(b: Builder, kind: str, x: Value, axis: int) -> Value:
    x = convert(b, x, i64) if dtype_of(x) is bool_ else x
    found: Value = getattr(b, f"arg{kind}")(x, axis=axis)
    return found


@operation(name="argmax")
def argmax_op(b: Builder, input: Value, dim: int | None, keepdim: bool) -> Value:
    """Where the largest element is, the first of equal ones."""
    return _arg_op(b, "max", input, dim, keepdim)


@operation(name="argmin")
def argmin_op(b: Builder, input: Value, dim: int | None, keepdim: bool) -> Value:
    """Where the smallest element is, the first of equal ones."""
    return _arg_op(b, "min", input, dim, keepdim)


def _arg_op(b: Builder, kind: str, x: Value, dim: int | None, keepdim: bool) -> Value:
    shape = shape_of(x)
    if dim is None or not shape:
        if count(x) == 0:
            raise DimensionError(f"arg{kind}(): Expected reduction dim to be specified for input.numel() == 0.")
        flat = b.reshape(x, shape=(count(x),))
        found = _arg(b, kind, flat, 0)
        return keep(b, found, x, range(len(shape))) if keepdim else found
    axis = axis_of(dim, len(shape))
    if shape[axis] == 0:
        raise DimensionError(f"arg{kind}(): Expected reduction dim {axis} to have non-zero size.")
    found = _arg(b, kind, x, axis)
    return keep(b, found, x, (axis,)) if keepdim else found


@operation(name="all")
def all_op(b: Builder, input: Value, dim: Dims, keepdim: bool) -> Value:
    """Whether all elements are nonzero."""
    return reduce(b, "and", convert(b, input, bool_), dim, keepdim)


@operation(name="any")
def any_op(b: Builder, input: Value, dim: Dims, keepdim: bool) -> Value:
    """Whether any element is nonzero."""
    return reduce(b, "or", convert(b, input, bool_), dim, keepdim)


@operation(name="where")
def where_op(b: Builder, condition: Value, input: Operand, other: Operand) -> Value:
    """`input` where the condition holds, `other` elsewhere."""
    x, y = promote(b, input, other)
    if dtype_of(condition) is not bool_:
        raise DTypeError(
            compose(f"where expected condition to be a boolean tensor, but got a tensor with dtype {title(dtype_of(condition))}")
        )
    mask, x, y = broadcast(b, condition, x, y)
    found: Value = b.select(mask, x, y)
    return found


@operation(name="clamp")
def clamp_op(b: Builder, input: Operand, min: Operand | None, max: Operand | None) -> Value:
    """The elements moved into the range from `min` to `max`; NaN stays. At a bound the gradient is 1."""
    given = [x for x in (input, min, max) if x is not None]
    if len(given) < 2:
        raise ArgumentError("torch.clamp: At least one of 'min' or 'max' must not be None")
    values = list(together(b, *given))
    x = values.pop(0)
    if min is not None:
        low = values.pop(0)
        x = b.select(b.lt(x, low), low, x)
    if max is not None:
        high = values.pop(0)
        x = b.select(b.gt(x, high), high, x)
    return x


# --- Functions with the arguments that users know ---------------------------------------------------------------------


def sum(input: Any, dim: Any = None, keepdim: bool = False, *, dtype: Any = None, out: Any = None) -> Any:
    """The sum of elements; of integers and bools, as int64."""
    return into(out, sum_op(input, dims_from(dim), keepdim, None if dtype is None else as_dtype(dtype)))


def prod(input: Any, dim: Any = None, keepdim: bool = False, *, dtype: Any = None, out: Any = None) -> Any:
    """The product of elements; of integers and bools, as int64."""
    return into(out, prod_op(input, dims_from(dim), keepdim, None if dtype is None else as_dtype(dtype)))


def mean(input: Any, dim: Any = None, keepdim: bool = False, *, dtype: Any = None, out: Any = None) -> Any:
    """The mean of elements."""
    return into(out, mean_op(input, dims_from(dim), keepdim, None if dtype is None else as_dtype(dtype)))


def amax(input: Any, dim: Any = (), keepdim: bool = False, *, out: Any = None) -> Any:
    """The largest element; equal ones share the gradient evenly."""
    return into(out, amax_op(input, dims_from(dim), keepdim))


def amin(input: Any, dim: Any = (), keepdim: bool = False, *, out: Any = None) -> Any:
    """The smallest element; equal ones share the gradient evenly."""
    return into(out, amin_op(input, dims_from(dim), keepdim))


def max(input: Any, dim: Any = None, keepdim: bool = False, *, other: Any = None, out: Any = None) -> Any:
    """The largest element; with `dim`, values and places along it; with a tensor, the larger of two, element by element."""
    other = dim if isinstance(dim, TensorBase) else other
    if other is not None:
        return recorded["maximum"](input, other, out=out)
    if dim is None:
        return into(out, amax_op(input, None, False))
    return into(out, max_dim_op(input, int(dim), keepdim))


def min(input: Any, dim: Any = None, keepdim: bool = False, *, other: Any = None, out: Any = None) -> Any:
    """The smallest element; with `dim`, values and places along it; with a tensor, the smaller of two, element by element."""
    other = dim if isinstance(dim, TensorBase) else other
    if other is not None:
        return recorded["minimum"](input, other, out=out)
    if dim is None:
        return into(out, amin_op(input, None, False))
    return into(out, min_dim_op(input, int(dim), keepdim))


def argmax(input: Any, dim: int | None = None, keepdim: bool = False, *, out: Any = None) -> Any:
    """Where the largest element is, the first of equal ones; without `dim`, in the flattened tensor."""
    return into(out, argmax_op(input, dim, keepdim))


def argmin(input: Any, dim: int | None = None, keepdim: bool = False, *, out: Any = None) -> Any:
    """Where the smallest element is, the first of equal ones; without `dim`, in the flattened tensor."""
    return into(out, argmin_op(input, dim, keepdim))


def all(input: Any, dim: Any = None, keepdim: bool = False, *, out: Any = None) -> Any:
    """Whether all elements are nonzero."""
    return into(out, all_op(input, dims_from(dim), keepdim))


def any(input: Any, dim: Any = None, keepdim: bool = False, *, out: Any = None) -> Any:
    """Whether any element is nonzero."""
    return into(out, any_op(input, dims_from(dim), keepdim))


def clamp(input: Any, min: Any = None, max: Any = None, *, out: Any = None) -> Any:
    """The elements moved into the range from `min` to `max`."""
    return into(out, clamp_op(input, min, max))


def clamp_min(input: Any, min: Any, *, out: Any = None) -> Any:
    """The elements, and `min` in the place of those below it."""
    return into(out, clamp_op(input, min, None))


def clamp_max(input: Any, max: Any, *, out: Any = None) -> Any:
    """The elements, and `max` in the place of those above it."""
    return into(out, clamp_op(input, None, max))


FUNCTIONS = (sum, prod, mean, amax, amin, max, min, argmax, argmin, all, any, clamp, clamp_min, clamp_max)
"""Functions that are methods, too."""
