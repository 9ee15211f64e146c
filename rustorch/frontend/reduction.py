"""Sums, extremes, means and products: over all elements, or over dimensions with `dim` and `keepdim`."""

from __future__ import annotations

import builtins
from typing import Any, NamedTuple

from rustorch.errors import ArgumentError, DimensionError, compose
from rustorch.frontend.base import TensorBase
from rustorch.frontend.elementwise import recorded
from rustorch.frontend.emission import (
    Builder,
    Operand,
    Value,
    as_float,
    average,
    axes_of,
    axis_of,
    broadcast,
    broadcast_to,
    convert,
    count,
    dtype_of,
    keep,
    matmul,
    operation,
    promote,
    reduce,
    shape_of,
    together,
)
from rustorch.ir.dtypes import bool_, i64
from rustorch.ir.types import DType

Dims = int | tuple[int, ...] | None


class Extremum(NamedTuple):
    """Extreme values along a dimension, and where the first of each is."""

    values: Any
    indices: Any


def _dims(dim: Any) -> Dims:
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
        raise DimensionError(
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
        flat = b.reshape(x, shape=(count(x),))
        found = _arg(b, kind, flat, 0)
        return keep(b, found, x, range(len(shape))) if keepdim else found
    axis = axis_of(dim, len(shape))
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


@operation(name="var")
def var_op(b: Builder, input: Value, dim: Dims, correction: float, keepdim: bool) -> Value:
    """The variance, of squared distances from the mean: their sum by their number less `correction`."""
    return variance(b, input, dim, correction, keepdim)


def variance(b: Builder, x: Value, dim: Dims, correction: float, keepdim: bool) -> Value:
    """See `var_op`."""
    mean = average(b, x, dim, keepdim=True)
    distance = b.sub(x, broadcast_to(b, mean, shape_of(x)))
    total = reduce(b, "sum", b.mul(distance, distance), dim, keepdim)
    number = builtins.max(count(x, dim) - correction, 0.0)
    found: Value = b.mul(total, float("nan")) if number == 0 else b.div(total, float(number))
    return found


@operation(name="std")
def std_op(b: Builder, input: Value, dim: Dims, correction: float, keepdim: bool) -> Value:
    """The root of the variance."""
    found: Value = b.sqrt(variance(b, input, dim, correction, keepdim))
    return found


@operation(name="logsumexp")
def logsumexp_op(b: Builder, input: Value, dim: Dims, keepdim: bool) -> Value:
    """log(sum(exp(x))), without overflow: the largest element, which carries no gradient, is taken out first."""
    x = as_float(b, input)
    top = b.detach(reduce(b, "max", x, dim, keepdim=True))
    finite = b.select(b.lt(b.abs(top), float("inf")), top, b.const(0, top))
    total = reduce(b, "sum", b.exp(b.sub(x, broadcast_to(b, finite, shape_of(x)))), dim, keepdim=True)
    found = b.add(b.log(total), finite)
    return found if keepdim else b.reshape(found, shape=_without(x, dim))  # type: ignore[no-any-return]


def _without(x: Value, dim: Dims) -> tuple[Any, ...]:
    axes = axes_of(dim, len(shape_of(x)))
    return tuple(s for a, s in enumerate(shape_of(x)) if a not in axes)


@operation(name="matmul")
def matmul_op(b: Builder, input: Value, other: Value) -> Value:
    """The matrix product."""
    return matmul(b, input, other)


@operation(name="where")
def where_op(b: Builder, condition: Value, input: Operand, other: Operand) -> Value:
    """`input` where the condition holds, `other` elsewhere."""
    x, y = promote(b, input, other)
    if dtype_of(condition) is not bool_:
        raise ArgumentError(
            compose(f"where expected condition to be a boolean tensor, but got a tensor with dtype {dtype_of(condition).name.capitalize()}")
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


def sum(input: Any, dim: Any = None, keepdim: bool = False, *, dtype: DType | None = None) -> Any:
    """The sum of elements; of integers and bools, as int64."""
    return sum_op(input, _dims(dim), keepdim, dtype)


def prod(input: Any, dim: Any = None, keepdim: bool = False, *, dtype: DType | None = None) -> Any:
    """The product of elements; of integers and bools, as int64."""
    return prod_op(input, _dims(dim), keepdim, dtype)


def mean(input: Any, dim: Any = None, keepdim: bool = False, *, dtype: DType | None = None) -> Any:
    """The mean of elements."""
    return mean_op(input, _dims(dim), keepdim, dtype)


def amax(input: Any, dim: Any = (), keepdim: bool = False) -> Any:
    """The largest element; equal ones share the gradient evenly."""
    return amax_op(input, _dims(dim), keepdim)


def amin(input: Any, dim: Any = (), keepdim: bool = False) -> Any:
    """The smallest element; equal ones share the gradient evenly."""
    return amin_op(input, _dims(dim), keepdim)


def max(input: Any, dim: Any = None, keepdim: bool = False) -> Any:
    """The largest element; with `dim`, values and places along it; with a tensor, the larger of two, element by element."""
    if dim is None:
        return amax_op(input, None, False)
    if isinstance(dim, TensorBase):
        return recorded["maximum"](input, dim)
    return max_dim_op(input, int(dim), keepdim)


def min(input: Any, dim: Any = None, keepdim: bool = False) -> Any:
    """The smallest element; with `dim`, values and places along it; with a tensor, the smaller of two, element by element."""
    if dim is None:
        return amin_op(input, None, False)
    if isinstance(dim, TensorBase):
        return recorded["minimum"](input, dim)
    return min_dim_op(input, int(dim), keepdim)


def argmax(input: Any, dim: int | None = None, keepdim: bool = False) -> Any:
    """Where the largest element is, the first of equal ones; without `dim`, in the flattened tensor."""
    return argmax_op(input, dim, keepdim)


def argmin(input: Any, dim: int | None = None, keepdim: bool = False) -> Any:
    """Where the smallest element is, the first of equal ones; without `dim`, in the flattened tensor."""
    return argmin_op(input, dim, keepdim)


def all(input: Any, dim: Any = None, keepdim: bool = False) -> Any:
    """Whether all elements are nonzero."""
    return all_op(input, _dims(dim), keepdim)


def any(input: Any, dim: Any = None, keepdim: bool = False) -> Any:
    """Whether any element is nonzero."""
    return any_op(input, _dims(dim), keepdim)


def var(input: Any, dim: Any = None, unbiased: bool = True, keepdim: bool = False, *, correction: float | None = None) -> Any:
    """The variance: the sum of squared distances from the mean, by their number less `correction` (1 if `unbiased`)."""
    return var_op(input, _dims(dim), float(unbiased if correction is None else correction), keepdim)


def std(input: Any, dim: Any = None, unbiased: bool = True, keepdim: bool = False, *, correction: float | None = None) -> Any:
    """The standard deviation: the root of the variance."""
    return std_op(input, _dims(dim), float(unbiased if correction is None else correction), keepdim)


def logsumexp(input: Any, dim: Any, keepdim: bool = False) -> Any:
    """log(sum(exp(x))) over dimensions, without overflow."""
    return logsumexp_op(input, _dims(dim), keepdim)


def clamp(input: Any, min: Any = None, max: Any = None) -> Any:
    """The elements moved into the range from `min` to `max`."""
    return clamp_op(input, min, max)


FUNCTIONS = (sum, prod, mean, amax, amin, max, min, argmax, argmin, all, any, var, std, logsumexp, clamp)
"""Functions that are methods, too."""
